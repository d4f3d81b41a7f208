"""A rebuild from the first event on, into a database of its own or in place of what stands."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import grpc
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as pb
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2_grpc as pb_grpc

from kernel.database import Database
from kernel.lease import LeaderLease
from kernel.rebuild import finish, run_until, schema_made_anew
from kernel.rpc.channels import remote_errors
from services.policy.projector import Projector
from services.policy.rebuild.activations import Activations
from services.policy.rebuild.quotes import restore_quotes
from services.policy.store_projection import Stream, read_projection
from services.policy.tables import SCHEMA, Lease


class Rebuild:
    """Each step does nothing the second time, and the events' cursor says where they go on."""

    def __init__(
        self,
        migrations: Path,
        gateway: grpc.aio.Channel,
        oracle: grpc.aio.Channel,
        vault: str,
        say: Callable[[str], None],
    ) -> None:
        self._migrations = migrations
        self._gateway = gateway
        self._oracle = oracle
        self._vault = vault
        self._say = say

    async def run(self, database: Database) -> None:
        """Drops the schema and makes it again; goes on where one was cut off."""
        async with schema_made_anew(database, SCHEMA, self._migrations, Lease):
            self._say(f"{await restore_quotes(database, self._gateway, self._vault)} signed quotes")
            await self._replay(database)
            receipts = await Activations(database, self._gateway, self._oracle).restore()
            self._say(f"{receipts} receipts of activations")
            async with database.transaction() as session:
                await finish(session, SCHEMA)

    async def _replay(self, database: Database) -> None:
        with remote_errors():
            tip = (await pb_grpc.ChainGatewayServiceStub(self._gateway).GetTip(pb.GetTipRequest())).tip
        heights = {Stream.FINAL: tip.final_burn_height, Stream.TIP: tip.burn_height}

        async def reached() -> bool:
            async with database.transaction() as session:
                followed = [await read_projection(session, stream) for stream in Stream]
            return all(one.delivered_burn_height >= heights[Stream(one.name)] for one in followed)

        projectors = [
            Projector(database, self._gateway, stream, LeaderLease(database, Lease, f"rebuild {stream}"), self._vault)
            for stream in Stream
        ]
        await run_until([projector.run for projector in projectors], reached)
        self._say(f"events replayed up to burn height {tip.final_burn_height}, at the tip up to {tip.burn_height}")
