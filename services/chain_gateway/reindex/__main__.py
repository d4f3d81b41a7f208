"""The operators' command. It takes the service's own settings from the environment, and only reads.

Prints a report as JSON. Exit code 0: the tables are what the chain holds; 1: they differ; 2: it could not be found out.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import sys

import aiohttp

from kernel.errors import BitHedgeError
from kernel.log import configure_logging
from kernel.settings import SettingsError
from services.chain_gateway import config
from services.chain_gateway.gateway import open_database, open_nodes
from services.chain_gateway.reindex.comparison import Reindex, Report


async def _compare() -> Report:
    settings = config.read()
    database = open_database(settings)
    try:
        async with aiohttp.ClientSession() as http:
            return await Reindex(
                database, open_nodes(settings, http), settings.contracts(), settings.start_stacks_height
            ).compare()
    finally:
        await database.close()


def main() -> int:
    """Compares and prints; answers the exit code."""
    configure_logging("chain_gateway.reindex", "WARNING")
    try:
        report = asyncio.run(_compare())
    except (SettingsError, BitHedgeError, OSError) as error:
        print(f"reindex: {error}", file=sys.stderr)
        return 2
    print(json.dumps(dataclasses.asdict(report), indent=2))
    return 1 if report.differences else 0


if __name__ == "__main__":
    raise SystemExit(main())
