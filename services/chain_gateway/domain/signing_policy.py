"""What the backend keys may sign, whoever asks: which things, within which bounds, how much and how often.

It is the last line behind the services that decide. A thief of the services' credentials meets it too, so it knows
nothing of why something is asked for: it reads what would be signed, and adds up what has been.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

PUBLISH: Final = "oracle.publish-price"
SETTLE: Final = "policy-registry.settle-policy"
EXPIRE: Final = "policy-registry.expire-policies"
QUOTE: Final = "quote"
VOUCHER: Final = "voucher"
FILLER: Final = "stx-transfer"
"""One uSTX that moves nothing but a nonce."""
SPONSORED: Final = "sponsored-transaction"
"""The fee of a user's transaction: its value is the highest fee that it may come to."""
_RECEIPT: Final = ("btc_price_usd_e8", "stx_price_usd_e8")
FACTS: Final[Mapping[str, tuple[str, ...]]] = {
    PUBLISH: (*_RECEIPT, "round_ahead_seconds"),
    SETTLE: (*_RECEIPT, "activation"),
    EXPIRE: (*_RECEIPT, "ids"),
    QUOTE: ("amount_sats", "duration_blocks"),
    VOUCHER: ("valid_blocks",),
    FILLER: (),
    SPONSORED: (),
}
"""What can be signed, and the numbers in each that can be bounded. A round has the price of its own feed alone."""


@dataclass(frozen=True)
class Value:
    """An amount of each token in its base units: uSTX and sats."""

    ustx: int = 0
    sats: int = 0

    def __add__(self, other: Value) -> Value:
        return Value(self.ustx + other.ustx, self.sats + other.sats)

    def within(self, limit: Value) -> bool:
        """Whether neither token is above its limit."""
        return self.ustx <= limit.ustx and self.sats <= limit.sats


@dataclass(frozen=True)
class Bound:
    """The least and the most that a number may be."""

    least: int
    most: int


@dataclass(frozen=True)
class Rule:
    """Limits of one kind of thing: value in one signature and in all of a UTC day, signatures in any 60 seconds."""

    most: Value
    most_per_day: Value
    most_per_minute: int
    bounds: Mapping[str, Bound] = field(default_factory=dict)


@dataclass(frozen=True)
class SigningRules:
    """The rules by what they are for, a key of `FACTS`. What has no rule is not signed."""

    rules: Mapping[str, Rule]


@dataclass(frozen=True)
class Request:
    """What shall be signed. `subject` names its cause: the same content for it again is the same value, not more.

    `content_sha256` is over all that decides what the signature does; not over a nonce or a fee.
    """

    what: str
    subject: str
    content_sha256: bytes
    value: Value = Value()
    facts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Used:
    """What was signed of this kind before: the value of the day, and the signatures of the last 60 seconds."""

    today: Value = Value()
    last_minute: int = 0

    def with_one(self, value: Value) -> Used:
        """After one more signature of this value."""
        return Used(self.today + value, self.last_minute + 1)


@dataclass(frozen=True)
class Refusal:
    """Why not. `passes`: whether the same may be signed later; if not, it never will under these rules."""

    reason: str
    message: str
    passes: bool = False


SUBJECT_REUSED: Final = Refusal("SUBJECT_REUSED", "something else was signed for this before")
"""For a subject that was allowed with another content."""


def judge(rules: SigningRules, request: Request, used: Used) -> Refusal | None:
    """None if it may be signed. What can never be signed is said before what cannot be signed now."""
    rule = rules.rules.get(request.what)
    if rule is None:
        return Refusal("CALL_NOT_ALLOWED", f"the signing policy has no rule for {request.what}")
    for name, bound in rule.bounds.items():
        number = request.facts.get(name)
        if number is not None and not bound.least <= number <= bound.most:
            limits = f"{bound.least} to {bound.most}"
            return Refusal("ARGUMENT_OUT_OF_BOUNDS", f"{request.what}: {name} is {number}, allowed is {limits}")
    if not request.value.within(rule.most):
        return Refusal("VALUE_TOO_LARGE", f"{request.what}: {_text(request.value)} is above {_text(rule.most)}")
    if not (used.today + request.value).within(rule.most_per_day):
        spent = f"{_text(used.today)} today and {_text(request.value)} now are above {_text(rule.most_per_day)}"
        return Refusal("DAY_VALUE_USED_UP", f"{request.what}: {spent}", passes=True)
    if used.last_minute >= rule.most_per_minute:
        return Refusal("RATE_USED_UP", f"{request.what}: {used.last_minute} signatures in a minute", passes=True)
    return None


def _text(value: Value) -> str:
    return f"{value.ustx} uSTX and {value.sats} sats"
