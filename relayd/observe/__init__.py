"""Metrics and health: a process of its own that reads what the others count, and answers whoever monitors.

It changes nothing and carries no mail: whatever happens to it, mail goes on.
"""
