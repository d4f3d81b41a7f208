"""What passes on the way to the chain and back. Bytes are hexadecimal."""

from __future__ import annotations

import enum
from dataclasses import dataclass


@dataclass(frozen=True)
class PublishedRounds:
    """Numbers of the published rounds that a settlement names beside its receipt."""

    btc_round: int
    stx_round: int


@dataclass(frozen=True)
class SettlementStep:
    """One attempt to settle, under its own idempotency key."""

    policy: str
    rounds: PublishedRounds
    key: str


@dataclass(frozen=True)
class ExpiryStep:
    """One attempt to expire a batch, under its own idempotency key."""

    batch: str
    receipt_hex: str
    key: str


@dataclass(frozen=True)
class PublicationStep:
    """One round to publish; `feed` is the number of the Feed enum."""

    feed: int
    round: int
    key: str


class IntentMilestone(enum.StrEnum):
    """How far an intent is followed."""

    # In a block: enough for what a reorganisation cannot harm.
    MINED = "MINED"
    # Ended: confirmed or aborted at finality, or cancelled.
    ENDED = "ENDED"


@dataclass(frozen=True)
class Intent:
    """An accepted intent, `intents/{id}`."""

    name: str


@dataclass(frozen=True)
class FollowIntentStep:
    """An intent and how far to follow it."""

    name: str
    milestone: IntentMilestone


@dataclass(frozen=True)
class IntentOutcome:
    """How an intent ended (`CONFIRMED`, `ABORTED`, `CANCELLED`), or `SUBMITTED` where it was only mined.

    `REFUSED` where the intent was never accepted.
    """

    state: str
    txid: str
    contract_error: int
    reason: str


@dataclass(frozen=True)
class RecordPublicationStep:
    """How a publication ended."""

    feed: int
    round: int
    outcome: IntentOutcome
