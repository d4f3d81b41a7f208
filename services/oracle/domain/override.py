"""What two operators may say to the breaker: for some hours, a jump of one feed into this range is believed.

Nobody sets a price with it: sources must agree on one as ever, only the check of its jump passes at once. One operator
proposes, another approves, either of them or a third cancels; it ends by itself.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
from dataclasses import dataclass
from typing import Final

from kernel.errors import FailedPrecondition, InvalidArgument
from kernel.units import BPS, INT64_MAX
from services.oracle.domain.breaker import BelievedRange
from services.oracle.domain.prices import Feed

LONGEST_REASON: Final = 500


class OverrideState(enum.StrEnum):
    """PROPOSED does nothing yet. EXPIRED is by market time, whatever was done before."""

    PROPOSED = "PROPOSED"
    APPROVED = "APPROVED"
    CANCELLED = "CANCELLED"
    EXPIRED = "EXPIRED"


@dataclass(frozen=True)
class OverrideRules:
    """The longest time from proposal to end in seconds of market time, and how far the range's ends may be apart in
    basis points of the lower."""

    longest_seconds: int = 21_600
    widest_bps: int = 2_000


@dataclass(frozen=True)
class Act:
    """Who did something, why, and when: wall time for the record, market time for what follows from it."""

    principal: str
    reason: str
    time: dt.datetime
    market_time: dt.datetime


@dataclass(frozen=True)
class PriceOverride:
    """A range of believed prices in USD e8, both ends included, until a market time. `id`: 32 hexadecimal digits."""

    id: str
    feed: Feed
    low_usd_e8: int
    high_usd_e8: int
    end: dt.datetime
    proposed: Act
    approved: Act | None = None
    cancelled: Act | None = None

    def state(self, now: dt.datetime) -> OverrideState:
        """The state at market time `now`."""
        if self.cancelled is not None:
            return OverrideState.CANCELLED
        if now > self.end:
            return OverrideState.EXPIRED
        return OverrideState.PROPOSED if self.approved is None else OverrideState.APPROVED

    def believed_range(self) -> BelievedRange | None:
        """What the breaker is told: nothing before approval and after cancellation, nothing for earlier rounds."""
        if self.approved is None or self.cancelled is not None:
            return None
        return BelievedRange(
            f"priceOverrides/{self.id}", self.low_usd_e8, self.high_usd_e8, self.approved.market_time, self.end
        )


def check_proposal(one: PriceOverride, rules: OverrideRules) -> None:
    """InvalidArgument naming the field that is wrong: range, end or reason."""
    if not 0 < one.low_usd_e8 <= INT64_MAX:
        raise InvalidArgument.of("low_price_usd_e8", "expected a positive number")
    if not one.low_usd_e8 <= one.high_usd_e8 <= INT64_MAX:
        raise InvalidArgument.of("high_price_usd_e8", "must not be below the low price")
    if (one.high_usd_e8 - one.low_usd_e8) * BPS > one.low_usd_e8 * rules.widest_bps:
        raise InvalidArgument.of("high_price_usd_e8", f"at most {rules.widest_bps} bps above the low price")
    now = one.proposed.market_time
    if not now < one.end <= now + dt.timedelta(seconds=rules.longest_seconds):
        raise InvalidArgument.of("expire_time", f"at most {rules.longest_seconds} s of market time ahead")
    check_reason(one.proposed.reason)


def check_reason(reason: str) -> None:
    """InvalidArgument unless something is said, in a line, and not too much: the record is for people."""
    if not reason.strip() or not reason.isprintable() or len(reason) > LONGEST_REASON:
        raise InvalidArgument.of("reason", f"expected 1 to {LONGEST_REASON} printable characters")


def approve(one: PriceOverride, act: Act) -> PriceOverride:
    """The override in force. FailedPrecondition unless it is proposed, and by somebody else."""
    state = one.state(act.market_time)
    if state is not OverrideState.PROPOSED:
        raise FailedPrecondition("OVERRIDE_NOT_PROPOSED", f"the override is {state}", state=str(state))
    if act.principal == one.proposed.principal:
        raise FailedPrecondition("SECOND_OPERATOR_NEEDED", "who proposed an override cannot approve it")
    return dataclasses.replace(one, approved=act)


def cancel(one: PriceOverride, act: Act) -> PriceOverride:
    """The override ended, by any operator. FailedPrecondition if it has ended already."""
    check_reason(act.reason)
    state = one.state(act.market_time)
    if state not in (OverrideState.PROPOSED, OverrideState.APPROVED):
        raise FailedPrecondition("OVERRIDE_ENDED", f"the override is {state}", state=str(state))
    return dataclasses.replace(one, cancelled=act)
