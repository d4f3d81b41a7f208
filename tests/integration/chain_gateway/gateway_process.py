"""A gateway process with test tokens, to be killed: `python -m ... ` with the gateway's own environment."""

from __future__ import annotations

import aiohttp

from kernel.database import migrate
from kernel.process import run_process
from kernel.rpc.server import serve
from services.chain_gateway import config
from services.chain_gateway.gateway import MIGRATIONS, build, open_database
from services.chain_gateway.keys import Keys
from services.chain_gateway.tables import SCHEMA
from tests.tokens import TestTokens


async def main() -> None:
    """Serves until it is told to stop, or killed."""
    settings = config.read()
    await migrate(settings.database_url, SCHEMA, MIGRATIONS)
    database = open_database(settings)
    keys = Keys.open(
        settings.backend_signers,
        settings.contracts().account_version,
        config.take_key_variables(settings),
        settings.sponsor_signer,
    )
    async with aiohttp.ClientSession() as http:
        gateway = build(settings, keys, database, http)
        await serve(gateway.process(settings, TestTokens()))


if __name__ == "__main__":
    run_process("chain_gateway", main())
