"""The extensions: what the reply to EHLO says there is, and which commands HELP names (RFC 5321 section 4.1.1.1).

Each is named only where it works just now. Refuses to know how they work.
"""

from relayd.smtp.exchange import MECHANISMS
from relayd.smtp.facts import Facts
from relayd.smtp.reply import Reply, reply


def has_starttls(facts: Facts, *, secure: bool) -> bool:
    """Whether STARTTLS may come: once (RFC 3207 section 4.2)."""
    return facts.extended and facts.starttls and not secure


def has_auth(facts: Facts, *, secure: bool) -> bool:
    """Whether a password may be said just now."""
    return facts.extended and facts.auth != "off" and (secure or facts.auth_in_clear)


def greeting(facts: Facts, *, secure: bool, user: str) -> Reply:
    """The reply to EHLO."""
    return reply(
        250,
        None,
        facts.hostname,
        "PIPELINING",
        f"SIZE {facts.maximum_message}",
        *(["STARTTLS"] if has_starttls(facts, secure=secure) else []),
        # Who has named a user cannot do it again (RFC 4954 section 4).
        *(["AUTH " + " ".join(MECHANISMS)] if has_auth(facts, secure=secure) and not user else []),
        "ENHANCEDSTATUSCODES",
        "8BITMIME",
        "DSN",
        "SMTPUTF8",
        "CHUNKING",
        f"LIMITS RCPTMAX={facts.maximum_recipients}",
        "HELP",
    )


def help_text(facts: Facts, *, secure: bool) -> Reply:
    """The reply to HELP: the commands that are there."""
    verbs = {
        "HELO": True,
        "EHLO": facts.extended,
        "STARTTLS": has_starttls(facts, secure=secure),
        "AUTH": has_auth(facts, secure=secure),
        "MAIL": True,
        "RCPT": True,
        "DATA": True,
        "BDAT": facts.extended,
        "RSET": True,
        "NOOP": True,
        "VRFY": True,
        "HELP": True,
        "QUIT": True,
    }
    return reply(
        214, "2.0.0", "Commands: " + " ".join(verb for verb, works in verbs.items() if works), "See RFC 5321"
    )
