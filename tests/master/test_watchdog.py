"""Who is late, by the master's own progress."""

from relayd.master.watchdog import Finding, Pulse, Wait, Watchdog


class Kernel:
    """What holds processes up, and how often it was asked."""

    def __init__(self, wait: Wait = "other") -> None:
        self.wait = wait
        self.asked = 0

    def __call__(self, pulse: Pulse) -> Wait:
        """See the class."""
        self.asked += 1
        return self.wait


def watch(dog: Watchdog, kernel: Kernel, pulse: Pulse, *instants: float) -> list[Finding]:
    """Look at these instants while the pulse stays the same; give the last findings."""
    found: list[Finding] = []
    for now in instants:
        found = dog.look(now, [pulse], kernel)
    return found


def test_a_heartbeat_of_thirty_seconds_is_replaced() -> None:
    """Not a moment earlier, and the kernel is asked only then."""
    dog, kernel = Watchdog(), Kernel()
    assert watch(dog, kernel, Pulse(7, 1000, 0), 100.0, 105.0, 110.0, 115.0, 120.0, 129.9) == []
    assert kernel.asked == 0
    assert watch(dog, kernel, Pulse(7, 1000, 0), 130.0) == [Finding(7, 30.0, "other", replace=True)]


def test_a_child_that_beats_is_never_late() -> None:
    """Whatever the number is: clocks are not compared."""
    dog, kernel = Watchdog(), Kernel()
    for step in range(100):
        assert dog.look(5.0 * step, [Pulse(7, 1 + step % 2, 0)], kernel) == []


def test_what_the_disk_holds_up_is_told_and_not_replaced() -> None:
    """With an old heartbeat, and with a heartbeat that goes on beside a call that does not end."""
    dog, kernel = Watchdog(), Kernel("disk")
    (late,) = watch(dog, kernel, Pulse(7, 1000, 0), *range(0, 31, 5))
    assert late == Finding(7, 30.0, "disk", replace=False)
    dog = Watchdog()
    found: list[Finding] = []
    for now in range(0, 31, 5):
        found = dog.look(now, [Pulse(7, 1000 + now, 500)], kernel)
    assert found == [Finding(7, 30.0, "disk", replace=False)]


def test_one_call_after_the_other_is_progress() -> None:
    """A disk that is busy all the time is no disk that hangs."""
    dog = Watchdog()
    for now in range(0, 300, 5):
        assert dog.look(now, [Pulse(7, 1000 + now, 500 + now)], Kernel("disk")) == []


def test_a_part_of_a_large_message_that_takes_long_is_told() -> None:
    """The oldest call counts, whoever makes it."""
    dog = Watchdog()
    found: list[Finding] = []
    for now in range(0, 31, 5):
        found = dog.look(now, [Pulse(7, 1000 + now, 700 + now, 500)], Kernel("other"))
    assert found == [Finding(7, 30.0, "disk", replace=False)]


def test_what_is_stopped_is_replaced() -> None:
    """It does no more for mail than one that is dead."""
    (found,) = watch(Watchdog(), Kernel("stopped"), Pulse(7, 1000, 0), *range(0, 31, 5))
    assert (found.wait, found.replace) == ("stopped", True)


def test_a_machine_that_slept_makes_nobody_late() -> None:
    """An hour that the master did not see pass counts as one step, and so does a clock that goes back."""
    dog, kernel = Watchdog(), Kernel()
    assert watch(dog, kernel, Pulse(7, 1000, 0), 0.0, 5.0, 3605.0, 3605.0, 3600.0) == []
    assert watch(dog, kernel, Pulse(7, 1000, 0), 3605.0, 3610.0) == []
    assert watch(dog, kernel, Pulse(7, 1000, 0), 3615.0) != []


def test_a_child_that_has_not_begun_has_five_minutes() -> None:
    """A large spool on a slow disk is read before the first beat."""
    dog, kernel = Watchdog(), Kernel()
    assert watch(dog, kernel, Pulse(7, 0, 0), *range(0, 300, 5)) == []
    (found,) = watch(dog, kernel, Pulse(7, 0, 0), 300.0)
    assert found.replace


def test_a_new_process_begins_anew() -> None:
    """Another pid with the numbers of the one before it."""
    dog, kernel = Watchdog(), Kernel()
    watch(dog, kernel, Pulse(7, 1000, 0), *range(0, 26, 5))
    assert watch(dog, kernel, Pulse(8, 1000, 0), 30.0, 35.0) == []
