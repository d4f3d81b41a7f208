"""The policy and how it changes. Every change is a new value with the next version; nothing here does I/O."""

from __future__ import annotations

import datetime as dt
import enum
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from kernel.errors import FailedPrecondition
from kernel.ids import resource_name
from kernel.units import Tier, Token, payout
from services.policy.domain.errors import Reason
from services.policy.domain.transitions import (
    CORRECTIONS,
    REVERSALS,
    TERMINAL,
    Actor,
    Cause,
    PolicyState,
    rule_for,
)

COLLECTION = "policies"
# After a refusal at expiry the sweeper waits so many burn blocks before it claims the policy again.
RETRY_EXPIRY_BLOCKS = 6


class OnchainState(enum.StrEnum):
    """What the contract says, as of the tip."""

    NONE = "NONE"
    ACTIVE = "ACTIVE"
    SETTLED = "SETTLED"
    EXPIRED = "EXPIRED"


@dataclass(frozen=True)
class Policy:
    """A capped, cash-settled put. Amounts are base units of `token`, prices USD e8, heights burn heights.

    Zero and empty mean "not yet"; `unjudged_activation` marks a request whose height is not known yet.
    """

    id: str
    holder_principal: str
    token: Token
    tier: Tier
    protected_amount_sats: int
    strike_price_usd_e8: int
    floor_price_usd_e8: int
    btc_price_usd_e8: int
    stx_price_usd_e8: int
    premium_base_units: int
    fee_base_units: int
    max_payout_base_units: int
    auto_settle: bool
    quote_burn_height: int
    quote_expiration_burn_height: int
    expiration_burn_height: int
    state: PolicyState
    create_time: dt.datetime
    update_time: dt.datetime
    version: int = 1
    quote_btc_round: int = 0
    quote_stx_round: int = 0
    breakdown: Mapping[str, Any] | None = None
    counterparty_principal: str = ""
    quote_signature: bytes = b""
    prepared_transaction: bytes = b""
    onchain_id: int = 0
    onchain_state: OnchainState = OnchainState.NONE
    onchain_burn_height: int = 0
    creation_burn_height: int = 0
    grace_blocks: int = 0
    confirm_time: dt.datetime | None = None
    creation_txid: str = ""
    last_status_txid: str = ""
    activation_number: int = 0
    activation_burn_height: int = 0
    unjudged_activation: bool = False
    settlement_run: int = 0
    payout_base_units: int = 0
    settlement_btc_price_usd_e8: int = 0
    settlement_stx_price_usd_e8: int = 0
    settlement_time: dt.datetime | None = None
    expiry_checked_burn_height: int = 0
    # First final height at which the sweeper may claim it.
    due_burn_height: int = 0
    expiry_batch_id: str = ""
    reason: str = ""

    @property
    def name(self) -> str:
        """`policies/{id}`."""
        return resource_name(COLLECTION, self.id)

    def payout_at(self, btc_price_usd_e8: int, stx_price_usd_e8: int) -> int:
        """What settlement at these prices pays, in base units; zero out of the money."""
        return payout(
            self.token,
            self.protected_amount_sats,
            self.strike_price_usd_e8,
            self.floor_price_usd_e8,
            btc_price_usd_e8,
            stx_price_usd_e8,
            self.max_payout_base_units,
        )


@dataclass(frozen=True)
class Transition:
    """One line of a policy's history. `from_state` None is its birth; equal states record a fact alone."""

    policy_id: str
    version: int
    from_state: PolicyState | None
    to_state: PolicyState
    actor: Actor
    cause: str
    time: dt.datetime
    txid: str = ""
    burn_height: int = 0


@dataclass(frozen=True)
class Origin:
    """When and by what a change was caused: wall time, and the transaction and burn height if there is one."""

    time: dt.datetime
    txid: str = ""
    burn_height: int = 0


@dataclass(frozen=True)
class Change:
    """A policy before and after, with the line of history if its state moved."""

    before: Policy
    after: Policy
    transition: Transition | None = None


def touch(policy: Policy, origin: Origin, **fields: Any) -> Change:
    """The policy with other fields in the same state."""
    after = replace(policy, **fields, version=policy.version + 1, update_time=origin.time)
    return Change(policy, after)


def move(policy: Policy, actor: Actor, cause: Cause, origin: Origin, *, detail: str = "", **fields: Any) -> Change:
    """The policy in the state to which `actor` may take it for `cause`; FailedPrecondition if there is no rule.

    `detail` is appended to the stored cause; `fields` change with the state.
    """
    rule = rule_for(policy.state, actor, cause)
    return _moved(policy, rule.target, actor, f"{cause}: {detail}" if detail else str(cause), origin, fields)


def note(policy: Policy, actor: Actor, cause: Cause, origin: Origin, **fields: Any) -> Change:
    """The policy in its state, with a line of history for a fact that must not be lost."""
    return _moved(policy, policy.state, actor, str(cause), origin, fields)


def reverse(policy: Policy, target: PolicyState, origin: Origin, **fields: Any) -> Change:
    """The policy back in `target` because a final block was withdrawn."""
    if (policy.state, target) not in REVERSALS:
        raise FailedPrecondition(
            Reason.TRANSITION_NOT_ALLOWED, f"no reversal from {policy.state} to {target}", state=policy.state
        )
    return _moved(policy, target, Actor.PROJECTOR, str(Cause.REORGANISED), origin, fields)


def correct(policy: Policy, target: PolicyState, origin: Origin, **fields: Any) -> Change:
    """The policy in `target` because final events refute its state."""
    if (policy.state, target) not in CORRECTIONS:
        raise FailedPrecondition(
            Reason.TRANSITION_NOT_ALLOWED, f"no correction from {policy.state} to {target}", state=policy.state
        )
    return _moved(policy, target, Actor.PROJECTOR, str(Cause.PROVEN_BY_CHAIN), origin, fields)


def birth(policy: Policy, actor: Actor, cause: Cause, origin: Origin) -> Transition:
    """The first line of a new policy's history."""
    return Transition(
        policy.id, policy.version, None, policy.state, actor, cause, origin.time, origin.txid, origin.burn_height
    )


def is_ended(policy: Policy) -> bool:
    """True in a state that nothing leaves."""
    return policy.state in TERMINAL


def _moved(
    policy: Policy, target: PolicyState, actor: Actor, cause: str, origin: Origin, fields: dict[str, Any]
) -> Change:
    after = replace(policy, **fields, state=target, version=policy.version + 1, update_time=origin.time)
    transition = Transition(
        policy.id,
        after.version,
        policy.state,
        target,
        actor,
        cause,
        origin.time,
        origin.txid,
        origin.burn_height,
    )
    return Change(policy, after, transition)
