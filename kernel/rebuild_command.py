"""What the commands that rebuild a service's books have in common."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence

import asyncpg

from kernel.book_comparison import Rule, compare, reader
from kernel.database import Database
from kernel.errors import BitHedgeError
from kernel.log import configure_logging
from kernel.process import end_command
from kernel.rebuild import scratch_database
from kernel.settings import SettingsError


async def rebuild_or_compare(
    database: Database, rebuild: Callable[[Database], Awaitable[None]], rules: Sequence[Rule], scratch: str | None
) -> int:
    """Rebuilds in place; or, with the name of a scratch database, there, and prints what differs. The exit code."""
    if scratch is None:
        await rebuild(database)
        return 0
    async with scratch_database(database.url, scratch) as url:
        anew = Database(url)
        try:
            await rebuild(anew)
            found = await compare(reader(database), reader(anew), rules)
        finally:
            await anew.close()
    for name in sorted(found.lost):
        print(f"not known: {name}")
    for difference in found.differences:
        print(difference)
    print(f"rows compared: {found.rows}\ndifferences: {len(found.differences)}")
    return 1 if found.differences else 0


def run_command(name: str, main: Callable[[bool], Awaitable[int]]) -> None:
    """Reads the one option, runs the command and ends the process; one line for what a person must mend."""
    parser = argparse.ArgumentParser(prog=f"services.{name}", description="Makes the books again; docs/rebuild.md.")
    parser.add_argument("--compare", action="store_true", help="in a scratch database; what stands is only read")
    given = parser.parse_args()
    configure_logging(name, "WARNING")

    async def awaited() -> int:
        return await main(given.compare)

    try:
        code = asyncio.run(awaited())
    except (SettingsError, BitHedgeError, OSError, asyncpg.PostgresError) as error:
        print(f"{name}: {error}", file=sys.stderr)
        code = 2
    end_command(code)
