"""From a change of a policy to the last of a thousand `WatchPolicy` streams of one process that is told of it.

The change is a call by the settle workflow, committed to Postgres; the reader of the process finds it and hands it to
all streams. The yardstick is a bare server that hands bytes of that size to as many streams, without a database. Both
are read by this process, over ten connections each.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

import asyncpg
import grpc
from bithedge.policy.v1 import policy_service_pb2 as pb

from tests.bench.calls import calls_to
from tests.bench.processes import Metadata, running_identity, running_service, running_yardstick
from tests.bench.row import Row, of_samples
from tests.bench.workbench import Workbench
from tests.bench.yardsticks.fan_out_server import TELL, WATCH
from tests.integration.policy import harness
from tests.load.seed import seed
from tests.postgres import create_database

_WATCHERS: Final = 1_000
_CONNECTIONS: Final = 10
_SECONDS: Final = 60.0
_POLICIES: Final = 1_000
_SERVICE: Final = "/bithedge.policy.v1.PolicyService"
_OTHERS: Final = ("CHAIN_GATEWAY_ADDRESS", "ORACLE_ADDRESS", "POOL_ADDRESS", "TEMPORAL_ADDRESS")
_SETTLING: Final = "SELECT id FROM policy.policy WHERE state = 'SETTLING' LIMIT 1"
Tell = Callable[[int], Awaitable[Any]]


async def measure(bench: Workbench) -> Row:
    """Changes, one after the other, told to all of ours and all of the yardstick's in turns."""
    async with AsyncExitStack() as stack:
        url = await create_database(stack.enter_context(bench.postgres()))
        await seed(url, _POLICIES, 0)
        connection = await asyncpg.connect(url)
        name = f"policies/{await connection.fetchval(_SETTLING)}"
        await connection.close()
        identity = await stack.enter_async_context(running_identity(bench.folder, url))
        settings = dict.fromkeys(_OTHERS, "127.0.0.1:1") | {
            "DATABASE_URL": url,
            "IDENTITY_ADDRESS": identity.address,
            "SERVICE_SECRET_FILE": str(identity.keys.secret("policy")),
            "CONTRACT_DEPLOYER": harness.OTHER,
        }
        policy = await stack.enter_async_context(running_service("policy", bench.folder, settings))
        bare = await stack.enter_async_context(running_yardstick("fan_out_server"))
        metadata = await identity.metadata("workflows")
        asked = pb.WatchPolicyRequest(name=name).SerializeToString()
        refuse = await stack.enter_async_context(calls_to(policy, f"{_SERVICE}/RecordSettlementRefusal", metadata))
        size = bytes(len(await refuse.answer(_refusal(name, 0))))
        ours = await stack.enter_async_context(_streams(policy, f"{_SERVICE}/WatchPolicy", asked, metadata))
        others = await stack.enter_async_context(_streams(bare, WATCH, size, ()))
        tell = await stack.enter_async_context(calls_to(bare, TELL))
        samples = await bench.in_turns(
            lambda: ours.milliseconds(lambda number: refuse.answer(_refusal(name, number))),
            lambda: others.milliseconds(lambda _: tell.answer(size)),
        )
    return of_samples(*samples, "ms to the last", notes={"watchers": _WATCHERS, "answer bytes": len(size)})


def _refusal(name: str, number: int) -> bytes:
    """A refusal that is tried again: the policy gets a new version, and stays as it is."""
    request = pb.RecordSettlementRefusalRequest(
        name=name, activation_number=1, contract_error=3001, reason=f"paused {number}"
    )
    return request.SerializeToString()


class _Streams:
    """Many streams of one server, read all the time."""

    def __init__(self) -> None:
        self._waiting = 0
        self._all_told = asyncio.Event()
        self._number = 0

    def start(self, calls: list[Any]) -> list[asyncio.Task[None]]:
        """Reads each; the first answer of all has to be awaited."""
        self._expect(len(calls))
        return [asyncio.ensure_future(self._read(call)) for call in calls]

    def _expect(self, count: int) -> None:
        self._waiting = count
        self._all_told.clear()

    async def _read(self, call: Any) -> None:
        async for _ in call:
            self._waiting -= 1
            if not self._waiting:
                self._all_told.set()

    async def all_told(self) -> None:
        """Returns when each has had one more answer."""
        async with asyncio.timeout(_SECONDS):
            await self._all_told.wait()

    async def milliseconds(self, tell: Tell) -> float:
        """From a change to the last stream that is told of it."""
        self._number += 1
        self._expect(_WATCHERS)
        start = time.perf_counter()
        await tell(self._number)
        await self.all_told()
        return (time.perf_counter() - start) * 1000


@asynccontextmanager
async def _streams(address: str, method: str, request: bytes, metadata: Metadata) -> AsyncIterator[_Streams]:
    async with AsyncExitStack() as stack:
        calls = []
        for number in range(_CONNECTIONS):
            # Each channel a connection of its own: channels of one address would share one.
            options = [("grpc.use_local_subchannel_pool", 1), ("bench.connection", number)]
            channel = await stack.enter_async_context(grpc.aio.insecure_channel(address, options))
            watch: Any = channel.unary_stream(method)
            calls += [watch(request, metadata=metadata) for _ in range(_WATCHERS // _CONNECTIONS)]
        streams = _Streams()
        readers = streams.start(calls)
        await streams.all_told()
        yield streams
        for call, reader in zip(calls, readers, strict=True):
            call.cancel()
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)
