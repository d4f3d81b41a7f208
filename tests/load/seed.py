"""Fills a database with a large platform: `python -m tests.load.seed --database URL --policies N --providers M`.

The schemas `policy` and `pool` are migrated first and must be empty of policies and providers. The pool covers the
policies, and its ledger has an entry for each of their creations and ends.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import asyncpg

import services.policy
import services.pool
from kernel.database import migrate
from services.pool.closings import SETTLED_BLOCKS
from tests.load import covered, policies, providers
from tests.load.bulk import filling

if TYPE_CHECKING:
    from tests.load.bulk import Connection

_SERVICES: Final = {"policy": services.policy, "pool": services.pool}
_CLOSING: Final = "pool.closing"
_DERIVED: Final = (
    *("pool.account_balance", "pool.share_balance", "pool.tier_shares", "pool.tier_height", "pool.cursor"),
    *("pool.account_closing", "pool.share_closing", "pool.late_entry"),
)
# What a service that has run all the time has closed; all at once is much faster than a height after the other.
_CLOSE: Final = f"""INSERT INTO pool.closing SELECT DISTINCT burn_height FROM pool.journal_entry
    WHERE burn_height <= (SELECT projected_burn_height - {SETTLED_BLOCKS} FROM pool.cursor)"""
_POOL_TABLES: Final = ("pool.deposit", "pool.coverage", "pool.journal_entry", "pool.posting", "pool.statement_line")


async def seed(url: str, policy_count: int, provider_count: int) -> None:
    """Migrates both schemas and fills them; without providers the pool's stays empty."""
    for schema, module in _SERVICES.items():
        await migrate(url, schema, Path(str(module.__file__)).parent / "migrations")
    connection = await asyncpg.connect(url)
    try:
        if policy_count:
            await policies.fill(connection, policy_count)
        if provider_count:
            await _fill_pool(connection, provider_count)
    finally:
        await connection.close()


async def _fill_pool(connection: Connection, provider_count: int) -> None:
    async with filling(connection, _POOL_TABLES):
        await providers.fill(connection, provider_count)
        await covered.fill(connection)
    async with filling(connection, [_CLOSING]):
        await connection.execute(_CLOSE)
    await connection.execute("SELECT pool.rebuild_derived()")
    await connection.execute(f"VACUUM ANALYZE {', '.join(_DERIVED)}")


def main() -> None:
    """Reads what is wanted, fills, says how long it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--database", required=True, help="URL of Postgres")
    parser.add_argument("--policies", type=int, default=1_000_000)
    parser.add_argument("--providers", type=int, default=100_000)
    chosen = parser.parse_args()
    start = time.monotonic()
    asyncio.run(seed(chosen.database, chosen.policies, chosen.providers))
    print(f"{chosen.policies:,} policies and {chosen.providers:,} providers in {time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    main()
