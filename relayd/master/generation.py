"""A generation: the children of one configuration, and what they share with those before and after them.

A reload makes a new one beside the old; while sessions of replaced workers go on, several are there. Refuses to
fork. Making one raises IndexError when no place is left for it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from relayd.base.bound import Bound
from relayd.base.channel import Channel
from relayd.base.config import Config
from relayd.base.counters import Board
from relayd.base.log import Log
from relayd.base.scheduling import processors
from relayd.base.sections import Listener
from relayd.base.source import Source
from relayd.base.tally import Tally
from relayd.deliver import boot as delivery
from relayd.deliver.limits import Limits
from relayd.deliver.post import Post as DeliveryPost
from relayd.master import listeners
from relayd.master.children import Child
from relayd.master.places import MASTER, Place, Places
from relayd.observe import boot as observation
from relayd.observe.post import Post as ObservePost
from relayd.receive import boot as reception
from relayd.receive.post import Post as WorkerPost
from relayd.spool.hint import Hints
from relayd.spool.turn import Turn


def workers_of(config: Config) -> int:
    """How many workers there are to be; 0 stands for one a processor."""
    return config.process.workers or processors()


@dataclass(frozen=True)
class Common:
    """What outlives a generation: sockets, counters, the log.

    `lock` is how many seconds a process of which there is one waits for another that the master does not know of.
    `turn` is the one that all committers take; code that takes over begins with another.
    """

    bound: Sequence[Bound]
    hints: Hints
    board: Board
    tally: Tally
    places: Places
    log: Log
    workers: int
    lock: float
    turn: Turn = field(default_factory=Turn)


@dataclass(frozen=True)
class Plan:
    """A configuration that was read and checked; `warnings` are for people."""

    source: Source
    config: Config
    warnings: Sequence[str] = ()


@dataclass(frozen=True, eq=False)
class Generation:
    """Workers first. `bound` are the common sockets with this configuration's word on each."""

    plan: Plan
    bound: Sequence[Bound]
    children: Sequence[Child] = field(repr=False)

    @property
    def config(self) -> Config:
        """Its configuration."""
        return self.plan.config

    @property
    def workers(self) -> list[Child]:
        """Those that clients come to."""
        return [each for each in self.children if each.is_worker]

    @property
    def singles(self) -> list[Child]:
        """Those of which there is one at a time."""
        return [each for each in self.children if each.is_single]

    @property
    def delivery(self) -> Child:
        """The delivery process."""
        return next(each for each in self.children if each.role == "delivery")


def generation(plan: Plan, common: Common) -> Generation:
    """Make the children, none of them forked and none of them due."""
    config, bound = plan.config, rebound(common.bound, plan.config.listeners)
    if not common.places.has(common.workers, others=1 if config.metrics is None else 2):
        raise IndexError("no place is free")

    def child(role: str, serve: Callable[[Channel, Place], int], *, is_worker: bool = False) -> Child:
        place = common.places.take(worker=is_worker)
        if place.part is not None:
            # By the master, since of two workers that begin at the same time one would overwrite the other's word.
            common.tally.use(place.part)

        def be(channel: Channel) -> int:
            common.log.speak(config.log.format)
            return serve(channel, place)

        return Child(role, be, common.board.slot(place.slot), place, is_single=not is_worker)

    def work(number: int, channel: Channel, place: Place) -> int:
        assert place.part is not None
        hand, slot = common.tally.hand(place.part), common.board.slot(place.slot)
        own = (number, common.workers) if config.process.pin_workers else None
        return reception.serve(
            WorkerPost(config, bound, common.hints, channel, slot, common.log, hand, turn=common.turn, place=own)
        )

    def deliver(channel: Channel, place: Place) -> int:
        endpoints = listeners.endpoints(bound)
        listeners.close(bound)
        common.turn.close()
        slot, limits = common.board.slot(place.slot), Limits(lock=common.lock)
        return delivery.deliver(DeliveryPost(config, endpoints, common.hints, channel, slot, common.log, limits))

    def observe(channel: Channel, place: Place) -> int:
        listeners.close(bound)
        common.hints.close()
        common.turn.close()
        assert config.metrics is not None
        slot = common.board.slot(place.slot)
        return observation.serve(
            ObservePost(config, config.metrics, common.board, slot, channel, common.log, patience=common.lock)
        )

    workers = [
        child(f"worker {number + 1}", partial(work, number), is_worker=True) for number in range(common.workers)
    ]
    singles = [child("delivery", deliver)]
    if config.metrics is not None:
        singles.append(child("metrics", observe))
    return Generation(plan, bound, [*workers, *singles])


def bury(child: Child, common: Common) -> None:
    """The child is dead and will not be forked again: keep its numbers, and give its place back, once."""
    place, child.place = child.place, None
    if place is None:
        return
    child.slot.fold_into(common.board.slot(MASTER))
    if place.part is not None:
        # Its sessions are gone; one that was killed has not said so.
        common.tally.hand(place.part).begin()
    common.places.give_back(place)


def rebound(bound: Sequence[Bound], wanted: Sequence[Listener]) -> list[Bound]:
    """The same sockets, with what another configuration with the same addresses and ports says of each."""
    left = list(wanted)
    found: dict[int, Listener] = {}
    for listener in {id(each.listener): each.listener for each in bound}.values():
        match = next(each for each in left if (each.address, each.port) == (listener.address, listener.port))
        left.remove(match)
        found[id(listener)] = match
    return [Bound(each.socket, found[id(each.listener)]) for each in bound]
