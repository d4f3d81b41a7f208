"""The books of policy service and pool as they would be had they followed the creation of every planned policy."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import asyncpg

from kernel.clock import wall_now
from kernel.database import Database
from kernel.units import Token
from services.policy.domain.policy import OnchainState, Policy
from services.policy.domain.transitions import Actor, Cause, PolicyState
from services.pool.domain import ledger
from services.pool.store_journal import Line, NewEntry, post_entries
from tests.load.node import plan
from tests.load.node.plan import PlannedPolicy
from tests.load.policies import FULL_COUNT

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]

_PAGE: Final = 200
_PROVIDER: Final = "ST3RDFS79JDRYKZ665268VRMVRX708S9EG9QH1V1J"
_LIFE: Final = (
    (1, None, PolicyState.PENDING_CREATION, Actor.CALL, Cause.QUOTE_ACCEPTED),
    (2, PolicyState.PENDING_CREATION, PolicyState.ACTIVE, Actor.PROJECTOR, Cause.CREATED_ON_CHAIN),
)
_HISTORY: Final = """
INSERT INTO policy.policy_history (policy_id, version, from_state, to_state, actor, cause, time, txid, burn_height)
SELECT id, life.version, from_state, to_state, actor, cause, create_time, '', creation_burn_height
FROM policy.policy, unnest($1::int[], $2::text[], $3::text[], $4::text[], $5::text[])
    AS life(version, from_state, to_state, actor, cause)
"""


async def fill(url: str, policies: Sequence[PlannedPolicy], vault: str) -> None:
    """Fills the migrated, empty schemas `policy` and `pool`."""
    connection = await asyncpg.connect(url)
    database = Database(url)
    try:
        async with connection.transaction():
            await _copy(connection, "policy", "policy", [_policy_row(one, vault) for one in policies])
            columns = map(list, zip(*_LIFE, strict=True))
            await connection.execute(_HISTORY, *([_text(value) for value in column] for column in columns))
            await connection.execute(f"INSERT INTO policy.stat (kind, key, value) {FULL_COUNT}")
            await _copy(connection, "pool", "coverage", [_coverage_row(one) for one in policies])
        await _post(database, [entry for token in Token for entry in _deposit(token)])
        for start in range(0, len(policies), _PAGE):
            await _post(database, [NewEntry(_created(one)) for one in policies[start : start + _PAGE]])
        for table in ("policy.policy", "policy.policy_history", "pool.coverage", "pool.journal_entry", "pool.posting"):
            await connection.execute(f"VACUUM ANALYZE {table}")
    finally:
        await database.close()
        await connection.close()


def _text(value: Any) -> Any:
    return str(value) if isinstance(value, str) else value


async def _copy(connection: Connection, schema: str, table: str, rows: Sequence[dict[str, Any]]) -> None:
    await connection.copy_records_to_table(
        table, schema_name=schema, columns=list(rows[0]), records=[tuple(row.values()) for row in rows]
    )


def _policy_row(planned: PlannedPolicy, vault: str) -> dict[str, Any]:
    now = wall_now()
    policy = Policy(
        id=planned.policy_id,
        holder_principal=planned.holder.text,
        token=planned.token,
        tier=plan.TIER,
        protected_amount_sats=plan.AMOUNT_SATS,
        strike_price_usd_e8=planned.strike_usd_e8,
        floor_price_usd_e8=plan.FLOOR_USD_E8,
        btc_price_usd_e8=plan.BTC_PRICE_USD_E8,
        stx_price_usd_e8=plan.STX_PRICE_USD_E8 if planned.token is Token.STX else 0,
        premium_base_units=plan.PREMIUM,
        fee_base_units=plan.FEE,
        max_payout_base_units=planned.max_payout,
        auto_settle=True,
        quote_burn_height=plan.CREATION_BURN_HEIGHT,
        quote_expiration_burn_height=plan.CREATION_BURN_HEIGHT + 6,
        expiration_burn_height=planned.expiration_burn_height,
        state=PolicyState.ACTIVE,
        create_time=now,
        update_time=now,
        version=len(_LIFE),
        counterparty_principal=vault,
        onchain_id=planned.onchain_id,
        onchain_state=OnchainState.ACTIVE,
        onchain_burn_height=plan.CREATION_BURN_HEIGHT,
        creation_burn_height=plan.CREATION_BURN_HEIGHT,
        grace_blocks=plan.GRACE_BLOCKS,
        confirm_time=now,
        due_burn_height=planned.expiration_burn_height + plan.GRACE_BLOCKS + 1,
    )
    return {field.name: _plain(getattr(policy, field.name)) for field in dataclasses.fields(policy)}


def _plain(value: Any) -> Any:
    """As the driver wants it: an enum is its number or its text."""
    if isinstance(value, bool):
        return value
    return int(value) if isinstance(value, int) else _text(value)


def _coverage_row(planned: PlannedPolicy) -> dict[str, Any]:
    return {
        "policy_id": planned.policy_id,
        "onchain_id": planned.onchain_id,
        "tier": int(plan.TIER),
        "token": int(planned.token),
        "amount_sats": plan.AMOUNT_SATS,
        "strike_e8": planned.strike_usd_e8,
        "floor_e8": plan.FLOOR_USD_E8,
        "max_payout": planned.max_payout,
        "premium": plan.PREMIUM,
        "created_burn_height": plan.CREATION_BURN_HEIGHT,
        "expiration_burn_height": planned.expiration_burn_height,
        "status": "ACTIVE",
        "payout": 0,
    }


def _deposit(token: Token) -> list[NewEntry]:
    arguments = plan.TIER, token, plan.DEPOSITED
    return [
        NewEntry(ledger.deposit(_cause(f"deposit-{token}"), *arguments), [Line(_PROVIDER, "deposit", *arguments)]),
        NewEntry(
            ledger.shares_issued(_cause(f"shares-{token}"), *arguments),
            [Line(_PROVIDER, "shares issued", *arguments, plan.DEPOSITED)],
        ),
    ]


def _created(planned: PlannedPolicy) -> ledger.Entry:
    amounts = plan.PREMIUM, plan.FEE, planned.max_payout
    return ledger.policy_created(_cause(f"created-{planned.onchain_id}"), plan.TIER, planned.token, *amounts)


def _cause(key: str) -> ledger.Cause:
    return ledger.Cause(key, plan.CREATION_BURN_HEIGHT, dt.datetime.fromisoformat(plan.MARKET_START))


async def _post(database: Database, entries: Sequence[NewEntry]) -> None:
    async with database.transaction() as session:
        await post_entries(session, entries)
