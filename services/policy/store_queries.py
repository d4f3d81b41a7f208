"""Lists of policies, a page at a time, each by an index."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.units import Tier, Token
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


class Order(enum.StrEnum):
    """By what a list is ordered; ids start with their time."""

    NEWEST_FIRST = "NEWEST_FIRST"
    OLDEST_FIRST = "OLDEST_FIRST"
    EXPIRATION = "EXPIRATION"


@dataclass(frozen=True)
class PolicyFilter:
    """Which policies to list; None and empty mean all. Heights of expiration are inclusive."""

    holder_principal: str | None
    states: tuple[PolicyState, ...] = ()
    tier: Tier | None = None
    token: Token | None = None
    from_height: int = 0
    to_height: int | None = None
    order: Order = Order.NEWEST_FIRST

    @property
    def has_heights(self) -> bool:
        """True if a height of expiration is bounded."""
        return self.from_height > 0 or self.to_height is not None


@dataclass(frozen=True)
class Parts:
    """What is read of a record besides its policy."""

    history: bool = True
    activation: bool = True


async def read_records(session: AsyncSession, policies: Sequence[Policy], parts: Parts | None = None) -> list[Record]:
    """The policies with their history and activation, in the same order."""
    if not policies:
        return []
    parts = parts or Parts()
    histories = await read_history(session, [policy.id for policy in policies]) if parts.history else {}
    activations = await read_latest_activations(session, policies) if parts.activation else {}
    return [Record(policy, histories.get(policy.id, []), activations.get(policy.id)) for policy in policies]


VERSION: Final = "SELECT version FROM policy.policy WHERE id = $1"
"""Whoever changes a policy, its history or its latest activation gives it the next version in the same transaction."""


async def read_record(session: AsyncSession, policy: Policy) -> Record:
    """One policy with its history and activation."""
    return (await read_records(session, [policy]))[0]


async def list_policies(
    session: AsyncSession, wanted: PolicyFilter, after: Sequence[Any] | None, limit: int
) -> list[Policy]:
    """A page of a list: those after the key `after`, which is an id, or expiration height and id."""
    columns = [POLICY.c[name] for name in _KEYS[wanted.order]]
    conditions = [*_conditions(wanted), *_after(columns, wanted.order, after)]
    starts = _starts(wanted)
    if starts:
        matched = _merged(wanted.order, columns, conditions, starts, limit)
        statement = sa.select(POLICY).join(matched, matched.c.id == POLICY.c.id)
    else:
        statement = sa.select(POLICY).where(*conditions)
    return await _list(session, statement.order_by(*_ordered(wanted.order, columns)).limit(limit))


_KEYS: Final = {
    Order.NEWEST_FIRST: ("id",),
    Order.OLDEST_FIRST: ("id",),
    Order.EXPIRATION: ("expiration_burn_height", "id"),
}


def _conditions(wanted: PolicyFilter) -> list[sa.ColumnElement[bool]]:
    conditions: list[sa.ColumnElement[bool]] = []
    if wanted.holder_principal is not None:
        conditions.append(POLICY.c.holder_principal == wanted.holder_principal)
    if wanted.from_height:
        conditions.append(POLICY.c.expiration_burn_height >= wanted.from_height)
    if wanted.to_height is not None:
        conditions.append(POLICY.c.expiration_burn_height <= wanted.to_height)
    return conditions


def _after(
    columns: Sequence[sa.Column[Any]], order: Order, after: Sequence[Any] | None
) -> list[sa.ColumnElement[bool]]:
    if after is None:
        return []
    key, last = sa.tuple_(*columns), sa.tuple_(*map(sa.literal, after))
    return [key < last if order is Order.NEWEST_FIRST else key > last]


def _ordered(order: Order, columns: Sequence[sa.ColumnElement[Any]]) -> list[sa.ColumnElement[Any]]:
    return [column.desc() for column in columns] if order is Order.NEWEST_FIRST else list(columns)


def _starts(wanted: PolicyFilter) -> dict[str, sa.TableValuedAlias]:
    """By column, the values with which an index starts where it is ordered by the list's key only after them."""
    of_holder, by_expiration = wanted.holder_principal is not None, wanted.order is Order.EXPIRATION
    is_narrowed = bool(wanted.states or wanted.tier or (wanted.token and of_holder))
    if not (is_narrowed or by_expiration):
        return {}
    starts = {"state": _each("states", [str(state) for state in wanted.states or PolicyState], sa.Text)}
    if of_holder or not by_expiration:
        starts["tier"] = _each_of("tiers", wanted.tier, Tier)
    if of_holder:
        starts["token"] = _each_of("tokens", wanted.token, Token)
    return starts


def _merged(
    order: Order,
    columns: Sequence[sa.Column[Any]],
    conditions: Sequence[sa.ColumnElement[bool]],
    starts: Mapping[str, sa.TableValuedAlias],
    limit: int,
) -> sa.Subquery:
    """Keys merged from one ordered run of an index per combination of `starts`. No run yields more than a page, so
    that a page costs the same however many policies there are."""
    begins = [POLICY.c[name] == each.c.value for name, each in starts.items()]
    run = sa.select(*columns).where(*begins, *conditions).order_by(*_ordered(order, columns)).limit(limit)
    keys = run.correlate(*starts.values()).lateral("run")
    merged = sa.select(keys.c.id).select_from(*starts.values(), keys)
    return merged.order_by(*_ordered(order, [keys.c[column.name] for column in columns])).limit(limit).subquery("page")


def _each_of(name: str, wanted: Tier | Token | None, kinds: type[Tier] | type[Token]) -> sa.TableValuedAlias:
    return _each(name, [int(kind) for kind in ([wanted] if wanted else kinds)], sa.SmallInteger)


def _each(name: str, values: Sequence[Any], kind: Any) -> sa.TableValuedAlias:
    array = sa.cast(sa.literal(values, sa.ARRAY(kind)), sa.ARRAY(kind))
    return sa.func.unnest(array).table_valued("value", name=name).render_derived()


async def list_onchain(session: AsyncSession, after_onchain_id: int, limit: int) -> list[Policy]:
    """Policies that are or were on chain, by their number there."""
    statement = sa.select(POLICY).where(POLICY.c.onchain_id > after_onchain_id).order_by(POLICY.c.onchain_id)
    return await _list(session, statement.limit(limit))


async def list_onchain_of(session: AsyncSession, policy_ids: Sequence[str]) -> list[Policy]:
    """Those of some policies that are or were on chain, by their number there."""
    statement = sa.select(POLICY).where(POLICY.c.id.in_(policy_ids), POLICY.c.onchain_id.is_not(None))
    return await _list(session, statement.order_by(POLICY.c.onchain_id))


async def find_policies(session: AsyncSession, policy_ids: Sequence[str]) -> list[Policy]:
    """The policies of some ids, in no order; ids without one are left out."""
    return await _list(session, sa.select(POLICY).where(POLICY.c.id.in_(policy_ids)))


async def list_versions(session: AsyncSession, policy_ids: Sequence[str]) -> dict[str, int]:
    """The version of each policy."""
    statement = sa.select(POLICY.c.id, POLICY.c.version).where(POLICY.c.id.in_(policy_ids))
    return {row["id"]: row["version"] for row in await rows(session, statement)}


async def _list(session: AsyncSession, statement: sa.Select[Any]) -> list[Policy]:
    return [policy_from_row(row) for row in await rows(session, statement)]
