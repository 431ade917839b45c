"""What a session is told at its start: from the configuration, its listener and its client. Pure."""

from relayd.base.sections import Config, Listener
from relayd.receive.policy import Peer
from relayd.smtp.facts import Facts


def facts_of(config: Config, version: str, listener: Listener, peer: Peer) -> Facts:
    """The facts of one session. What would need a certificate or users is not offered without them."""
    session = config.session
    return Facts(
        hostname=config.hostname,
        version=version,
        client_port=peer.port,
        extended=session.extended,
        maximum_message=session.maximum_message,
        maximum_recipients=session.maximum_recipients,
        normalize=session.bare_newline == "normalize",
        trusted=peer.may_relay,
        origin=config.relay.origin,
        starttls=listener.tls == "starttls" and config.tls is not None,
        secure=listener.tls == "implicit",
        auth="off" if config.auth is None else listener.auth,
        # What comes through a proxy has crossed a network, whatever address it names.
        auth_in_clear=(
            config.auth is not None
            and config.auth.loopback_without_tls
            and peer.address.is_loopback
            and not listener.proxy
        ),
    )
