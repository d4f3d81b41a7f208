"""Forks: blocks are withdrawn, another branch is mined, and everything that can be asked follows it."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from deploy.devnet.faults import Fate, FaultDriver
from tests.devnet import DevnetError
from tests.integration.devnet.chain import Chain, running_chain
from tests.integration.devnet.test_restart import snapshot
from tests.wallet import SignedTransaction

NOBODY = "ST000000000000000000002AMW42H"
FEE = 1_000


async def addition(chain: Chain, contract: str, seed: str, nonce: int, amount: int = 1) -> SignedTransaction:
    """A signed call that adds to the counter."""
    return await chain.wallet.call(seed, contract, "add", [f"01{amount:032x}"], nonce=nonce, fee=FEE)


async def additions(chain: Chain, seed: str, count: int) -> tuple[str, list[str]]:
    """A contract and calls of it by its owner, each adding 1 in a block of its own; gives contract and txids."""
    contract = await chain.deploy_tiny(seed)
    mined = [await chain.send(await addition(chain, contract, seed, nonce)) for nonce in range(1, count + 1)]
    return contract, [one["tx_id"] for one in mined]


async def status(chain: Chain, txid: str) -> str:
    """What the API says of a transaction; "unknown" when it does not know it."""
    found = (await chain.devnet.get(f"/extended/v1/tx/multiple?tx_id={txid}"))[txid]
    return str(found["result"]["tx_status"]) if found["found"] else "unknown"


async def tip(chain: Chain) -> dict[str, Any]:
    """The last block."""
    return await chain.devnet.get("/extended/v2/blocks/latest")


@pytest.mark.parametrize("depth", [1, 3, 5, 20])
async def test_returned_transactions_are_mined_on_the_other_branch(chain: Chain, depth: int) -> None:
    """Old blocks are gone by hash, the new ones hang together, and the VM counts each transaction once."""
    contract, txids = await additions(chain, f"return {depth}", 22)
    owner = contract.split(".")[0]
    old = (await chain.devnet.get("/extended/v2/blocks?limit=30"))["results"]
    before = await chain.balance(owner), await chain.nonce(owner)
    branch = await FaultDriver(chain.devnet).fork(depth)
    assert branch.stacks_height == old[0]["height"] - depth + 1
    new = (await chain.devnet.get("/extended/v2/blocks?limit=30"))["results"]
    assert new[1] == old[depth]
    assert (new[0]["parent_block_hash"], new[0]["tx_count"]) == (old[depth]["hash"], depth)
    for block in old[:depth]:
        for name in ("hash", "index_block_hash"):
            with pytest.raises(DevnetError, match="404"):
                await chain.devnet.get(f"/extended/v2/blocks/{block[name]}")
    assert (await chain.devnet.get("/v2/info"))["stacks_tip"] == new[0]["hash"].removeprefix("0x")
    mined = [await chain.devnet.get(f"/extended/v1/tx/{txid}") for txid in txids]
    assert [one["tx_result"]["repr"] for one in mined] == [f"(ok u{number})" for number in range(1, 23)]
    assert {one["block_hash"] for one in mined[-depth:]} == {new[0]["hash"]}
    assert await chain.total(contract) == 22
    assert (await chain.balance(owner), await chain.nonce(owner)) == before


async def test_lost_transactions_are_unknown_until_they_are_sent_again(chain: Chain) -> None:
    """Nonce, balance, token balance and contract are as before them; the same bytes are taken again."""
    contract, txids = await additions(chain, "lost by fork", 2)
    owner = contract.split(".")[0]
    before = await snapshot(chain.devnet, owner, NOBODY)
    signed = await addition(chain, contract, "lost by fork", 3)
    await chain.send(signed)
    await chain.send(await chain.wallet.transfer("lost by fork", NOBODY, 50, nonce=4, fee=FEE))
    await FaultDriver(chain.devnet).fork(2, "lose")
    after = await snapshot(chain.devnet, owner, NOBODY)
    assert after["accounts"] == before["accounts"]
    assert [await status(chain, txid) for txid in (txids[1], signed.txid)] == ["success", "unknown"]
    assert await chain.total(contract) == 2
    assert (await chain.send(signed))["tx_result"]["repr"] == "(ok u3)"


async def test_shuffled_transactions_come_in_other_blocks(chain: Chain) -> None:
    """Six accounts' transactions in another order over the blocks; each account's own order is kept."""
    contract = await chain.deploy_tiny("shuffle")
    seeds = [f"shuffle {number}" for number in range(6)]
    for seed in seeds:
        await chain.fund(seed)
    await chain.devnet.mine_block()
    old = []
    for nonce in range(3):
        txids = [await chain.wallet.broadcast((await addition(chain, contract, seed, nonce)).raw) for seed in seeds]
        await chain.devnet.mine_block()
        old += [await chain.devnet.wait_for(txid) for txid in txids]
    await FaultDriver(chain.devnet).fork(3, "shuffle")
    new = [await chain.devnet.get(f"/extended/v1/tx/{one['tx_id']}") for one in old]

    def place(one: dict[str, Any]) -> tuple[int, int]:
        return one["block_height"], one["tx_index"]

    assert sorted(map(place, new)) == sorted(map(place, old))
    assert list(map(place, new)) != list(map(place, old))
    for first in range(len(seeds)):
        own = [place(one) for one in new[first :: len(seeds)]]
        assert own == sorted(own)
    assert await chain.total(contract) == 18


async def test_withdrawn_transaction_behind_a_lost_one_is_pending(chain: Chain) -> None:
    """Funds that were lost with their block leave what they paid for waiting, until they come again."""
    address = (await chain.wallet.address("dependent")).address
    await chain.deploy_tiny("payer")
    paid = await chain.wallet.transfer("payer", address, 100_000, nonce=1, fee=FEE)
    await chain.send(paid)
    spent = await chain.wallet.transfer("dependent", NOBODY, 5, nonce=0, fee=FEE)
    await chain.send(spent)
    faults = FaultDriver(chain.devnet)
    await faults.fork(1)
    assert await status(chain, spent.txid) == "success"
    # The second fork takes both blocks; what is sent again while its funds are gone is refused, what waits waits.
    waiting = await chain.wallet.broadcast((await chain.wallet.transfer("dependent", NOBODY, 6, nonce=1, fee=FEE)).raw)
    await faults.fork(2, "lose")
    assert [await status(chain, one) for one in (paid.txid, spent.txid, waiting)] == ["unknown", "unknown", "pending"]
    assert (await chain.nonce(address), await chain.balance(address)) == (0, 0)
    await chain.send(paid)
    await chain.wallet.broadcast(spent.raw)
    await chain.devnet.mine_block()
    assert [await status(chain, one) for one in (spent.txid, waiting)] == ["success", "success"]


async def test_waiting_transactions_are_mined_after_the_returned(chain: Chain) -> None:
    """What waited when the fork came keeps its place behind the withdrawn of the same account."""
    contract, txids = await additions(chain, "waiting", 2)
    third = await chain.wallet.broadcast((await addition(chain, contract, "waiting", 3)).raw)
    gap = await chain.wallet.broadcast((await addition(chain, contract, "waiting", 5)).raw)
    await FaultDriver(chain.devnet).fork(2)
    mined = [await chain.devnet.get(f"/extended/v1/tx/{txid}") for txid in (*txids, third)]
    assert [one["tx_result"]["repr"] for one in mined] == ["(ok u1)", "(ok u2)", "(ok u3)"]
    assert len({one["block_hash"] for one in mined}) == 1
    assert await status(chain, gap) == "pending"


@pytest.mark.parametrize("burn", [False, True])
async def test_fork_across_burn_blocks(tmp_path: Path, burn: bool) -> None:
    """Burn blocks keep height and time, and their hashes unless they were to be replaced; contracts see the height."""
    async with running_chain(tmp_path) as chain:
        contract, txids = await additions(chain, "burnt", 3)
        await chain.devnet.mine_burn_blocks(2)
        await chain.send(await addition(chain, contract, "burnt", 4))
        await chain.devnet.mine_burn_blocks(1)
        old = (await chain.devnet.get("/extended/v2/burn-blocks"))["results"]
        clock = await chain.devnet.clock()
        # The empty blocks of three burn blocks, one transaction among them and one before.
        branch = await FaultDriver(chain.devnet).fork(5, burn=burn)
        new = (await chain.devnet.get("/extended/v2/burn-blocks"))["results"]
        assert await chain.devnet.clock() == clock
        assert branch.burn_height == clock.burn_height
        assert [one["burn_block_time"] for one in new] == [one["burn_block_time"] for one in old]
        same = [one["burn_block_hash"] for one in new] == [one["burn_block_hash"] for one in old]
        assert same is not burn
        assert [len(one["stacks_blocks"]) for one in new[:3]] == [2, 1, 1]
        mined = [await chain.devnet.get(f"/extended/v1/tx/{txid}") for txid in txids]
        assert [one["burn_block_height"] for one in mined] == [1, 1, clock.burn_height]
        blocks = (await chain.devnet.get("/extended/v2/blocks?limit=10"))["results"]
        for block, parent in itertools.pairwise(blocks):
            assert block["parent_block_hash"] == parent["hash"]
            assert block["block_time"] >= parent["block_time"]
        if burn:
            with pytest.raises(DevnetError, match="404"):
                await chain.devnet.get(f"/extended/v2/burn-blocks/{old[0]['burn_block_hash']}")
        await chain.devnet.mine_burn_blocks(1)
        assert await chain.total(contract) == 4


async def test_fork_into_the_middle_of_burn_blocks_mined_at_once(tmp_path: Path) -> None:
    """A hundred burn blocks in one request can be withdrawn in part."""
    async with running_chain(tmp_path) as chain:
        contract, _ = await additions(chain, "hundred", 1)
        await chain.devnet.mine_burn_blocks(100)
        faults = FaultDriver(chain.devnet)
        await faults.fork(40, burn=True)
        await faults.fork(70, "lose")
        assert (await chain.devnet.clock()).burn_height == 101
        assert (await chain.send(await addition(chain, contract, "hundred", 2)))["tx_result"]["repr"] == "(ok u2)"
        before = await snapshot(chain.devnet)
    async with running_chain(tmp_path) as chain:
        assert await snapshot(chain.devnet) == before


async def test_fork_stops_above_contracts_and_genesis(tmp_path: Path) -> None:
    """Deeper than that is a 409 that says how deep it may be, and nothing changes."""
    async with running_chain(tmp_path) as chain:
        faults = FaultDriver(chain.devnet)
        await chain.devnet.mine_block()
        for depth, deepest in ((2, 1), (5, 1)):
            with pytest.raises(DevnetError, match=f"409 .*only {deepest} blocks can be withdrawn"):
                await faults.fork(depth)
        assert (await faults.fork(1)).stacks_height == 2
        await additions(chain, "floor", 2)
        assert (await faults.branch()).forkable == 2
        before = await tip(chain)
        with pytest.raises(DevnetError, match=r"409 .*only 2 blocks"):
            await faults.fork(3)
        assert await tip(chain) == before
        assert (await faults.fork(2)).forkable == 1


BAD: dict[str, dict[str, Any]] = {
    "depth must be a whole number from 1": {"depth": 0},
    "transactions must be one of return, lose, shuffle": {"depth": 1, "transactions": "keep"},
    "burn must be true or false": {"depth": 1, "burn": 1},
    "the body has no n: it has depth, transactions, burn": {"n": 1},
}


@pytest.mark.parametrize("message", BAD)
async def test_bad_forks_are_refused_to_the_field(chain: Chain, message: str) -> None:
    """What is misspelt or out of bounds is a 400 that names it."""
    with pytest.raises(DevnetError, match=f"400 .*{message}"):
        await chain.devnet.post("/devnet/fork", BAD[message])


@pytest.mark.parametrize("fate", ["return", "lose", "shuffle"])
async def test_log_is_replayed_to_the_same_branch(tmp_path: Path, fate: Fate) -> None:
    """After two forks in a row, one across a burn block, a restart gives the same blocks, balances and clock."""
    async with running_chain(tmp_path) as chain:
        contract, _ = await additions(chain, "replayed", 4)
        owner = contract.split(".")[0]
        await chain.devnet.mine_burn_blocks(1)
        await chain.wallet.broadcast((await addition(chain, contract, "replayed", 6)).raw)
        faults = FaultDriver(chain.devnet)
        await faults.fork(3, fate)
        await chain.devnet.advance(700)
        await faults.fork(2, fate, burn=True)
        before = await snapshot(chain.devnet, owner, contract, NOBODY), await chain.total(contract)
    async with running_chain(tmp_path) as chain:
        assert (await snapshot(chain.devnet, owner, contract, NOBODY), await chain.total(contract)) == before
        assert (await FaultDriver(chain.devnet).branch()).forks == 2


async def test_fork_right_after_a_crash(tmp_path: Path) -> None:
    """A VM that died is given what is left, and what a post-condition undid stays undone."""
    async with running_chain(tmp_path) as chain:
        contract, _ = await additions(chain, "deep", 1)
        faults = FaultDriver(chain.devnet)
        violating = await chain.wallet.call("deep", contract, "pay", [f"01{9:032x}"], nonce=2, fee=FEE)
        assert (await chain.send(violating))["tx_status"] == "abort_by_post_condition"
        await faults.crash_vm()
        await faults.fork(1)
        assert await status(chain, violating.txid) == "abort_by_post_condition"
        assert await chain.total(contract) == 1
        await faults.fork(2, "lose")
        assert await chain.total(contract) == 0
