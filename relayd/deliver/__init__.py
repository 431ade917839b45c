"""Delivery: from the spool to the mail exchangers.

Pure decisions (which exchangers, in which order, when again, what a notification says) stand apart from the
look-ups and connections that carry them out. This floor never imports receive; they meet in the spool.
"""
