"""The demo's scenario while processes are killed: what was promised holds, and nothing happens twice."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

from bithedge.oracle.v1 import oracle_service_pb2_grpc as oracle_grpc
from bithedge.pool.v1 import pool_service_pb2 as pool_pb2

from deploy.demo.cast import gather_cast
from deploy.demo.invariants import NeverStill, check_books, read_books
from deploy.demo.market import Market, Moment, Patience
from deploy.demo.plan import MARKET_START
from deploy.demo.repeating import Repeating
from deploy.demo.report import check_payouts
from deploy.demo.scenario import Cast, Scenario
from deploy.local.layout import Layout, Ports
from deploy.local.stack import PROCESSES, Stack
from kernel.rpc.channels import open_channel
from tests.e2e import evidence
from tests.e2e.killing import Killer
from tests.e2e.persistent import PersistentDevnet, PersistentWallet

_PATIENCE: Final = Patience(seconds=60.0, blocks=2, pauses=6)
_MOST_READS: Final = 40
# Which process dies when; what it was doing just then differs from run to run all the same.
_SEED: Final = 20200312


class _Play:
    """One play on a stack that is killed under it."""

    def __init__(self, stack: Stack, killer: Killer) -> None:
        self._stack = stack
        self._killer = killer
        self._cast: Cast | None = None
        self.assertions = 0

    async def play(self) -> pool_pb2.Reconciliation:
        """Plays everything under fire; the reconciliation at the end."""
        layout = self._stack.layout
        async with AsyncExitStack() as opened:
            devnet = await opened.enter_async_context(PersistentDevnet(layout.node_url, _PATIENCE.seconds))
            wallet = await opened.enter_async_context(PersistentWallet(devnet, _PATIENCE.seconds))
            channel = open_channel(layout.address("oracle"), outermost=[Repeating(_PATIENCE.seconds)])
            oracle = oracle_grpc.OracleServiceStub(await opened.enter_async_context(channel))
            cast = self._cast = await gather_cast(self._stack, devnet, wallet, _PATIENCE.seconds)
            market = Market(devnet, cast.operator.services, oracle, self._after_block, _PATIENCE)
            async with self._killer.at_work():
                reconciliation = await Scenario(cast, market, devnet, print).play()
            check_payouts([(played, await played.policy()) for played in cast.played])
            await self._check_what_is_left(market, devnet)
        return reconciliation

    async def _after_block(self, moment: Moment) -> None:
        """The invariants, read again while a process that was killed leaves the books apart."""
        assert self._cast is not None
        for _ in range(_MOST_READS):
            try:
                books = await read_books(self._cast.operator.services)
            except NeverStill:
                continue
            self.assertions += check_books(books)
            return
        raise NeverStill(f"the books never stood still at burn block {moment.burn_height}")

    async def _check_what_is_left(self, market: Market, devnet: PersistentDevnet) -> None:
        temporal = await self._stack.temporal()
        url = self._stack.database_url

        async def quiet() -> bool:
            return not (await evidence.open_workflows(temporal)) + (await evidence.undelivered(url))

        await market.eventually(quiet, "every workflow ends and every outbox is empty")
        assert await evidence.failed_workflows(temporal) == []
        mined = await evidence.mined_transactions(devnet)
        evidence.check_single_effects(mined)
        assert await evidence.check_intents(url, mined) > market.blocks


async def test_every_process_may_be_killed_at_any_time(open_folder: Path) -> None:
    """Every policy ends as planned, the invariants hold at every burn block, and each intent had exactly one effect."""
    print(f"seed {_SEED}")
    stack = Stack(Layout(open_folder / "crashes", Ports.free(), MARKET_START, 0.0), lambda _: None)
    killer = Killer(stack, _SEED)
    play = _Play(stack, killer)
    try:
        await stack.start()
        reconciliation = await play.play()
    finally:
        stack.stop()
        print(f"killed {dict(killer.killed)}, {play.assertions} assertions; ended by themselves: {killer.ended}")
    assert not reconciliation.differences
    assert play.assertions > 0
    assert set(killer.killed) == set(PROCESSES)
    assert not killer.ended
