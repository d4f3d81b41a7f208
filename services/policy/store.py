"""Policies in the database: read, lock, insert, save with the next version. The only place that writes `policy`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa
from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.database import notify
from kernel.errors import Aborted
from kernel.units import Tier, Token
from services.policy.domain.errors import Reason, policy_not_found
from services.policy.domain.policy import COLLECTION, Change, OnchainState, Policy, Transition
from services.policy.domain.transitions import PolicyState
from services.policy.store_feed import add_change
from services.policy.store_figures import add_figures, figures_of
from services.policy.tables import CHANGES_CHANNEL, METADATA

POLICY: Final = METADATA.tables["policy.policy"]
HISTORY: Final = METADATA.tables["policy.policy_history"]


def policy_from_row(row: Mapping[str, Any]) -> Policy:
    """A row of `policy` as the domain knows it."""
    values = dict(row)
    values["token"] = Token(values["token"])
    values["tier"] = Tier(values["tier"])
    values["state"] = PolicyState(values["state"])
    values["onchain_state"] = OnchainState(values["onchain_state"])
    values["onchain_id"] = values["onchain_id"] or 0
    return Policy(**values)


def _values(policy: Policy) -> dict[str, Any]:
    values = {field.name: getattr(policy, field.name) for field in dataclasses.fields(policy)}
    values["onchain_id"] = policy.onchain_id or None
    values["token"], values["tier"] = int(policy.token), int(policy.tier)
    values["state"], values["onchain_state"] = str(policy.state), str(policy.onchain_state)
    return values


async def rows(session: AsyncSession, statement: sa.Select[Any]) -> Sequence[Mapping[str, Any]]:
    """All rows of a select as mappings."""
    connection = await session.connection()
    found: Sequence[Mapping[str, Any]] = (await connection.execute(statement)).mappings().all()
    return found


async def execute(session: AsyncSession, statement: sa.Executable) -> sa.CursorResult[Any]:
    """Runs a statement in the session's transaction."""
    connection = await session.connection()
    return await connection.execute(statement)


async def find(session: AsyncSession, policy_id: str, *, lock: bool = False) -> Policy | None:
    """The policy of an id; with `lock` no other transaction changes it before this one ends."""
    return await _find(session, sa.select(POLICY).where(POLICY.c.id == policy_id), lock)


async def find_onchain(session: AsyncSession, onchain_id: int, *, lock: bool = False) -> Policy | None:
    """The policy of a number in the contract."""
    return await _find(session, sa.select(POLICY).where(POLICY.c.onchain_id == onchain_id), lock)


async def _find(session: AsyncSession, statement: sa.Select[Any], lock: bool) -> Policy | None:
    found = await rows(session, statement.with_for_update() if lock else statement)
    return policy_from_row(found[0]) if found else None


async def get(session: AsyncSession, policy_id: str) -> Policy:
    """The policy as it is; NotFound if there is none."""
    policy = await find(session, policy_id)
    if policy is None:
        raise policy_not_found(f"{COLLECTION}/{policy_id}")
    return policy


async def lock(session: AsyncSession, policy_id: str) -> Policy:
    """The policy, locked; NotFound if there is none."""
    policy = await find(session, policy_id, lock=True)
    if policy is None:
        raise policy_not_found(f"{COLLECTION}/{policy_id}")
    return policy


async def insert(session: AsyncSession, policy: Policy, birth: Transition) -> None:
    """A new policy with the first line of its history."""
    await execute(session, sa.insert(POLICY).values(_values(policy)))
    await _append(session, birth)
    await add_figures(session, figures_of(None, policy))
    await add_change(session, policy, birth)
    await _announce(session)


async def save(session: AsyncSession, change: Change) -> Policy:
    """Stores a change by compare-and-set on the version; Aborted if another change came first."""
    before, after = _values(change.before), _values(change.after)
    changed = {name: value for name, value in after.items() if value != before[name]}
    statement = (
        sa.update(POLICY)
        .where(POLICY.c.id == change.before.id, POLICY.c.version == change.before.version)
        .values(changed)
    )
    if (await execute(session, statement)).rowcount != 1:
        raise Aborted(Reason.VERSION_CONFLICT, "the policy was changed at the same time", name=change.before.name)
    if change.transition is not None:
        await _append(session, change.transition)
        await add_figures(session, figures_of(change.before, change.after))
    await add_change(session, change.after, change.transition)
    await _announce(session)
    return change.after


async def _announce(session: AsyncSession) -> None:
    """One notification per transaction, however many policies it changes."""
    if not session.info.get(CHANGES_CHANNEL):
        session.info[CHANGES_CHANNEL] = True
        await notify(session, CHANGES_CHANNEL)


async def _append(session: AsyncSession, transition: Transition) -> None:
    values = dataclasses.asdict(transition)
    for name in ("from_state", "to_state", "actor"):
        values[name] = None if values[name] is None else str(values[name])
    await execute(session, sa.insert(HISTORY).values(values))


async def read_history(session: AsyncSession, policy_ids: Sequence[str]) -> dict[str, list[Transition]]:
    """The history of each policy, oldest first."""
    statement = sa.select(HISTORY).where(HISTORY.c.policy_id.in_(policy_ids))
    found: dict[str, list[Transition]] = {policy_id: [] for policy_id in policy_ids}
    for row in await rows(session, statement.order_by(HISTORY.c.policy_id, HISTORY.c.version)):
        found[row["policy_id"]].append(transition_from_row(row))
    return found


def transition_from_row(row: Mapping[str, Any]) -> Transition:
    """A row of `policy_history` as the domain knows it."""
    values = {field.name: row[field.name] for field in dataclasses.fields(Transition)}
    values["from_state"] = None if row["from_state"] is None else PolicyState(row["from_state"])
    values["to_state"] = PolicyState(row["to_state"])
    return Transition(**values)
