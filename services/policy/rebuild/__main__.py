"""The operators' command. It takes the service's own settings from the environment.

Without an argument it drops the schema `policy` and makes it again; with `--compare` it makes it in a scratch database
and compares. Exit code 0: done, without a difference; 1: differences; 2: it could not be done.
"""

from __future__ import annotations

from kernel.database import Database
from kernel.rebuild_command import rebuild_or_compare, run_command
from kernel.rpc.channels import open_channel
from kernel.rpc.tokens import ServiceTokens
from services.policy.__main__ import CLIENT, MIGRATIONS
from services.policy.config import settings
from services.policy.rebuild.rebuild import Rebuild
from services.policy.rebuild.rules import RULES


async def _main(compares: bool) -> int:
    given = settings()
    identity = open_channel(given.identity_address)
    tokens = ServiceTokens.from_file(identity, CLIENT, given.service_secret_file)
    gateway, oracle = open_channel(given.chain_gateway_address, tokens), open_channel(given.oracle_address, tokens)
    database = Database(given.database_url)
    try:
        rebuild = Rebuild(MIGRATIONS, gateway, oracle, given.vault, print)
        return await rebuild_or_compare(database, rebuild.run, RULES, "policy_rebuild" if compares else None)
    finally:
        await database.close()
        for channel in (gateway, oracle, identity):
            await channel.close()


if __name__ == "__main__":
    run_command("policy.rebuild", _main)
