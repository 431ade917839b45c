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
LINE_TOO_LONG = reply(500, "5.5.2", "Error: line too long")
BARE_LF = reply(500, "5.5.2", "Error: lines end with <CR><LF>")

# How each command is written: what is said when it was written otherwise.
SYNTAX: dict[str, Reply] = {
    "HELO": reply(501, None, "Syntax: HELO hostname"),
    "EHLO": reply(501, None, "Syntax: EHLO hostname"),
    "MAIL": reply(501, "5.5.4", "Syntax: MAIL FROM:<address>"),
    "RCPT": reply(501, "5.5.4", "Syntax: RCPT TO:<address>"),
    "DATA": reply(501, "5.5.4", "Syntax: DATA"),
    "RSET": reply(501, "5.5.4", "Syntax: RSET"),
    "NOOP": reply(501, "5.5.4", "Syntax: NOOP [string]"),
    "VRFY": reply(501, "5.5.4", "Syntax: VRFY address"),
    "EXPN": reply(501, "5.5.4", "Syntax: EXPN list"),
    "HELP": reply(501, "5.5.4", "Syntax: HELP [string]"),
    "QUIT": reply(501, "5.5.4", "Syntax: QUIT"),
}
UNKNOWN_PARAMETER = reply(555, "5.5.4", "Error: parameter not recognized")
