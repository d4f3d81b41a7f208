"""Burn blocks that stop, and a VM that dies."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from deploy.devnet.faults import FaultDriver
from tests.devnet import DevnetError
from tests.integration.devnet.chain import Chain, running_chain
from tests.integration.devnet.test_restart import snapshot, vm_process

START = 1_583_884_800


async def test_stopped_burn_blocks_come_when_they_may(tmp_path: Path) -> None:
    """Market time and Stacks blocks go on without them; those missed come at once, time never goes back."""
    async with running_chain(tmp_path) as chain:
        faults = FaultDriver(chain.devnet)
        await faults.stop_burn_blocks()
        clock = await chain.devnet.advance(1_500)
        assert (clock.burn_height, clock.market_time) == (1, START + 1_500)
        with pytest.raises(DevnetError, match=r"409 .*burn blocks are stopped"):
            await chain.devnet.mine_burn_blocks(1)
        await chain.devnet.mine_block()
        await faults.resume_burn_blocks()
        clock = await chain.devnet.clock()
        assert (clock.burn_height, clock.market_time) == (3, START + 1_500)
        blocks = (await chain.devnet.get("/extended/v2/blocks"))["results"]
        times = [block["block_time"] for block in reversed(blocks)]
        assert times == sorted(times)
        assert (await chain.devnet.mine_burn_blocks(1)).market_time == START + 1_800
        before = await snapshot(chain.devnet)
    async with running_chain(tmp_path) as chain:
        assert await snapshot(chain.devnet) == before


async def test_running_clock_goes_on_without_burn_blocks(tmp_path: Path) -> None:
    """At a speed the clock passes a burn block's time while they are stopped, and mines it afterwards."""
    async with running_chain(tmp_path) as chain:
        faults = FaultDriver(chain.devnet)
        await faults.stop_burn_blocks()
        await chain.devnet.set_speed(100_000)
        async with asyncio.timeout(60):
            while (clock := await chain.devnet.clock()).market_time < START + 2_000:
                await asyncio.sleep(0.01)
        assert clock.burn_height == 1
        await faults.resume_burn_blocks()
        later = await chain.devnet.set_speed(0)
        assert later.market_time >= clock.market_time
        assert later.burn_height == 1 + (int(later.market_time) - START) // 600


async def test_burn_switch_takes_only_true_and_false(chain: Chain) -> None:
    """Anything else is a 400 that says so."""
    bad: tuple[dict[str, Any], ...] = ({}, {"running": 1})
    for body in bad:
        with pytest.raises(DevnetError, match=r"400 .*running must be true or false"):
            await chain.devnet.post("/devnet/burn", body)


async def test_vm_crashes_in_the_middle_of_traffic(tmp_path: Path) -> None:
    """Many crashes lose nothing and run nothing twice; none is blamed on a transaction; HTTP answers all the while."""
    async with running_chain(tmp_path, block_interval_ms=1) as chain:
        faults = FaultDriver(chain.devnet)
        contract = await chain.deploy_tiny("crashes")
        txids = []
        for nonce in range(1, 25):
            signed = await chain.wallet.call("crashes", contract, "add", [f"01{1:032x}"], nonce=nonce, fee=1000)
            txids.append(await chain.wallet.broadcast(signed.raw))
            if nonce % 4 == 0:
                await faults.crash_vm()
            assert (await chain.devnet.get("/v2/info"))["stacks_tip_height"] > 0
        mined = [await chain.devnet.wait_for(txid, 60) for txid in txids]
        assert [one["tx_result"]["repr"] for one in mined] == [f"(ok u{number})" for number in range(1, 25)]
        assert await chain.total(contract) == 24
        assert (await faults.vm()).restarts >= 1


async def test_read_is_answered_or_told_to_come_again(tmp_path: Path) -> None:
    """While the VM does nothing a read is 503 with Retry-After, and what needs no VM is answered; afterwards all is."""
    async with running_chain(tmp_path) as chain, aiohttp.ClientSession() as session:
        contract = await chain.deploy_tiny("reader")
        address, name = contract.split(".")
        url = f"{chain.devnet.url}/v2/contracts/call-read/{address}/{name}/get-total"

        async def read() -> int:
            async with session.post(url, json={"sender": address, "arguments": []}) as response:
                assert response.status == 200 or response.headers["Retry-After"] == "1"
                return response.status

        process = await vm_process(chain.devnet)
        process.suspend()
        assert await read() == 503
        assert await chain.nonce(address) == 1
        await FaultDriver(chain.devnet).crash_vm()
        async with asyncio.timeout(60):
            while await read() == 503:
                pass
        assert await chain.total(contract) == 0
