"""Market time and burn blocks."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from tests.integration.devnet.chain import running_chain

START = 1_583_884_800
NOBODY = "ST000000000000000000002AMW42H"


async def test_clock_starts_still_at_the_given_time(tmp_path: Path) -> None:
    """Market time begins where it is told to, at speed 0, with the burn block of that time."""
    async with running_chain(tmp_path, market_start="2021-05-19T12:00:00Z") as chain:
        clock = await chain.devnet.clock()
        assert (clock.market_time, clock.speed, clock.held) == (1_621_425_600, 0, ())
        burn = await chain.devnet.get("/extended/v2/burn-blocks/latest")
        assert burn["burn_block_time"] == clock.market_time


async def test_advance_mines_the_burn_blocks_that_it_crosses(tmp_path: Path) -> None:
    """Every ten market minutes one burn block with a Stacks block; a day takes well under a second."""
    async with running_chain(tmp_path) as chain:
        first = (await chain.devnet.clock()).burn_height
        assert (await chain.devnet.advance(599.5)).burn_height == first
        assert (await chain.devnet.advance(0.5)).burn_height == first + 1
        begin = time.monotonic()
        clock = await chain.devnet.advance(86_400)
        assert time.monotonic() - begin < 0.5
        assert (clock.market_time, clock.burn_height) == (START + 600 + 86_400, first + 145)
        for height in (first, first + 1, first + 100):
            burn = await chain.devnet.get(f"/extended/v2/burn-blocks/{height}")
            assert burn["burn_block_time"] == START + 600 * (height - first)
            assert len(burn["stacks_blocks"]) == 1
        assert await chain.devnet.mine_burn_blocks(2) == await chain.devnet.clock()
        assert (await chain.devnet.clock()).market_time == START + 600 * 147


async def test_contracts_see_the_burn_height(tmp_path: Path) -> None:
    """`burn-block-height` in the VM is that of the clock."""
    async with running_chain(tmp_path) as chain:
        address = await chain.fund("heights")
        code = '(define-public (f) (ok (print { topic: "h", burn: burn-block-height, stacks: stacks-block-height })))'
        await chain.send(await chain.wallet.deploy("heights", "heights", code))
        clock = await chain.devnet.mine_burn_blocks(7)
        called = await chain.call("heights", f"{address}.heights", "f")
        value = f'(ok (tuple (burn u{clock.burn_height}) (stacks u{called["block_height"]}) (topic "h")))'
        assert called["tx_result"]["repr"] == value


async def test_running_clock_mines_block_by_block_and_holds_for_the_mempool(tmp_path: Path) -> None:
    """At a speed burn blocks come by themselves; while a transaction is unconfirmed the clock stands and says why."""
    async with running_chain(tmp_path) as chain:
        await chain.fund("held")
        await chain.devnet.set_speed(6_000)
        async with asyncio.timeout(60):
            while (await chain.devnet.clock()).burn_height < 4:
                await asyncio.sleep(0.01)
        txid = await chain.wallet.broadcast((await chain.wallet.transfer("held", NOBODY, 1)).raw)
        held = await chain.devnet.clock()
        await asyncio.sleep(0.1)
        assert (await chain.devnet.clock()).market_time == held.market_time
        assert held.held == ("mempool: 1 pending",)
        await chain.mined(txid)
        async with asyncio.timeout(60):
            while (await chain.devnet.clock()).market_time <= held.market_time:
                await asyncio.sleep(0.01)
        assert (await chain.devnet.set_speed(0)).held == ()


async def test_what_waits_too_long_is_dropped(tmp_path: Path) -> None:
    """A transaction behind a nonce gap is dropped after 256 burn blocks."""
    async with running_chain(tmp_path) as chain:
        await chain.fund("stale")
        txid = await chain.wallet.broadcast((await chain.wallet.transfer("stale", NOBODY, 1, nonce=3)).raw)
        await chain.devnet.mine_burn_blocks(256)
        assert (await chain.devnet.get(f"/extended/v1/tx/{txid}"))["tx_status"] == "pending"
        await chain.devnet.mine_burn_blocks(1)
        assert (await chain.devnet.wait_for(txid))["tx_status"] == "dropped_stale_garbage_collect"
