"""The node's client against a server that answers as stacks-core and the Stacks API do, well and badly."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import web

from services.chain_gateway.stacks.clarity import StandardPrincipal, UInt, deserialize
from services.chain_gateway.stacks.node_errors import (
    BroadcastRejected,
    NodeNotFound,
    NodeRefused,
    NodeUnavailable,
    ReadRefused,
)
from services.chain_gateway.stacks.payload import TokenTransfer
from tests.unit.chain_gateway.node_answers import (
    CONTRACT,
    RAW,
    TXID,
    always,
    block_shape,
    burn_block_shape,
    event_shape,
    hash_of,
    mined_shape,
    node_at,
    paged,
    pending_shape,
    transactions_api,
)


async def test_tip_accounts_and_nonces_are_read() -> None:
    """Proves the values of the node's own answers, hex amounts and absent nonces included."""
    answers: dict[str, object] = {
        "/v2/info": {
            "network_id": 2147483648,
            "server_version": "stacks-node 3.3",
            "burn_block_height": 7,
            "stacks_tip_height": 12,
            "stacks_tip": "ab" * 32,
        },
        f"/v2/accounts/{CONTRACT.text}": {
            "balance": "0x0000000000000000000000000000000a",
            "locked": "0x00000000000000000000000000000000",
            "unlock_height": 0,
            "nonce": 4,
        },
        f"/extended/v1/address/{CONTRACT.address.text}/nonces": {
            "last_executed_tx_nonce": None,
            "last_mempool_tx_nonce": 5,
            "possible_next_nonce": 6,
            "detected_missing_nonces": [4],
            "detected_mempool_nonces": [5],
        },
    }

    async def handler(request: web.Request) -> web.Response:
        return web.json_response(answers[request.path])

    async with node_at(handler) as node:
        info, account = await node.info(), await node.account(CONTRACT.text)
        nonces = await node.nonces(CONTRACT.address.text)
    assert (info.burn_height, info.stacks_height, info.stacks_tip) == (7, 12, "ab" * 32)
    assert (account.balance_ustx, account.locked_ustx, account.nonce) == (10, 0, 4)
    assert (nonces.last_executed, nonces.possible_next, nonces.missing) == (None, 6, (4,))


async def test_a_broadcast_answers_its_own_txid_and_sends_the_bytes() -> None:
    """Proves that the bytes arrive as they are and the answer must name the same transaction."""
    received: list[tuple[bytes, str]] = []

    async def handler(request: web.Request) -> web.Response:
        received.append((await request.read(), request.content_type))
        return web.json_response(TXID)

    async with node_at(handler) as node:
        assert await node.broadcast(RAW) == TXID
        with pytest.raises(NodeUnavailable):
            await node.broadcast(RAW + b"!")
    assert received[0] == (RAW, "application/octet-stream")


@pytest.mark.parametrize(
    ("reason", "data"),
    [
        ("BadNonce", {"expected": 5, "actual": 0, "is_origin": True, "principal": CONTRACT.address.text}),
        ("FeeTooLow", {"expected": 300, "actual": 1}),
        ("NotEnoughFunds", {"expected": "0x0a", "actual": "0x00"}),
        ("ConflictingNonceInMempool", {}),
        ("TooMuchChaining", {"message": "too many"}),
    ],
)
async def test_a_rejection_carries_the_reason_of_the_node(reason: str, data: dict[str, Any]) -> None:
    """Proves that the node's reason, its data and the txid reach the caller."""
    body = {"error": "transaction rejected", "reason": reason, "reason_data": data, "txid": TXID}
    async with node_at(always(body, 400)) as node:
        with pytest.raises(BroadcastRejected) as caught:
            await node.broadcast(RAW)
    assert (caught.value.reason, caught.value.reason_data, caught.value.txid) == (reason, data, TXID)


async def test_a_node_with_troubles_of_its_own_does_not_reject() -> None:
    """Proves that a failing node is unavailable, so that nobody takes its failure for a final no."""
    for reason in ("ServerFailureDatabase", "ServerFailureOther", "ServerFailureNoSuchChainTip"):
        async with node_at(always({"error": "transaction rejected", "reason": reason}, 400)) as node:
            with pytest.raises(NodeUnavailable):
                await node.broadcast(RAW)
    async with node_at(always({"error": "no reason"}, 400)) as node:
        with pytest.raises(NodeRefused):
            await node.broadcast(RAW)


async def test_fees_are_estimated_or_unknown() -> None:
    """Proves that three estimations are read, and that a node without an estimate says None, not zero."""
    payload = TokenTransfer(StandardPrincipal(CONTRACT.address), 1)
    fees = {"estimations": [{"fee_rate": 1.5, "fee": fee} for fee in (180, 200, 220)]}
    async with node_at(always(fees)) as node:
        estimate = await node.estimate_fee(payload, 180)
    assert estimate is not None
    assert (estimate.low_ustx, estimate.middle_ustx, estimate.high_ustx) == (180, 200, 220)
    unknown = {"error": "Estimation could not be performed", "reason": "NoEstimateAvailable"}
    async with node_at(always(unknown, 400)) as node:
        assert await node.estimate_fee(payload, 180) is None
    async with node_at(always({"estimations": []})) as node:
        with pytest.raises(NodeUnavailable):
            await node.estimate_fee(payload, 180)


async def test_read_only_calls_give_values_or_the_cause() -> None:
    """Proves the question of a read-only call, its value, and that a refusal by the VM is told apart."""
    asked: list[tuple[str, dict[str, str], Any]] = []

    async def handler(request: web.Request) -> web.Response:
        asked.append((request.path, dict(request.query), await request.json()))
        return web.json_response({"okay": True, "result": "0x0100000000000000000000000000000007"})

    async with node_at(handler) as node:
        assert await node.call_read(CONTRACT, "get-it", [UInt(1)], tip="cd" * 32) == UInt(7)
    path, query, question = asked[0]
    assert path == f"/v2/contracts/call-read/{CONTRACT.address.text}/oracle/get-it"
    assert query == {"tip": "cd" * 32}
    assert question["arguments"] == ["0x0100000000000000000000000000000001"]
    async with node_at(always({"okay": False, "cause": "Unchecked(NoSuchPublicFunction)"})) as node:
        with pytest.raises(ReadRefused) as caught:
            await node.call_read(CONTRACT, "get-it")
    assert caught.value.cause == "Unchecked(NoSuchPublicFunction)"
    async with node_at(always({"okay": True, "result": "0xff"})) as node:
        with pytest.raises(NodeUnavailable):
            await node.call_read(CONTRACT, "get-it")


async def test_blocks_and_burn_blocks_are_read() -> None:
    """Proves the values of blocks, by height, by hash, and one that the API does not know."""
    async with node_at(paged("results", [block_shape(12), block_shape(11)])) as node:
        assert [block.height for block in await node.blocks()] == [12, 11]
    asked: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        asked.append(request.path.rpartition("/")[2])
        return web.json_response({**block_shape(12), **burn_block_shape(7)})

    async with node_at(handler) as node:
        block, burn = await node.block("0x" + "1" * 64), await node.burn_block(7)
        await node.block("1" * 64)
        await node.burn_block("latest")
    assert block is not None
    assert (block.hash, block.parent_hash, block.burn_height) == (hash_of(12)[2:], hash_of(11)[2:], 7)
    assert burn is not None
    assert (burn.height, burn.time, burn.stacks_blocks) == (7, 1_699_999_000, (hash_of(2)[2:],))
    assert asked == ["0x" + "1" * 64, "7", "0x" + "1" * 64, "latest"]
    async with node_at(always({"error": "not found"}, 404)) as node:
        assert await node.block(99) is None
        assert await node.burn_block(99) is None
        assert await node.block_transactions("ab" * 32) is None
        assert await node.devnet_clock() is None
        with pytest.raises(NodeNotFound):
            await node.account(CONTRACT.text)


async def test_all_transactions_of_a_block_are_fetched_in_order() -> None:
    """Proves that a block longer than a page is read whole, and that one cut short is not taken for whole."""
    content = [mined_shape(number) for number in range(120)]
    async with node_at(paged("results", content[::-1])) as node:
        records = await node.block_transactions("ab" * 32)
    assert records is not None
    assert [record.index for record in records] == list(range(120))
    async with node_at(always({"total": 3, "results": content[:2]})) as node:
        with pytest.raises(NodeUnavailable):
            await node.block_transactions("ab" * 32)


async def test_transactions_come_with_all_their_events() -> None:
    """Proves that events beyond the first page are fetched, pending ones read, unknown ones None."""
    many = mined_shape(1, events=250, shown=100)
    records = {hash_of(1): many, **{hash_of(number): pending_shape(number) for number in range(2, 50)}}
    events = {hash_of(1): [event_shape(index) for index in range(250)]}
    async with node_at(transactions_api(records, events)) as node:
        found = await node.transactions([hash_of(number) for number in range(1, 51)])
    assert len(found) == 50
    first, pending = found[hash_of(1)[2:]], found[hash_of(2)[2:]]
    assert first is not None
    assert pending is not None
    assert [event.index for event in first.events] == list(range(250))
    assert first.events[249].log is not None
    assert deserialize(first.events[249].log.value.octets) == UInt(5)
    assert first.call is not None
    assert (first.call.contract, first.call.function) == (CONTRACT.text, "publish-price")
    assert (pending.status, pending.block_hash, pending.result()) == ("pending", None, None)
    assert found[hash_of(50)[2:]] is None


@pytest.mark.parametrize("kept", [slice(0, 149), slice(1, 151)])
async def test_an_event_that_is_missing_is_never_passed_over(kept: slice) -> None:
    """Proves that a transaction whose events do not add up is an error, not a shorter history."""
    records = {hash_of(1): mined_shape(1, events=150, shown=100)}
    events = {hash_of(1): [event_shape(index) for index in range(150)][kept]}
    async with node_at(transactions_api(records, events)) as node:
        with pytest.raises(NodeUnavailable):
            await node.transaction(hash_of(1))


async def test_the_market_clock_of_the_devnet_is_read() -> None:
    """Proves the values of the devnet's clock."""
    clock = {"market_time": 1_700_000_000.25, "burn_height": 9, "speed": 60, "held": ["publication"]}
    async with node_at(always(clock)) as node:
        read = await node.devnet_clock()
    assert read is not None
    assert (read.market_time, read.burn_height, read.speed, read.held) == (1_700_000_000.25, 9, 60.0, ("publication",))
