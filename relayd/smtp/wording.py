"""The wording: the server's replies that are the same in every session.

Clients know the texts, and so do people who read a dialogue: the codes are those of RFC 5321 section 4.3.2, the
enhanced ones of RFC 3463. What names the host or an address is written where it is known; the replies about mail
data stand with it.
"""

from relayd.smtp.reply import Reply, reply

OK = reply(250, "2.0.0", "Ok")
MAIL_OK = reply(250, "2.1.0", "Ok")
RCPT_OK = reply(250, "2.1.5", "Ok")
START_DATA = reply(354, None, "End data with <CR><LF>.<CR><LF>")
BYE = reply(221, "2.0.0", "Bye")
SEND_HELO = reply(503, "5.5.1", "Error: send HELO/EHLO first")
NESTED_MAIL = reply(503, "5.5.1", "Error: nested MAIL command")
NEED_MAIL = reply(503, "5.5.1", "Error: need mail command")
NEED_RCPT = reply(503, "5.5.1", "Error: need rcpt command")
NOT_RECOGNIZED = reply(500, "5.5.2", "Error: command not recognized")
NOT_IMPLEMENTED = reply(502, "5.5.1", "Error: command not implemented")
TOO_MANY_RECIPIENTS = reply(452, "4.5.3", "Error: too many recipients")
CANNOT_VRFY = reply(252, "2.0.0", "Cannot VRFY user, but will accept message and attempt delivery")
# RFC 6531 section 3.5 gives MAIL and RCPT a code each.
INTERNATIONAL_REVERSE_PATH = reply(550, "5.6.7", "Error: an address beyond ASCII needs SMTPUTF8")
INTERNATIONAL_PATH = reply(553, "5.6.7", "Error: an address beyond ASCII needs SMTPUTF8")
# STARTTLS (RFC 3207), and AUTH (RFC 4954 section 6).
START_TLS = reply(220, "2.0.0", "Ready to start TLS")
TLS_IS_ON = reply(503, "5.5.1", "Error: TLS is in use already")
SEND_EHLO = reply(503, "5.5.1", "Error: send EHLO first")
WITHIN_MAIL = reply(503, "5.5.1", "Error: not within a mail transaction")
AUTHENTICATED = reply(235, "2.7.0", "Authentication successful")
AUTH_IS_DONE = reply(503, "5.5.1", "Error: authenticated already")
NEED_AUTH = reply(530, "5.7.0", "Authentication required")
NEED_TLS = reply(538, "5.7.11", "Encryption required for requested authentication mechanism")
UNKNOWN_MECHANISM = reply(504, "5.5.4", "Error: authentication mechanism not recognized")
AUTH_LINE_TOO_LONG = reply(500, "5.5.6", "Error: authentication exchange line is too long")
CANCELLED = reply(501, "5.7.0", "Error: authentication was cancelled")
NOT_BASE64 = reply(501, "5.5.2", "Error: a response is base64 of what the mechanism asks for")
# RFC 4616 section 2: to act for somebody else is a right that nobody has here.
ANOTHER_IDENTITY = reply(501, "5.5.4", "Error: the authorization identity is another than the user")
# BDAT (RFC 3030 section 2).
WITHIN_CHUNKS = reply(503, "5.5.1", "Error: not between the chunks of a message")
# What no client sends that waits for replies where it has to; the session ends with each.
TOO_EARLY = reply(554, "5.5.0", "Error: the client did not wait for the reply to DATA or STARTTLS")
NOT_HTTP = reply(554, "5.5.0", "Error: this is SMTP, not HTTP")
BAD_CHUNK = reply(501, "5.5.4", "Syntax: BDAT octets [LAST]; cannot go on without knowing the chunk's end")
LINE_TOO_LONG = reply(500, "5.5.2", "Error: line too long")
BARE_LF = reply(500, "5.5.2", "Error: lines end with <CR><LF>")

# How each command is written: what is said when it was written otherwise.
SYNTAX: dict[str, Reply] = {
    "HELO": reply(501, None, "Syntax: HELO hostname"),
    "EHLO": reply(501, None, "Syntax: EHLO hostname"),
    "MAIL": reply(501, "5.5.4", "Syntax: MAIL FROM:<address>"),
    "RCPT": reply(501, "5.5.4", "Syntax: RCPT TO:<address>"),
    "DATA": reply(501, "5.5.4", "Syntax: DATA"),
    "STARTTLS": reply(501, "5.5.4", "Syntax: STARTTLS"),
    "AUTH": reply(501, "5.5.4", "Syntax: AUTH mechanism [initial-response]"),
    "RSET": reply(501, "5.5.4", "Syntax: RSET"),
    "NOOP": reply(501, "5.5.4", "Syntax: NOOP [string]"),
    "VRFY": reply(501, "5.5.4", "Syntax: VRFY address"),
    "EXPN": reply(501, "5.5.4", "Syntax: EXPN list"),
    "HELP": reply(501, "5.5.4", "Syntax: HELP [string]"),
    "QUIT": reply(501, "5.5.4", "Syntax: QUIT"),
}
UNKNOWN_PARAMETER = reply(555, "5.5.4", "Error: parameter not recognized")
