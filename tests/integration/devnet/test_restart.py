"""The log: a restart, however it came about, gives the identical chain."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Any

import psutil
import pytest

from services.chain_gateway.stacks.clarity import UInt
from tests.devnet import Devnet, DevnetError, running_devnet
from tests.integration.devnet.chain import Chain, running_chain

SENDER = "ST000000000000000000002AMW42H"


async def snapshot(devnet: Devnet, *principals: str) -> dict[str, Any]:
    """All that could differ: every block and transaction, and what the principals have."""
    blocks = await devnet.get("/extended/v2/blocks?limit=30")
    heights = [block["height"] for block in blocks["results"]]
    transactions = [await devnet.get(f"/extended/v2/blocks/{height}/transactions") for height in heights]
    accounts = [await devnet.get(f"/v2/accounts/{principal}?proof=0") for principal in principals]
    balances = [await devnet.get(f"/extended/v1/address/{principal}/balances") for principal in principals]
    nonces = [await devnet.get(f"/extended/v1/address/{principal}/nonces") for principal in principals]
    clock = await devnet.clock()
    return {"blocks": blocks, "transactions": transactions, "accounts": [accounts, balances, nonces], "clock": clock}


async def busy_chain(chain: Chain) -> str:
    """Transactions of every outcome, burn blocks, and one that stays pending; gives the contract."""
    contract = await chain.deploy_tiny("busy")
    await chain.call("busy", contract, "add", UInt(5))
    await chain.devnet.mine_burn_blocks(3)
    await chain.call("busy", contract, "add", UInt(100))
    await chain.call("busy", contract, "pay", UInt(100))
    await chain.devnet.advance(90)
    await chain.wallet.broadcast((await chain.wallet.transfer("busy", SENDER, 1, nonce=20)).raw)
    return contract


async def vm_process(devnet: Devnet) -> psutil.Process:
    """The process of the VM, once there is one."""
    async with asyncio.timeout(60):
        while not (children := psutil.Process(devnet.pid).children()):
            await asyncio.sleep(0.01)
    return children[0]


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGKILL])
async def test_restart_replays_to_the_same_chain(tmp_path: Path, ending: signal.Signals) -> None:
    """After an orderly end and after a kill: same hashes, outcomes, balances, nonces, clock and mempool."""
    async with running_chain(tmp_path) as chain:
        contract = await busy_chain(chain)
        owner = contract.split(".")[0]
        before = await snapshot(chain.devnet, owner, contract)
        code = await chain.devnet.stop(ending)
        assert code == (0 if ending is signal.SIGTERM else -signal.SIGKILL)
    async with running_chain(tmp_path) as chain:
        assert await snapshot(chain.devnet, owner, contract) == before
        assert await chain.total(contract) == 5
        called = await chain.call("busy", contract, "add", UInt(2), nonce=await chain.nonce(owner))
        assert called["tx_result"]["repr"] == "(ok u7)"


async def test_half_written_record_is_cut_off(tmp_path: Path) -> None:
    """A last line without its end was promised to nobody: the chain is as before it."""
    async with running_chain(tmp_path) as chain:
        await chain.devnet.mine_burn_blocks(2)
        before = await snapshot(chain.devnet)
    with (tmp_path / "chain.log").open("a") as log:
        log.write('{"t":"burn","cou')
    async with running_chain(tmp_path) as chain:
        assert await snapshot(chain.devnet) == before
        await chain.devnet.mine_burn_blocks(1)
    async with running_chain(tmp_path) as chain:
        assert (await chain.devnet.clock()).burn_height == before["clock"].burn_height + 1


async def test_damaged_log_is_refused(tmp_path: Path) -> None:
    """A record in the middle that cannot be read ends the start with one line that names it."""
    async with running_devnet(tmp_path):
        pass
    with (tmp_path / "chain.log").open("a") as log:
        log.write("not a record\n")
    with pytest.raises(DevnetError, match=r"^devnet: .*chain\.log, line 2: not a record$"):
        async with running_devnet(tmp_path):
            pass


async def test_killed_vm_is_replayed_behind_a_living_server(tmp_path: Path) -> None:
    """After SIGKILL of the VM reads of the chain go on at once, and the next call sees the state of before."""
    async with running_chain(tmp_path) as chain:
        contract = await busy_chain(chain)
        owner = contract.split(".")[0]
        before = await snapshot(chain.devnet, owner, contract)
        first = await vm_process(chain.devnet)
        first.kill()
        assert await snapshot(chain.devnet, owner, contract) == {**before, "clock": await chain.devnet.clock()}
        called = await chain.call("busy", contract, "add", UInt(1), nonce=await chain.nonce(owner))
        assert called["tx_result"]["repr"] == "(ok u6)"
        assert (await vm_process(chain.devnet)).pid != first.pid


async def test_vm_killed_while_transactions_run(tmp_path: Path) -> None:
    """Kills in the midst of a stream of calls lose none of them and run none twice."""
    async with running_chain(tmp_path, block_interval_ms=1) as chain:
        contract = await chain.deploy_tiny("stream")
        txids = []
        for nonce in range(1, 21):
            signed = await chain.wallet.call("stream", contract, "add", [f"01{1:032x}"], nonce=nonce, fee=1000)
            txids.append(await chain.wallet.broadcast(signed.raw))
            if nonce in (7, 14):
                (await vm_process(chain.devnet)).kill()
        mined = [await chain.devnet.wait_for(txid) for txid in txids]
        assert [one["tx_result"]["repr"] for one in mined] == [f"(ok u{number})" for number in range(1, 21)]
        assert await chain.total(contract) == 20
