"""call-read with `tip=`: the state at the end of a block of the chain, as a node's own database has it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp

from deploy.devnet.faults import FaultDriver
from services.chain_gateway.stacks.clarity import (
    Buffer,
    ClarityValue,
    ListValue,
    Some,
    StringAscii,
    TupleValue,
    UInt,
    from_hex,
    parse_principal,
    to_hex,
)
from tests.integration.devnet.chain import SBTC, Chain, running_chain

ECHO = """
(define-data-var count uint u0)
(define-public (count-up) (ok (var-set count (+ (var-get count) u1))))
(define-read-only (seen (given { names: (list 3 (string-ascii 20)), owner: principal, key: (optional (buff 4)) }))
  { given: given, count: (var-get count), height: stacks-block-height, ustx: (stx-get-balance (get owner given)) })
"""


async def answer(
    chain: Chain, contract: str, function: str, *args: ClarityValue, tip: str, sender: str = ""
) -> tuple[int, str]:
    """Status and body of a call-read whose query is `tip=`."""
    address, name = contract.split(".")
    url = f"{chain.devnet.url}/v2/contracts/call-read/{address}/{name}/{function}"
    question = {"sender": sender or address, "arguments": [to_hex(value) for value in args]}
    async with aiohttp.ClientSession() as session, session.post(url, params={"tip": tip}, json=question) as response:
        return response.status, await response.text()


async def value(chain: Chain, contract: str, function: str, *args: ClarityValue, tip: str) -> ClarityValue:
    """What a function gives at a block."""
    address, name = contract.split(".")
    question = {"sender": address, "arguments": [to_hex(value) for value in args]}
    path = f"/v2/contracts/call-read/{address}/{name}/{function}?tip={tip}"
    told = await chain.devnet.post(path, question)
    assert told["okay"], told
    return from_hex(told["result"])


async def index_hash(chain: Chain, place: int | str = "latest") -> str:
    """The index hash of a block, as `tip=` takes it."""
    return str((await chain.devnet.get(f"/extended/v2/blocks/{place}"))["index_block_hash"]).removeprefix("0x")


async def test_each_block_keeps_its_state(chain: Chain) -> None:
    """Counter, height and the sBTC token are those of the block that is named, whatever was mined since and burned."""
    contract = await chain.deploy_tiny("past")
    owner = contract.split(".")[0]
    hashes = [await index_hash(chain)]
    for _ in range(4):
        await chain.call("past", contract, "add", UInt(1))
        hashes.append(await index_hash(chain))
    await chain.devnet.mine_burn_blocks(2)
    hashes.append(await index_hash(chain))
    before = await chain.sbtc_balance(owner)
    await chain.mined(await chain.devnet.faucet_sbtc(owner, 700))
    for total, tip in enumerate(hashes[:5]):
        assert await value(chain, contract, "get-total", tip=tip) == UInt(total)
    assert await value(chain, contract, "get-total", tip=hashes[2].upper()) == UInt(2)
    assert await value(chain, contract, "get-total", tip=await index_hash(chain)) == UInt(4)
    assert await value(chain, SBTC, "get-balance", parse_principal(owner), tip=hashes[-1]) == before
    assert await chain.sbtc_balance(owner) != before


async def test_values_of_every_kind_go_in_and_out(chain: Chain) -> None:
    """A tuple of lists, texts, principals and buffers is read back with the balance that its owner had then."""
    owner = await chain.fund("echo", 5_000_000)
    await chain.send(await chain.wallet.deploy("echo", "echo", ECHO, fee=1_000))
    block = await chain.devnet.get("/extended/v2/blocks/latest")
    tip = block["index_block_hash"].removeprefix("0x")
    await chain.call("echo", f"{owner}.echo", "count-up", fee=1_000)
    await chain.call("echo", f"{owner}.echo", "count-up", fee=1_000)
    names = ListValue((StringAscii('a "quoted" \\ name'), StringAscii("")))
    given = TupleValue({"names": names, "owner": parse_principal(f"{owner}.echo"), "key": Some(Buffer(b"\x00\xff"))})
    told = await value(chain, f"{owner}.echo", "seen", given, tip=tip)
    assert told == TupleValue({"given": given, "count": UInt(0), "height": UInt(block["height"]), "ustx": UInt(0)})
    mine = TupleValue({**given.fields, "owner": parse_principal(owner)})
    told = await value(chain, f"{owner}.echo", "seen", mine, tip=tip)
    assert isinstance(told, TupleValue)
    assert told.fields["ustx"] == UInt(5_000_000 - 1_000)


async def test_what_names_no_block_is_answered_as_a_node_does(chain: Chain) -> None:
    """An unknown hash, or a block's own hash, is a 404 in plain text; what is no hash at all is the tip."""
    contract = await chain.deploy_tiny("unnamed")
    await chain.call("unnamed", contract, "add", UInt(1))
    block = await chain.devnet.get("/extended/v2/blocks/latest")
    await chain.call("unnamed", contract, "add", UInt(1))
    for tip in ("ab" * 32, block["hash"].removeprefix("0x")):
        assert await answer(chain, contract, "get-total", tip=tip) == (404, "Chain tip not found")
    for tip in ("", "latest", "nonsense", block["index_block_hash"]):
        assert await value(chain, contract, "get-total", tip=tip) == UInt(2)


async def test_a_read_at_a_block_cannot_write(chain: Chain) -> None:
    """Public functions, names that hold source text and contracts of later blocks are refused; the VM goes on."""
    restarts = (await FaultDriver(chain.devnet).vm()).restarts
    early = await index_hash(chain, 1)
    contract = await chain.deploy_tiny("unwritten")
    tip = await index_hash(chain)
    await chain.devnet.mine_block()
    trick = f"get-total) (contract-call? '{contract} add u1"
    for function, args, at in (("add", [UInt(1)], tip), (trick, [], tip), ("nope", [], tip), ("get-total", [], early)):
        status, body = await answer(chain, contract, function, *args, tip=at)
        assert (status, '"okay":false' in body) == (200, True), (function, body)
    assert '"okay":false' in (await answer(chain, contract, "get-total", tip=tip, sender=contract))[1]
    assert await chain.total(contract) == 0
    assert (await chain.call("unwritten", contract, "add", UInt(1)))["tx_result"]["repr"] == "(ok u1)"
    assert await value(chain, contract, "get-total", tip=tip) == UInt(0)
    assert (await FaultDriver(chain.devnet).vm()).restarts == restarts


async def test_withdrawn_blocks_cannot_be_read(chain: Chain) -> None:
    """Reads while the chain forks have the state of their block, or a 404 once it is gone; below, nothing changes."""
    contract = await chain.deploy_tiny("forked read")
    hashes = [await index_hash(chain)]
    for number in range(5):
        if number == 2:
            await chain.devnet.mine_burn_blocks(1)
        await chain.call("forked read", contract, "add", UInt(1))
        hashes.append(await index_hash(chain))
    reads = [answer(chain, contract, "get-total", tip=tip) for tip in hashes * 8]
    fork = asyncio.ensure_future(FaultDriver(chain.devnet).fork(4, "lose", burn=True))
    for place, (status, body) in enumerate(await asyncio.gather(*reads)):
        total = place % len(hashes)
        expected = f'{{"okay":true,"result":"{to_hex(UInt(total))}"}}'
        assert (status, body) == (200, expected) or (total > 2 and status == 404)
    await fork
    for total, tip in enumerate(hashes):
        status, body = await answer(chain, contract, "get-total", tip=tip)
        assert (status, to_hex(UInt(total)) in body) == ((200, True) if total <= 2 else (404, False))


async def test_the_past_outlives_the_process(tmp_path: Path) -> None:
    """When the devnet is started again, a block has the state that it had."""
    async with running_chain(tmp_path) as chain:
        contract = await chain.deploy_tiny("kept past")
        tip = await index_hash(chain)
        await chain.call("kept past", contract, "add", UInt(3))
    async with running_chain(tmp_path) as chain:
        assert await value(chain, contract, "get-total", tip=tip) == UInt(0)
        assert await chain.total(contract) == 3
