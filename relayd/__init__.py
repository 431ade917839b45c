"""relayd: an outbound SMTP relay that one person can understand."""

__version__ = "0.1.0"
