"""Policies in the database: read, lock, insert, save with the next version. The only place that writes `policy`."""

from __future__ import annotations

import dataclasses
from collections import Counter
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
from services.policy.store_feed import add_changes
from services.policy.store_figures import Figures, add_figures, figures_of
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


async def lock_all(session: AsyncSession, policy_ids: Sequence[str]) -> list[Policy]:
    """The policies of some ids that there are, locked, in the order of their ids."""
    ids = sa.any_(sa.literal(policy_ids, sa.ARRAY(sa.Text)))
    statement = sa.select(POLICY).where(POLICY.c.id == ids).order_by(POLICY.c.id).with_for_update()
    return [policy_from_row(row) for row in await rows(session, statement)]


async def insert(session: AsyncSession, policy: Policy, birth: Transition) -> None:
    """A new policy with the first line of its history."""
    await execute(session, sa.insert(POLICY).values(_values(policy)))
    await _record(session, [(policy, birth)], figures_of(None, policy))


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
        raise _conflict(change)
    figures = figures_of(change.before, change.after) if change.transition else Counter()
    await _record(session, [(change.after, change.transition)], figures)
    return change.after


async def save_all(session: AsyncSession, changes: Sequence[Change]) -> list[Policy]:
    """Changes of different policies, as `save` stores each of them, in a handful of statements for all."""
    if not changes:
        return []
    before = [_values(change.before) for change in changes]
    after = [_values(change.after) for change in changes]
    pairs = list(zip(before, after, strict=True))
    names = [name for name in after[0] if any(old[name] != new[name] for old, new in pairs)]
    columns = {"known_id": POLICY.c.id, "known_version": POLICY.c.version, **{name: POLICY.c[name] for name in names}}
    values = [[old["id"] for old in before], [old["version"] for old in before]]
    values += [[new[name] for new in after] for name in names]
    given = _side_by_side(columns, values)
    statement = (
        sa.update(POLICY)
        .where(POLICY.c.id == given.c.known_id, POLICY.c.version == given.c.known_version)
        .values({name: given.c[name] for name in names})
    )
    if (await execute(session, statement)).rowcount != len(changes):
        raise _conflict(changes[0])
    figures: Figures = Counter()
    for change in changes:
        if change.transition is not None:
            figures.update(figures_of(change.before, change.after))
    await _record(session, [(change.after, change.transition) for change in changes], figures)
    return [change.after for change in changes]


def _side_by_side(columns: Mapping[str, sa.Column[Any]], values: Sequence[Sequence[Any]]) -> sa.TableValuedAlias:
    """Rows of values, one array per column, so that the statement is the same however many there are."""
    kinds = [sa.ARRAY(column.type) for column in columns.values()]
    arrays = [sa.cast(sa.literal(part, kind), kind) for part, kind in zip(values, kinds, strict=True)]
    named = [sa.column(name, column.type) for name, column in columns.items()]
    return sa.func.unnest(*arrays).table_valued(*named, name="given").render_derived()


def _conflict(change: Change) -> Aborted:
    return Aborted(Reason.VERSION_CONFLICT, "the policy was changed at the same time", name=change.before.name)


async def _record(session: AsyncSession, changed: Sequence[tuple[Policy, Transition | None]], figures: Figures) -> None:
    """What every change leaves behind: history, figures, feed, and one notification per transaction."""
    lines = [_line(transition) for _, transition in changed if transition is not None]
    connection = await session.connection()
    if lines:
        await connection.execute(sa.insert(HISTORY), lines)
    await add_figures(session, figures)
    await add_changes(session, changed)
    if not session.info.get(CHANGES_CHANNEL):
        session.info[CHANGES_CHANNEL] = True
        await notify(session, CHANGES_CHANNEL)


def _line(transition: Transition) -> dict[str, Any]:
    values = {field.name: getattr(transition, field.name) for field in dataclasses.fields(transition)}
    for name in ("from_state", "to_state", "actor"):
        values[name] = None if values[name] is None else str(values[name])
    return values


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
