"""The sequence of commands (RFC 5321 section 4.1.4): what one out of its place is answered.

A table. BDAT has the place of DATA, and may come again between chunks (RFC 3030 section 2).
"""

from relayd.smtp.facts import State
from relayd.smtp.reply import Reply
from relayd.smtp.wording import (
    NEED_MAIL,
    NEED_RCPT,
    NESTED_MAIL,
    SEND_EHLO,
    SEND_HELO,
    WITHIN_CHUNKS,
    WITHIN_MAIL,
)

_OUTSIDE_OF_MAIL = {
    State.START: SEND_EHLO,
    State.MAIL: WITHIN_MAIL,
    State.RCPT: WITHIN_MAIL,
    State.CHUNKS: WITHIN_MAIL,
}
_BEHIND_RCPT = {State.START: NEED_RCPT, State.READY: NEED_RCPT, State.MAIL: NEED_RCPT}
# Why a command cannot come in a state.
REFUSALS: dict[str, dict[State, Reply]] = {
    "MAIL": {
        State.START: SEND_HELO,
        State.MAIL: NESTED_MAIL,
        State.RCPT: NESTED_MAIL,
        State.CHUNKS: NESTED_MAIL,
    },
    "RCPT": {State.START: NEED_MAIL, State.READY: NEED_MAIL, State.CHUNKS: WITHIN_CHUNKS},
    "DATA": {**_BEHIND_RCPT, State.CHUNKS: WITHIN_CHUNKS},
    "BDAT": _BEHIND_RCPT,
    "STARTTLS": _OUTSIDE_OF_MAIL,
    "AUTH": _OUTSIDE_OF_MAIL,
}
# What a session brings mail with.
TRANSACTION = frozenset({"MAIL", "RCPT", "DATA", "BDAT"})
