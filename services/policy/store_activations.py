"""Activation requests and their receipts in the database."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa
from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.errors import NotFound
from services.policy.domain.activation import Activation, ActivationState
from services.policy.domain.errors import Reason
from services.policy.domain.policy import Policy
from services.policy.store import POLICY, execute, rows
from services.policy.tables import METADATA

ACTIVATION: Final = METADATA.tables["policy.activation"]


def _from_row(row: Mapping[str, Any]) -> Activation:
    return Activation(**{**row, "state": ActivationState(row["state"])})


def _values(activation: Activation) -> dict[str, Any]:
    return {**dataclasses.asdict(activation), "state": str(activation.state)}


async def insert_activation(session: AsyncSession, activation: Activation) -> None:
    """A new request; its number is unique per policy."""
    await execute(session, sa.insert(ACTIVATION).values(_values(activation)))


async def save_activation(session: AsyncSession, activation: Activation) -> None:
    """The request with its judgement or receipt; the policy's row must be locked."""
    statement = sa.update(ACTIVATION).where(
        ACTIVATION.c.policy_id == activation.policy_id, ACTIVATION.c.number == activation.number
    )
    await execute(session, statement.values(_values(activation)))


async def read_activation(session: AsyncSession, policy: Policy, number: int) -> Activation:
    """One request of a policy; NotFound if there is none of that number."""
    statement = sa.select(ACTIVATION).where(ACTIVATION.c.policy_id == policy.id, ACTIVATION.c.number == number)
    found = await rows(session, statement)
    if not found:
        raise NotFound(Reason.ACTIVATION_UNKNOWN, f"{policy.name} has no activation {number}", name=policy.name)
    return _from_row(found[0])


async def read_latest_activations(session: AsyncSession, policies: Sequence[Policy]) -> dict[str, Activation]:
    """By policy id, the latest request of each policy that has one."""
    keys = [(policy.id, policy.activation_number) for policy in policies if policy.activation_number]
    if not keys:
        return {}
    statement = sa.select(ACTIVATION).where(sa.tuple_(ACTIVATION.c.policy_id, ACTIVATION.c.number).in_(keys))
    return {row["policy_id"]: _from_row(row) for row in await rows(session, statement)}


async def find_latest_activation(session: AsyncSession, policy_id: str) -> Activation | None:
    """The latest request of a policy, also where its row is lost; None if there is none."""
    statement = sa.select(ACTIVATION).where(ACTIVATION.c.policy_id == policy_id)
    found = await rows(session, statement.order_by(ACTIVATION.c.number.desc()).limit(1))
    return _from_row(found[0]) if found else None


async def list_unjudged(session: AsyncSession, limit: int) -> list[Activation]:
    """Requests that are not judged yet."""
    statement = (
        sa.select(ACTIVATION)
        .join(POLICY, POLICY.c.id == ACTIVATION.c.policy_id)
        .where(POLICY.c.unjudged_activation, ACTIVATION.c.state == str(ActivationState.UNJUDGED))
        .order_by(POLICY.c.id)
        .limit(limit)
    )
    return [_from_row(row) for row in await rows(session, statement)]
