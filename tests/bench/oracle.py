"""The oracle's own process with a stand-in of the gateway whose market time a row moves, and readers of its prices."""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import grpc

from deploy.local.layout import REPOSITORY
from kernel.rpc.channels import open_channel
from kernel.rpc.tokens import JwksVerifier
from tests.bench.processes import running_identity, running_service
from tests.bench.workbench import Workbench
from tests.integration.oracle.gateway import GatewayStandIn, serve_gateway
from tests.integration.oracle.harness import DEPLOYER, KEY

START: Final = dt.datetime(2020, 3, 12, 6, tzinfo=dt.UTC)
_DELIVERY_SECONDS: Final = 30.0


@asynccontextmanager
async def running_oracle(bench: Workbench, database_url: str) -> AsyncIterator[tuple[str, GatewayStandIn]]:
    """Its address and its gateway; it replays the recorded days and stands at START until the gateway moves on."""
    gateway = GatewayStandIn(START)
    key_file = bench.folder / "oracle.key"
    key_file.touch(0o600)
    key_file.write_text(KEY.hex())
    async with running_identity(bench.folder, database_url) as identity:
        identity_channel = open_channel(identity.address)
        server, address = await serve_gateway(gateway, verifier=JwksVerifier(identity_channel))
        settings = {
            "DATABASE_URL": database_url,
            "IDENTITY_ADDRESS": identity.address,
            "CHAIN_GATEWAY_ADDRESS": address,
            "SERVICE_SECRET_FILE": str(identity.keys.secret("oracle")),
            # Nothing is published: a round that waits for it is one more row of the outbox.
            "TEMPORAL_ADDRESS": "127.0.0.1:1",
            "ORACLE_KEY_FILE": str(key_file),
            "CHAIN_ID": "2147483648",
            "NETWORK": "testnet",
            "CONTRACT_DEPLOYER": DEPLOYER,
            "PRICE_SOURCE": "replay",
            "PRICE_DATA": str(REPOSITORY / "data"),
        }
        try:
            async with running_service("oracle", bench.folder, settings) as oracle:
                yield oracle, gateway
        finally:
            await server.stop(None)
            await identity_channel.close()


@dataclass
class Readers:
    """Open streams of one method. `delays` answers when each of them got the next message."""

    calls: Sequence[Any]
    arrivals: list[float] = field(default_factory=list)

    async def next_arrivals(self) -> tuple[list[float], bytes]:
        """The moment at which each reader has its next message, ascending, and that message of the first."""

        async def read(call: Any) -> tuple[float, bytes]:
            message = await call.read()
            return time.perf_counter(), message

        async with asyncio.timeout(_DELIVERY_SECONDS):
            read_messages = await asyncio.gather(*(read(call) for call in self.calls))
        return sorted(at for at, _ in read_messages), read_messages[0][1]


@asynccontextmanager
async def open_readers(address: str, method: str, request: bytes, count: int) -> AsyncIterator[Readers]:
    """So many streams over one channel, each of which has had its first message."""
    async with grpc.aio.insecure_channel(address) as channel:
        watch: Any = channel.unary_stream(method)
        readers = Readers([watch(request) for _ in range(count)])
        await readers.next_arrivals()
        yield readers
