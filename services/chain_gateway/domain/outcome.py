"""What the final transactions of a block mean for everything that was signed: who won a nonce, and who lost it.

A nonce is used once. When its transaction is final, every other one of that nonce is dead, and so is every one of a
lower nonce that is in no block: nonces are used in order, so somebody else's transaction has it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from services.chain_gateway.domain.confirmation import IntentState


class Place(NamedTuple):
    """What a transaction takes up: a nonce of an account."""

    sender: str
    nonce: int


@dataclass(frozen=True)
class Attempt:
    """A signed transaction that has not ended; `intent_id` is None where it is a user's or fills a gap."""

    txid: str
    place: Place
    intent_id: str | None
    mined: bool


@dataclass
class Verdict:
    """Txids that won their nonce, those that can never be mined, and the intents that so lost their nonce."""

    won: set[str] = field(default_factory=set)
    lost: set[str] = field(default_factory=set)
    losers: set[str] = field(default_factory=set)


def judge(attempts: Iterable[Attempt], final: Mapping[Place, str]) -> Verdict:
    """`final` says which txid has a nonce finally. An intent with a winner among its attempts has not lost.

    A winner of which it is not noted yet what its block says of it stays open until that is: a user may hand in what
    was mined long before.
    """
    highest: dict[str, int] = {}
    for place in final:
        highest[place.sender] = max(place.nonce, highest.get(place.sender, -1))
    verdict = Verdict()
    winners: set[str | None] = set()
    for attempt in attempts:
        winner = final.get(attempt.place)
        if winner == attempt.txid:
            if attempt.mined:
                verdict.won.add(attempt.txid)
            winners.add(attempt.intent_id)
        elif winner is not None or (attempt.place.nonce < highest.get(attempt.place.sender, -1) and not attempt.mined):
            verdict.lost.add(attempt.txid)
            if attempt.intent_id is not None:
                verdict.losers.add(attempt.intent_id)
    verdict.losers -= winners
    return verdict


def loser_state(given_up: bool) -> IntentState:
    """An intent whose nonce another transaction has finally is sent again under another one, unless given up."""
    return IntentState.CANCELLED if given_up else IntentState.QUEUED
