"""To begin: how a child that has checked and read everything waits for the master's word to take up its work."""

import asyncio

from relayd.base import events
from relayd.base.channel import Begin, Channel, Reopen, Retire, Waiting
from relayd.base.log import Log


async def told_to_begin(channel: Channel, log: Log) -> bool:
    """Say that this one waits, and wait; False when it is to end instead, or the master is gone."""
    loop = asyncio.get_running_loop()
    told: asyncio.Future[bool] = loop.create_future()

    def hear() -> None:
        try:
            said = channel.receive()
        except BlockingIOError:
            return
        match said:
            case Begin() | Retire() | None:
                # What comes behind it is for whoever hears next.
                loop.remove_reader(channel.fileno())
                told.set_result(isinstance(said, Begin))
            case Reopen():
                reopen(log)

    loop.add_reader(channel.fileno(), hear)
    channel.send(Waiting())
    return await told


def reopen(log: Log) -> None:
    """Open the log anew, after it was moved away; where that fails the old one stays, and has the reason."""
    try:
        log.reopen()
    except OSError as error:
        log.write(events.ConfigWarning(warning=f"the log cannot be reopened: {error}"))
