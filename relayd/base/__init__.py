"""What every floor stands on: configuration, events and log, counters, channels.

This floor knows nothing of SMTP, the spool or processes.
"""
