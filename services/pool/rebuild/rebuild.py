"""A rebuild from the first event on, into a database of its own or in place of what stands."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import grpc
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as pb
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2_grpc as pb_grpc

from kernel.database import Database
from kernel.rebuild import finish, run_until, schema_made_anew
from kernel.rpc.channels import remote_errors
from services.pool import store, tables
from services.pool.projector import Projector
from services.pool.rebuild.reservations import restore_reservations
from services.pool.rebuild.vouchers import restore_vouchers
from services.pool.store_rebuild import hand_over

_SCHEMA = "pool"


class Rebuild:
    """Each step does nothing the second time, and the events' cursor says where they go on."""

    def __init__(self, migrations: Path, gateway: grpc.aio.Channel, say: Callable[[str], None]) -> None:
        self._migrations = migrations
        self._gateway = gateway
        self._say = say

    async def run(self, database: Database) -> None:
        """Drops the schema and makes it again; goes on where one was cut off."""
        async with schema_made_anew(database, _SCHEMA, self._migrations, tables.Lease):
            self._say(f"{await restore_reservations(database, self._gateway)} signed quotes")
            self._say(f"{await restore_vouchers(database, self._gateway)} signed vouchers")
            await self._replay(database)
            async with database.transaction() as session:
                await hand_over(session)
                await finish(session, _SCHEMA)

    async def _replay(self, database: Database) -> None:
        with remote_errors():
            tip = (await pb_grpc.ChainGatewayServiceStub(self._gateway).GetTip(pb.GetTipRequest())).tip

        async def reached() -> bool:
            async with database.transaction() as session:
                return (await store.read_cursor(session)).projected_burn_height >= tip.final_burn_height

        await run_until([Projector(database, self._gateway).run], reached)
        self._say(f"events replayed up to burn height {tip.final_burn_height}")
