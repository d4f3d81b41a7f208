"""The breaker: a jump is believed by more sources and after more time, or by two operators for a while.

A price may lie off an anchor by a bound that widens with the time since the last OK price, up to a limit. The anchor
follows OK prices no faster than the bound widens: measured from the last price alone, the bound of a round would be
granted anew in every round, and a price could be walked anywhere in a few of them.

Beyond the bound nothing is OK until the new level has been seen by more sources than a price needs otherwise, in
several rounds that follow each other, for some time. From one of these rounds to the next the level itself may move by
the same bound, so that a fall that goes on is believed while it goes on; a round that falls out starts anew. Operators
may say in which range a jump is believed at once. They cannot say what the price is: sources still have to agree on it.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from kernel.units import BPS, mul_div_up
from services.oracle.domain.aggregation import Aggregate, exceeds_bps
from services.oracle.domain.prices import PriceStatus

# The first words of a jump's reason.
REFUSED: Final = "JUMP"
BELIEVED: Final = "JUMP_BELIEVED"
OVERRIDDEN: Final = "JUMP_OVERRIDDEN"


@dataclass(frozen=True)
class BreakerRules:
    """Jumps in basis points, times in seconds of market time.

    `base_bps` at once, `per_minute_bps` more for each whole minute since the last OK price, `most_bps` at the most;
    beyond that `sources` must agree in `rounds` rounds that span `seconds`. So without a jump that was believed, prices
    move by `per_minute_bps` a minute, and `base_bps` to either side of that.
    """

    base_bps: int = 300
    per_minute_bps: int = 50
    most_bps: int = 2_000
    sources: int = 4
    rounds: int = 3
    seconds: int = 120

    def allowed_bps(self, elapsed: dt.timedelta) -> int:
        """How far off a price may lie after `elapsed`, whole minutes counted down."""
        minutes = max(0, int(elapsed.total_seconds() // 60))
        return min(self.most_bps, self.base_bps + self.per_minute_bps * minutes)


@dataclass(frozen=True)
class Anchor:
    """What jumps are measured from, and the market time of the last OK round."""

    price_usd_e8: int
    time: dt.datetime

    def followed(self, price: int, at: dt.datetime, rules: BreakerRules) -> Anchor:
        """The anchor after an OK price without a jump: moved towards it, no faster than the bound widens."""
        seconds = max(0, int((at - self.time).total_seconds()))
        step = self.price_usd_e8 * rules.per_minute_bps * seconds // (BPS * 60)
        return Anchor(min(max(price, self.price_usd_e8 - step), self.price_usd_e8 + step), at)


@dataclass(frozen=True)
class Level:
    """Where the price has jumped to: its latest price and the time of that round; since when, in how many rounds."""

    price_usd_e8: int
    time: dt.datetime
    since: dt.datetime
    rounds: int


@dataclass(frozen=True)
class BreakerState:
    """What one feed's breaker remembers from round to round. No anchor before the first OK price, no level unless the
    last round was a jump that enough sources agreed on."""

    anchor: Anchor | None = None
    level: Level | None = None
    tripped: bool = False


@dataclass(frozen=True)
class BelievedRange:
    """An override in force: prices in USD e8, both included, for rounds after `start` and up to `end`."""

    name: str
    low_usd_e8: int
    high_usd_e8: int
    start: dt.datetime
    end: dt.datetime

    def believes(self, price: int, at: dt.datetime) -> bool:
        """True if it lets a jump to this price pass."""
        return self.start < at <= self.end and self.low_usd_e8 <= price <= self.high_usd_e8


def judged_jump(
    found: Aggregate, at: dt.datetime, state: BreakerState, overrides: Sequence[BelievedRange], rules: BreakerRules
) -> tuple[Aggregate, BreakerState]:
    """The aggregate of market time `at` as the breaker lets it pass, and what it remembers then.

    An aggregate that is not OK stays what it is, and ends what was seen of a new level. An OK one whose reason is not
    empty is a jump that was believed, and the reason says by whom.
    """
    if found.status is not PriceStatus.OK:
        return found, BreakerState(state.anchor, None, state.tripped)
    price, anchor = found.price_usd_e8, state.anchor
    passed = BreakerState(Anchor(price, at))
    if anchor is None:
        return found, passed
    allowed = rules.allowed_bps(at - anchor.time)
    if not exceeds_bps(price, anchor.price_usd_e8, allowed):
        return found, BreakerState(anchor.followed(price, at, rules))
    moved = mul_div_up(abs(price - anchor.price_usd_e8), BPS, anchor.price_usd_e8)
    jump = f"{moved} bps off the anchor, {allowed} allowed"
    if (override := _believing(overrides, price, at)) is not None:
        return dataclasses.replace(found, reason=f"{OVERRIDDEN}: {jump}; by {override.name}"), passed
    level = _level(found, at, state.level, rules)
    seen = f"{found.used} of {rules.sources} sources agree, {_progress(level, at, rules)}"
    if level is not None and level.rounds >= rules.rounds and at - level.since >= _span(rules):
        return dataclasses.replace(found, reason=f"{BELIEVED}: {jump}; {seen}"), passed
    refused = dataclasses.replace(found, status=PriceStatus.DEGRADED, reason=f"{REFUSED}: {jump}; {seen}")
    return refused, BreakerState(anchor, level, True)


def _span(rules: BreakerRules) -> dt.timedelta:
    return dt.timedelta(seconds=rules.seconds)


def _believing(overrides: Iterable[BelievedRange], price: int, at: dt.datetime) -> BelievedRange | None:
    return next((one for one in overrides if one.believes(price, at)), None)


def _level(found: Aggregate, at: dt.datetime, last: Level | None, rules: BreakerRules) -> Level | None:
    """The level with this round: continued, begun anew, or none where too few sources agree."""
    if found.used < rules.sources:
        return None
    if last is None or not _continues(found.price_usd_e8, at, last, rules):
        return Level(found.price_usd_e8, at, at, 1)
    return Level(found.price_usd_e8, at, last.since, last.rounds + 1)


def _continues(price: int, at: dt.datetime, last: Level, rules: BreakerRules) -> bool:
    """Not after a gap as long as a level has to last: what nobody saw is no time in which it was seen."""
    elapsed = at - last.time
    return elapsed <= _span(rules) and not exceeds_bps(price, last.price_usd_e8, rules.allowed_bps(elapsed))


def _progress(level: Level | None, at: dt.datetime, rules: BreakerRules) -> str:
    rounds, seconds = (0, 0) if level is None else (level.rounds, int((at - level.since).total_seconds()))
    return f"for {rounds} of {rules.rounds} rounds and {seconds} of {rules.seconds} s"
