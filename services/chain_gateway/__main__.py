"""The chain gateway's process."""

from __future__ import annotations

import aiohttp

from kernel.database import migrate
from kernel.process import run_process
from kernel.rpc.channels import open_channel
from kernel.rpc.server import serve
from kernel.rpc.tokens import JwksVerifier
from services.chain_gateway import config
from services.chain_gateway.gateway import MIGRATIONS, build, open_database
from services.chain_gateway.keys import Keys
from services.chain_gateway.tables import SCHEMA


async def main() -> None:
    """Serves until it is told to stop."""
    settings = config.read()
    keys = Keys.open(
        settings.backend_signers,
        settings.contracts().account_version,
        config.take_key_variables(settings),
        settings.sponsor_signer,
    )
    await migrate(settings.database_url, SCHEMA, MIGRATIONS)
    database = open_database(settings)
    identity = open_channel(settings.identity_address)
    async with aiohttp.ClientSession() as http:
        gateway = build(settings, keys, database, http)
        try:
            await serve(gateway.process(settings, JwksVerifier(identity)))
        finally:
            await database.close()
            await identity.close()


if __name__ == "__main__":
    run_process("chain_gateway", main())
