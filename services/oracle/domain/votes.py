"""How much each source's voice counts: its weight, but never more than a share of all.

Two caps hold at once. No source has more than one share, and sources that are converted into USD by one and the same
rate, which err together, have no more than another share all together: one rate alone is never a majority.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Final

from kernel.units import BPS

PPM: Final = 1_000_000
LARGEST_WEIGHT: Final = 1_000


@dataclass(frozen=True)
class VotingRules:
    """Weights by source, 1 where none is given, and the caps in basis points of all votes.

    `max_group_share_bps` is below a half: a rate of conversion that is wrong must not outvote the others.
    """

    weights: Mapping[str, int] = field(default_factory=dict)
    max_source_share_bps: int = 3_400
    max_group_share_bps: int = 4_500


@dataclass(frozen=True)
class Voter:
    """A source, and the rate that it was converted by; empty if it was not."""

    source: str
    converted_by: str = ""


def votes_ppm(voters: Sequence[Voter], rules: VotingRules) -> Sequence[int] | None:
    """Each voter's share of the vote in parts per million, rounded down; None where the caps leave no way.

    Of all ways to cut weights down to the caps it takes the one that cuts least.
    """
    total = sum((Fraction(_weight(voter, rules)) for voter in voters), Fraction(0))
    # Newton's method on a concave function of pieces of straight lines: exact, after no more steps than there are caps.
    while total > 0:
        weights, uncut, slope = _cut(voters, total, rules)
        if sum(weights) == total:
            return [int(weight * PPM / total) for weight in weights]
        total = uncut / (1 - slope)
    return None


def plain_votes_ppm(voters: Sequence[Voter], rules: VotingRules) -> Sequence[int]:
    """The shares without caps: for a price that is only shown."""
    weights = [_weight(voter, rules) for voter in voters]
    return [weight * PPM // sum(weights) for weight in weights]


def _weight(voter: Voter, rules: VotingRules) -> int:
    return rules.weights.get(voter.source, 1)


def _cut(voters: Sequence[Voter], total: Fraction, rules: VotingRules) -> tuple[Sequence[Fraction], Fraction, Fraction]:
    """Weights cut down to the caps of `total`; what of them is not cut; what of each unit of `total` the others get."""
    share, group_share = Fraction(rules.max_source_share_bps, BPS), Fraction(rules.max_group_share_bps, BPS)
    weights = [min(Fraction(_weight(voter, rules)), share * total) for voter in voters]
    groups: dict[str, list[int]] = defaultdict(list)
    for index, voter in enumerate(voters):
        groups[voter.converted_by].append(index)
    uncut, slope = Fraction(0), Fraction(0)
    for name, members in groups.items():
        together = sum((weights[index] for index in members), Fraction(0))
        if name and together > group_share * total:
            slope += group_share
            for index in members:
                weights[index] *= group_share * total / together
            continue
        for index in members:
            whole = Fraction(_weight(voters[index], rules))
            if weights[index] < whole:
                slope += share
            else:
                uncut += whole
    return weights, uncut, slope


def weighted_median(prices: Sequence[int], votes: Iterable[int]) -> int:
    """The price with at most half of the votes below and at most half above it; where two prices and all between them
    are such, their mean, rounded down. At least one price; votes are positive.

    It lies within the prices of any set of voters that has more than half of the votes: neither of the two can be
    below all of that set, or above, with half of the votes on its side.
    """
    ordered = sorted(zip(prices, votes, strict=True))
    total = sum(vote for _, vote in ordered)
    lower, upper, passed = 0, 0, 0
    for price, vote in ordered:
        if 2 * passed < total:
            lower = price
        if 2 * passed <= total:
            upper = price
        passed += vote
    return (lower + upper) // 2
