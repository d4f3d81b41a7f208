"""One play: calm, storm, calm; then everything is read and judged."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import asyncpg
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as pb

from tests.chaos.gateway.chain import ChainReading, read_chain
from tests.chaos.gateway.customer import Customer, Stubs
from tests.chaos.gateway.follower import Follower, place
from tests.chaos.gateway.judge import Streams, Verdict, judge
from tests.chaos.gateway.ledger import GatewayReading, Progress, read_gateway, read_progress
from tests.chaos.gateway.orders import Mix, Order, orders_of
from tests.chaos.gateway.reindexed import reindex_differences
from tests.chaos.gateway.replicas import FINALITY_BURN_CONFIRMATIONS, Replicas, running_replicas
from tests.chaos.gateway.scene import Scene, set_scene
from tests.chaos.gateway.weather import Weather
from tests.devnet import running_devnet
from tests.e2e.persistent import PersistentDevnet
from tests.postgres import create_database, running_postgres

_BLOCK_MS: Final = 150
_NODE_SECONDS: Final = 60.0
_POLL_SECONDS: Final = 0.5
# Without any progress for so long nothing more will come. Progress, not time, decides: machines differ.
_PATIENCE_SECONDS: Final = 180.0
_TOLD_SECONDS: Final = 5.0
# The storm lasts until so many of the intents have ended; the rest must come through in calm weather.
STORM_PART: Final = 0.95
_KILL_SECONDS: Final = (3.0, 8.0)


@dataclass(frozen=True)
class Outcome:
    """What came of a play."""

    verdict: Verdict
    complaints: tuple[str, ...]
    weather: Weather
    replicas: Replicas
    customer: Customer
    followers: tuple[Follower, ...]
    chain: ChainReading
    gateway: GatewayReading
    ended_in_storm: int
    storm_seconds: float
    seconds: float


def say(line: str) -> None:
    """Tells whoever watches."""
    print(line, file=sys.stderr, flush=True)


async def play(intents: int, seed: int, folder: Path) -> Outcome:
    """Plays once; logs and keys stay in `folder`."""
    mix = Mix.of(intents)
    say(f"seed {seed}: {mix.publications} publications, {mix.settlements} settlements, {mix.expiries} expiries")
    async with AsyncExitStack() as opened:
        server_url = opened.enter_context(running_postgres())
        started = time.monotonic()
        devnet = await opened.enter_async_context(running_devnet(folder / "devnet", block_interval_ms=_BLOCK_MS))
        scene = await opened.enter_async_context(set_scene(devnet, folder, mix.policies))
        orders = orders_of(scene, mix, seed)
        say(f"{len(scene.policies)} policies sold; {scene.stacks_height} blocks; {time.monotonic() - started:.0f} s")
        database_url = await create_database(server_url)
        replicas = await opened.enter_async_context(running_replicas(scene, database_url, folder))
        stubs = await opened.enter_async_context(Stubs(replicas.addresses))
        node = await opened.enter_async_context(PersistentDevnet(devnet.url, _NODE_SECONDS))
        return await _Play(scene, orders, database_url, replicas, stubs, node, seed).run()


class _Play:
    def __init__(
        self,
        scene: Scene,
        orders: list[Order],
        database_url: str,
        replicas: Replicas,
        stubs: Stubs,
        node: PersistentDevnet,
        seed: int,
    ) -> None:
        self._scene = scene
        self._orders = orders
        self._database_url = database_url
        self._replicas = replicas
        self._stubs = stubs
        self._node = node
        self._seed = seed
        self._weather = Weather(node, seed)
        self._customer = Customer(stubs, seed)
        self._tip = Follower(stubs, pb.EVENT_FINALITY_TIP, seed)
        self._final = Follower(stubs, pb.EVENT_FINALITY_FINAL, seed)
        self._fresh = Follower(stubs, pb.EVENT_FINALITY_TIP, seed)
        self._answered = 0

    async def run(self) -> Outcome:
        started = time.monotonic()
        connection = await asyncpg.connect(self._database_url)
        try:
            # What fails in the background ends the play at once.
            async with asyncio.TaskGroup() as group:
                beside = [group.create_task(work) for work in (self._tip.follow(), self._final.follow())]
                burning = group.create_task(self._weather.burn())
                ordering = group.create_task(self._order())
                ended = await self._storm(group, connection)
                storm_seconds = time.monotonic() - started
                say(f"calm after {storm_seconds:.0f} s")
                beside += [group.create_task(work) for work in (self._replicas.watch(), self._fresh.follow())]
                await self._until(connection, lambda now: ordering.done() and now.ended >= len(self._orders))
                await _stop(ordering, burning)
                await self._settle(connection)
                outcome = await self._judge(ended, storm_seconds, started)
                await _stop(*beside)
        finally:
            await connection.close()
        return outcome

    async def _storm(self, group: asyncio.TaskGroup, connection: asyncpg.Connection[asyncpg.Record]) -> int:
        """Storms until most intents have ended; how many did."""
        kills = self._replicas.kill_now_and_then(self._seed, _KILL_SECONDS)
        storms = [group.create_task(work) for work in (self._weather.storm(), kills)]
        await self._until(connection, self._most_ended)
        ended = (await read_progress(connection)).ended
        await _stop(*storms)
        await self._weather.clear()
        return ended

    def _most_ended(self, now: Progress) -> bool:
        stormy = self._replicas.killed and self._weather.forks.total()
        return bool(stormy) and now.ended >= STORM_PART * len(self._orders)

    async def _order(self) -> None:
        def answered() -> None:
            self._answered += 1

        await self._customer.order_all(self._orders, answered)

    async def _until(self, connection: asyncpg.Connection[asyncpg.Record], holds: Callable[[Progress], bool]) -> None:
        """Until it holds, or nothing has moved for the time of our patience."""
        furthest, moved, told = 0, time.monotonic(), 0.0
        while not holds(now := await read_progress(connection)):
            # Forks take back what was mined: only what is further than ever before is progress.
            if (seen := now.ended + now.mined + self._answered) > furthest:
                furthest, moved = seen, time.monotonic()
            elif time.monotonic() - moved > _PATIENCE_SECONDS:
                say("nothing moves any more")
                return
            if time.monotonic() - told > _TOLD_SECONDS:
                told = time.monotonic()
                say(self._line(now))
            await asyncio.sleep(_POLL_SECONDS)

    def _line(self, now: Progress) -> str:
        return (
            f"  {self._answered} asked, {now.mined} mined, {now.ended} ended; {self._replicas.killed} kills,"
            f" {self._weather.forks.total()} forks, {self._weather.injected.total()} faults"
        )

    async def _settle(self, connection: asyncpg.Connection[asyncpg.Record]) -> None:
        """Everything becomes final, and everybody hears of it."""
        await self._node.mine_burn_blocks(FINALITY_BURN_CONFIRMATIONS + 1)
        tip = (await self._node.get("/extended/v2/blocks/latest"))["hash"].removeprefix("0x")
        await self._until(connection, lambda now: now.tip_hash == tip and self._all_heard(now))

    def _all_heard(self, now: Progress) -> bool:
        at_tip = all(one.sequence == now.latest_sequence for one in (self._tip, self._fresh))
        return at_tip and self._final.sequence >= now.newest_standing

    async def _judge(self, ended_in_storm: int, storm_seconds: float, started: float) -> Outcome:
        chain = await read_chain(self._node, self._scene.world.deployer, self._scene.addresses)
        gateway = await read_gateway(self._database_url, self._customer, self._orders)
        followers = (self._tip, self._final, self._fresh)
        tip, final, fresh = (tuple(place(event) for event in one.events) for one in followers)
        verdict = judge(self._orders, chain, gateway, Streams(tip, final, fresh), self._scene.stacks_height)
        complaints = [*self._customer.complaints, *self._replicas.crashes]
        complaints += await reindex_differences(self._scene, self._database_url)
        complaints += [line for one in followers for line in one.complaints]
        complaints += [f"{one.name} saw other contents" for one in followers if one.events != self._fresh.events]
        return Outcome(
            verdict=verdict,
            complaints=tuple(complaints),
            weather=self._weather,
            replicas=self._replicas,
            customer=self._customer,
            followers=followers,
            chain=chain,
            gateway=gateway,
            ended_in_storm=ended_in_storm,
            storm_seconds=storm_seconds,
            seconds=time.monotonic() - started,
        )


async def _stop(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
