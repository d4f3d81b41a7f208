"""What a thief of each key, and of each pair, can take: the limits by the parameters, as ADR and tests quote them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tests.contracts.chain import PARAMETER, SBTC, STX, Chain

BPS: Final = 10_000
_UNIT: Final = {STX: (10**6, "STX"), SBTC: (10**8, "sBTC")}


@dataclass(frozen=True)
class Limits:
    """Per token, in base units and per day of 144 burn blocks; the rest in basis points and burn blocks."""

    withdrawn: dict[int, int]
    issued: dict[int, int]
    margin_bps: int
    min_rate_bps: int
    tolerance_bps: int
    jump_base_bps: int
    jump_per_block_bps: int
    silence_blocks: int

    @property
    def riskless_bps(self) -> int:
        """Of the collateral sold in a day, what a seller to himself gains while the price stands still."""
        return self.margin_bps - self.min_rate_bps

    @property
    def falling_bps(self) -> int:
        """The same when the price falls to the floor, or when he can say that it does."""
        return BPS - self.min_rate_bps

    def riskless(self, token: int) -> int:
        """Base units that he gains at most in a day by his own quotes, at an honest price that does not move."""
        return self.issued[token] * self.riskless_bps // BPS

    def falling(self, token: int) -> int:
        """Base units that he gains at most in a day by his own quotes, whatever the price."""
        return self.issued[token] * self.falling_bps // BPS


def limits_of(chain: Chain) -> Limits:
    """The limits by the parameters as they are set."""

    def value(name: str) -> int:
        return int(chain.read(PARAMETER, "get-parameter", name))

    names = {STX: "stx", SBTC: "sbtc"}
    return Limits(
        withdrawn={token: value(f"withdrawal.max-per-day-{name}") for token, name in names.items()},
        issued={token: value(f"issuance.max-per-day-{name}") for token, name in names.items()},
        margin_bps=value("creation.margin-bps"),
        min_rate_bps=value("creation.min-rate-bps"),
        tolerance_bps=value("settlement.round-tolerance-bps"),
        jump_base_bps=value("oracle.jump-base-bps"),
        jump_per_block_bps=value("oracle.jump-per-block-bps"),
        silence_blocks=value("oracle.silence-blocks"),
    )


def thieves_table(limits: Limits, delay_blocks: int) -> str:
    """The table of ADR and guarantees."""
    leaves = _amounts(limits.withdrawn)
    riskless = _amounts({token: limits.riskless(token) for token in _UNIT})
    falling = _amounts({token: limits.falling(token) for token in _UNIT})
    tolerance, base, each = (
        _percent(one) for one in (limits.tolerance_bps, limits.jump_base_bps, limits.jump_per_block_bps)
    )
    own = (
        f"settles policies that he bought by the lowest price published in their life less {tolerance}, "
        "for their collateral at most"
    )
    fees = "all fees and all excess, once"
    quotes = f"{riskless} by quotes to himself at a price that stands still, {falling} if it falls to their floor"
    forged = f"{falling} by quotes to himself, for which he makes the price fall, and what he holds already"
    held = (
        f"the collateral of policies that he holds, {limits.silence_blocks + 1} blocks after he removed every backend, "
        f"at prices that fall by {base} and {each} per block"
    )
    rows = (
        ("the oracle key", f"nothing of the pool; {own}"),
        ("a backend key", f"{leaves} by vouchers; {quotes}"),
        ("the admin key", f"{fees}; after {delay_blocks} blocks in which nobody cancels, everything"),
        ("oracle and backend", f"{leaves} by vouchers; {forged}"),
        ("admin and backend", f"{fees}; otherwise as a backend key alone"),
        ("admin and oracle", f"{fees}; {held}"),
        ("all three", f"{fees}; otherwise as oracle and backend"),
    )
    lines = ("| who holds | takes at most, per day of 144 burn blocks |", "| --- | --- |")
    return "\n".join((*lines, *(f"| {who} | {what} |" for who, what in rows)))


def _amounts(of: dict[int, int]) -> str:
    return " and ".join(f"{of[token] / unit:,.10g} {name}" for token, (unit, name) in _UNIT.items())


def _percent(bps: int) -> str:
    return f"{bps / 100:g}%"
