"""What the chain says, as the pool understands it."""

from __future__ import annotations

from dataclasses import dataclass

from kernel.ids import resource_name
from kernel.units import Tier, Token
from services.pool.domain.ledger import Cause
from services.pool.domain.shares import OpenPolicy


@dataclass(frozen=True)
class Deposited:
    """A provider paid into the vault."""

    deposit_id: str
    provider: str
    tier: Tier
    token: Token
    amount: int


@dataclass(frozen=True)
class PolicyCreated:
    """A policy was paid and its collateral locked. `policy` holds its terms.

    `auto_settle`: in the money at its expiration it is settled without having been activated.
    """

    policy_id: str
    onchain_id: int
    tier: Tier
    policy: OpenPolicy
    fee: int
    auto_settle: bool


@dataclass(frozen=True)
class PolicySettled:
    """A policy was paid out and the rest of its collateral released."""

    policy_id: str
    token: Token
    payout: int
    max_payout: int


@dataclass(frozen=True)
class PolicyExpired:
    """A policy ended with nothing; all its collateral was released."""

    policy_id: str
    token: Token
    max_payout: int


@dataclass(frozen=True)
class VoucherPaid:
    """The vault paid a voucher."""

    withdrawal_id: str
    provider: str
    token: Token
    amount: int


@dataclass(frozen=True)
class VoucherDelayed:
    """The vault pays this voucher only from `ready_burn_height` on."""

    withdrawal_id: str
    ready_burn_height: int


@dataclass(frozen=True)
class VoucherVetoed:
    """The vault never pays this voucher."""

    withdrawal_id: str


@dataclass(frozen=True)
class FeesWithdrawn:
    """The admin took platform fees out."""

    token: Token
    amount: int


@dataclass(frozen=True)
class FeePaid:
    """One of our own accounts paid for a transaction of which nothing else is told."""


@dataclass(frozen=True)
class Irrelevant:
    """Nothing that the pool's books record."""


Payload = (
    Deposited
    | PolicyCreated
    | PolicySettled
    | PolicyExpired
    | VoucherPaid
    | VoucherDelayed
    | VoucherVetoed
    | FeesWithdrawn
    | FeePaid
    | Irrelevant
)


def subject(payload: Payload) -> str:
    """What entries of this event are about, as a resource name; empty where they are about no one thing."""
    match payload:
        case Deposited(deposit_id=identifier):
            return resource_name("deposits", identifier)
        case (
            PolicyCreated(policy_id=identifier)
            | PolicySettled(policy_id=identifier)
            | PolicyExpired(policy_id=identifier)
        ):
            return resource_name("policies", identifier)
        case (
            VoucherPaid(withdrawal_id=identifier)
            | VoucherDelayed(withdrawal_id=identifier)
            | VoucherVetoed(withdrawal_id=identifier)
        ):
            return resource_name("withdrawals", identifier)
    return ""


@dataclass(frozen=True)
class ChainEvent:
    """One event. `withdrawn`: a reorganisation took it back. `backend_fee_ustx`: what it cost our own accounts."""

    cause: Cause
    withdrawn: bool
    backend_fee_ustx: int
    payload: Payload
