"""Lists of policies, a page at a time, each by an index."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.units import Tier
from services.policy.domain.activation import Activation
from services.policy.domain.policy import Policy, Transition
from services.policy.domain.transitions import PolicyState
from services.policy.store import POLICY, policy_from_row, read_history, rows
from services.policy.store_activations import read_latest_activations


@dataclass(frozen=True)
class Record:
    """A policy with what belongs to it: history, and the latest activation if there is one."""

    policy: Policy
    history: list[Transition]
    activation: Activation | None


@dataclass(frozen=True)
class PolicyFilter:
    """Which policies to list; None and empty mean all."""

    holder_principal: str | None
    states: Sequence[PolicyState] = ()
    tier: Tier | None = None


async def read_records(session: AsyncSession, policies: Sequence[Policy]) -> list[Record]:
    """The policies with their history and activation, in the same order."""
    if not policies:
        return []
    histories = await read_history(session, [policy.id for policy in policies])
    activations = await read_latest_activations(session, policies)
    return [Record(policy, histories[policy.id], activations.get(policy.id)) for policy in policies]


async def read_record(session: AsyncSession, policy: Policy) -> Record:
    """One policy with its history and activation."""
    return (await read_records(session, [policy]))[0]


async def list_policies(session: AsyncSession, wanted: PolicyFilter, before_id: str | None, limit: int) -> list[Policy]:
    """Newest first (ids start with their time), those before `before_id`."""
    conditions: list[sa.ColumnElement[bool]] = []
    if wanted.holder_principal is not None:
        conditions.append(POLICY.c.holder_principal == wanted.holder_principal)
    if wanted.states:
        conditions.append(POLICY.c.state.in_([str(state) for state in wanted.states]))
    if wanted.tier is not None:
        conditions.append(POLICY.c.tier == int(wanted.tier))
    if before_id is not None:
        conditions.append(POLICY.c.id < before_id)
    return await _list(session, sa.select(POLICY).where(*conditions).order_by(POLICY.c.id.desc()).limit(limit))


async def list_expiring(
    session: AsyncSession, from_height: int, to_height: int, after: tuple[int, str] | None, limit: int
) -> list[Policy]:
    """ACTIVE policies with an expiration between two heights, both inclusive, by height."""
    key = sa.tuple_(POLICY.c.expiration_burn_height, POLICY.c.id)
    conditions = [
        POLICY.c.state == str(PolicyState.ACTIVE),
        POLICY.c.expiration_burn_height.between(from_height, to_height),
    ]
    if after is not None:
        conditions.append(key > sa.tuple_(sa.literal(after[0]), sa.literal(after[1])))
    statement = sa.select(POLICY).where(*conditions).order_by(POLICY.c.expiration_burn_height, POLICY.c.id)
    return await _list(session, statement.limit(limit))


async def list_onchain(session: AsyncSession, after_onchain_id: int, limit: int) -> list[Policy]:
    """Policies that are or were on chain, by their number there."""
    statement = sa.select(POLICY).where(POLICY.c.onchain_id > after_onchain_id).order_by(POLICY.c.onchain_id)
    return await _list(session, statement.limit(limit))


async def list_versions(session: AsyncSession, policy_ids: Sequence[str]) -> dict[str, int]:
    """The version of each policy."""
    statement = sa.select(POLICY.c.id, POLICY.c.version).where(POLICY.c.id.in_(policy_ids))
    return {row["id"]: row["version"] for row in await rows(session, statement)}


async def _list(session: AsyncSession, statement: sa.Select[Any]) -> list[Policy]:
    return [policy_from_row(row) for row in await rows(session, statement)]
