"""The circuit breaker, by example and against every order of what may happen to it."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from services.chain_gateway.domain.breaker import Breaker, BreakerPolicy, BreakerState, Permit

POLICY = BreakerPolicy(failures=3, first_seconds=1, longest_seconds=5)


def _taken(breaker: Breaker, now: float) -> Permit:
    permit = breaker.take(now)
    assert permit is not None
    return permit


def _fail(breaker: Breaker, now: float, times: int = 1) -> None:
    for _ in range(times):
        breaker.failed(_taken(breaker, now), now)


def test_it_opens_after_failures_in_a_row() -> None:
    """Two failures and a success leave it closed; three in a row open it, and nothing passes."""
    breaker = Breaker(POLICY)
    _fail(breaker, 0, 2)
    breaker.succeeded(_taken(breaker, 0))
    _fail(breaker, 0, 2)
    assert breaker.state(0) is BreakerState.CLOSED
    _fail(breaker, 0)
    assert (breaker.state(0.9), breaker.take(0.9)) == (BreakerState.OPEN, None)


def test_one_probe_decides() -> None:
    """Half-open lets one question through; its success closes, and the next rest is the first one again."""
    breaker = Breaker(POLICY)
    _fail(breaker, 0, 3)
    probe = _taken(breaker, 1)
    assert (breaker.state(1), breaker.take(1)) == (BreakerState.HALF_OPEN, None)
    breaker.succeeded(probe)
    assert breaker.state(1) is BreakerState.CLOSED
    _fail(breaker, 1, 3)
    assert breaker.state(2) is BreakerState.HALF_OPEN


def test_each_failed_probe_doubles_the_rest_up_to_a_bound() -> None:
    """Rests of 1, 2, 4, 5 and 5 seconds."""
    breaker, now = Breaker(POLICY), 0.0
    _fail(breaker, now, 3)
    for rest in (1, 2, 4, 5, 5):
        assert breaker.state(now + rest - 0.01) is BreakerState.OPEN
        now += rest
        _fail(breaker, now)


def test_a_probe_that_nobody_waited_for_leaves_room_for_another() -> None:
    """A cancelled probe neither closes nor opens, and does not block the next."""
    breaker = Breaker(POLICY)
    _fail(breaker, 0, 3)
    breaker.released(_taken(breaker, 1))
    assert breaker.take(1) is not None


def test_answers_of_another_era_do_not_count() -> None:
    """What was asked before it opened neither closes it when it answers late nor spends the probe when it fails."""
    breaker = Breaker(POLICY)
    early, late = _taken(breaker, 0), _taken(breaker, 0)
    _fail(breaker, 0, 3)
    breaker.succeeded(early)
    assert breaker.state(0) is BreakerState.OPEN
    probe = _taken(breaker, 1)
    breaker.failed(late, 1)
    assert breaker.state(1) is BreakerState.HALF_OPEN
    breaker.succeeded(probe)
    assert breaker.state(1) is BreakerState.CLOSED


class AnyOrder(RuleBasedStateMachine):
    """Questions that end in any order, in any way, at any time."""

    def __init__(self) -> None:
        super().__init__()
        self.breaker = Breaker(POLICY)
        self.now = 0.0
        self.out: list[Permit] = []

    @rule(seconds=st.floats(0, 10))
    def time_passes(self, seconds: float) -> None:
        """The clock moves on."""
        self.now += seconds

    @rule()
    def ask(self) -> None:
        """Somebody wants to ask."""
        state, admits = self.breaker.state(self.now), self.breaker.admits(self.now)
        permit = self.breaker.take(self.now)
        assert (permit is not None) == admits
        if permit is not None:
            assert permit.probe == (state is BreakerState.HALF_OPEN)
            self.out.append(permit)

    @precondition(lambda self: self.out)
    @rule(data=st.data(), outcome=st.sampled_from(["succeeded", "failed", "released"]))
    def end(self, data: st.DataObject, outcome: str) -> None:
        """One of the questions ends."""
        permit = self.out.pop(data.draw(st.integers(0, len(self.out) - 1)))
        if outcome == "failed":
            self.breaker.failed(permit, self.now)
        else:
            getattr(self.breaker, outcome)(permit)

    @invariant()
    def at_most_one_probe_counts(self) -> None:
        """While half-open, one question at most is out that may decide."""
        if self.breaker.state(self.now) is BreakerState.HALF_OPEN and not self.breaker.admits(self.now):
            assert sum(permit.probe for permit in self.out) >= 1

    @invariant()
    def it_is_never_stuck(self) -> None:
        """Whatever happened, once all questions ended and the longest rest is over, it lets one pass."""
        if not self.out:
            assert self.breaker.admits(self.now + POLICY.longest_seconds)


TestAnyOrder = AnyOrder.TestCase
