"""The operators' command. It takes the service's own settings from the environment.

Without an argument it drops the schema `pool` and makes it again; with `--compare` it makes it in a scratch database
and compares. Exit code 0: done, without a difference; 1: differences; 2: it could not be done.
"""

from __future__ import annotations

from kernel.database import Database
from kernel.rebuild_command import rebuild_or_compare, run_command
from kernel.rpc.channels import open_channel
from kernel.rpc.tokens import ServiceTokens
from services.pool.__main__ import MIGRATIONS
from services.pool.config import load
from services.pool.rebuild.rebuild import Rebuild
from services.pool.rebuild.rules import RULES


async def _main(compares: bool) -> int:
    given = load()
    identity = open_channel(given.identity_address)
    tokens = ServiceTokens.from_file(identity, "pool", given.service_secret_file)
    gateway, database = open_channel(given.chain_gateway_address, tokens), Database(given.database_url)
    try:
        rebuild = Rebuild(MIGRATIONS, gateway, print)
        return await rebuild_or_compare(database, rebuild.run, RULES, "pool_rebuild" if compares else None)
    finally:
        await database.close()
        for channel in (gateway, identity):
            await channel.close()


if __name__ == "__main__":
    run_command("pool.rebuild", _main)
