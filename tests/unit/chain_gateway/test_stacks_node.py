"""The node's client against a server that answers as stacks-core and the Stacks API do, well and badly."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from hypothesis import given
from hypothesis import strategies as st

from services.chain_gateway.stacks.c32 import Address
from services.chain_gateway.stacks.clarity import ContractPrincipal, StandardPrincipal, UInt
from services.chain_gateway.stacks.node import StacksNode
from services.chain_gateway.stacks.node_errors import (
    BroadcastRejected,
    NodeNotFound,
    NodeRefused,
    NodeUnavailable,
    ReadRefused,
)
from services.chain_gateway.stacks.node_json import Fields
from services.chain_gateway.stacks.node_types import (
    AssetEvent,
    ContractLog,
    OtherEvent,
    read_block,
    read_burn_block,
    read_event,
    read_info,
    read_nonces,
    read_transaction,
)
from services.chain_gateway.stacks.payload import TokenTransfer
from services.chain_gateway.stacks.transaction import transaction_hash

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_CONTRACT = ContractPrincipal(Address(26, bytes(20)), "oracle")
_RAW = b"any bytes serve as a transaction here"
_TXID = transaction_hash(_RAW).hex()


def _hash(number: int) -> str:
    return f"0x{number:064x}"


@contextlib.asynccontextmanager
async def _node(handler: Handler, timeout_seconds: float = 5.0) -> AsyncIterator[StacksNode]:
    """A client of a server on a real socket that gives every question to `handler`."""
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", handler)
    server = TestServer(application)
    await server.start_server()
    try:
        async with aiohttp.ClientSession() as session:
            yield StacksNode(str(server.make_url("/")), session, timeout_seconds)
    finally:
        await server.close()


def _always(content: object, status: int = 200) -> Handler:
    async def handler(request: web.Request) -> web.Response:
        await request.read()
        return web.json_response(content, status=status)

    return handler


def _event(index: int) -> dict[str, Any]:
    value = {"hex": "0x0100000000000000000000000000000005", "repr": "u5"}
    log = {"contract_id": _CONTRACT.text, "topic": "print", "value": value}
    return {
        "event_index": index,
        "event_type": "smart_contract_log",
        "tx_id": _hash(1),
        "contract_log": log,
    }


def _mined(number: int, events: int = 0, shown: int = 0) -> dict[str, Any]:
    """A mined contract call as the API shows it."""
    return {
        "tx_id": _hash(number),
        "nonce": 3,
        "fee_rate": "3000",
        "sender_address": _CONTRACT.address.text,
        "sponsored": False,
        "tx_status": "success",
        "tx_type": "contract_call",
        "canonical": True,
        "block_hash": _hash(900),
        "block_height": 12,
        "block_time": 1_700_000_000,
        "burn_block_height": 7,
        "tx_index": number,
        "tx_result": {"hex": "0x0703", "repr": "(ok true)"},
        "event_count": events,
        "events": [_event(index) for index in range(shown)],
        "contract_call": {
            "contract_id": _CONTRACT.text,
            "function_name": "publish-price",
            "function_args": [{"hex": "0x03", "repr": "true", "name": "a", "type": "bool"}],
        },
    }


def _pending(number: int) -> dict[str, Any]:
    mined = _mined(number)
    kept = ("tx_id", "nonce", "fee_rate", "sender_address", "sponsored", "tx_type", "contract_call")
    return {**{name: mined[name] for name in kept}, "tx_status": "pending", "receipt_time": 1_700_000_000}


def _block(height: int) -> dict[str, Any]:
    return {
        "canonical": True,
        "height": height,
        "hash": _hash(height),
        "index_block_hash": _hash(height + 1),
        "parent_block_hash": _hash(height - 1),
        "parent_index_block_hash": _hash(height),
        "block_time": 1_700_000_000,
        "burn_block_time": 1_699_999_000,
        "burn_block_hash": _hash(77),
        "burn_block_height": 7,
        "tx_count": 2,
    }


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
        f"/v2/accounts/{_CONTRACT.text}": {
            "balance": "0x0000000000000000000000000000000a",
            "locked": "0x00000000000000000000000000000000",
            "unlock_height": 0,
            "nonce": 4,
        },
        f"/extended/v1/address/{_CONTRACT.address.text}/nonces": {
            "last_executed_tx_nonce": None,
            "last_mempool_tx_nonce": 5,
            "possible_next_nonce": 6,
            "detected_missing_nonces": [4],
            "detected_mempool_nonces": [5],
        },
    }

    async def handler(request: web.Request) -> web.Response:
        return web.json_response(answers[request.path])

    async with _node(handler) as node:
        info, account = await node.info(), await node.account(_CONTRACT.text)
        nonces = await node.nonces(_CONTRACT.address.text)
    assert (info.burn_height, info.stacks_height, info.stacks_tip) == (7, 12, "ab" * 32)
    assert (account.balance_ustx, account.locked_ustx, account.nonce) == (10, 0, 4)
    assert (nonces.last_executed, nonces.possible_next, nonces.missing) == (None, 6, (4,))


async def test_a_broadcast_answers_its_own_txid_and_sends_the_bytes() -> None:
    """Proves that the bytes arrive as they are and the answer must name the same transaction."""
    received: list[tuple[bytes, str]] = []

    async def handler(request: web.Request) -> web.Response:
        received.append((await request.read(), request.content_type))
        return web.json_response(_TXID)

    async with _node(handler) as node:
        assert await node.broadcast(_RAW) == _TXID
        with pytest.raises(NodeUnavailable):
            await node.broadcast(_RAW + b"!")
    assert received[0] == (_RAW, "application/octet-stream")


@pytest.mark.parametrize(
    ("reason", "data"),
    [
        ("BadNonce", {"expected": 5, "actual": 0, "is_origin": True, "principal": _CONTRACT.address.text}),
        ("FeeTooLow", {"expected": 300, "actual": 1}),
        ("NotEnoughFunds", {"expected": "0x0a", "actual": "0x00"}),
        ("ConflictingNonceInMempool", {}),
        ("TooMuchChaining", {"message": "too many"}),
    ],
)
async def test_a_rejection_carries_the_reason_of_the_node(reason: str, data: dict[str, Any]) -> None:
    """Proves that the node's reason, its data and the txid reach the caller."""
    body = {"error": "transaction rejected", "reason": reason, "reason_data": data, "txid": _TXID}
    async with _node(_always(body, 400)) as node:
        with pytest.raises(BroadcastRejected) as caught:
            await node.broadcast(_RAW)
    assert (caught.value.reason, caught.value.reason_data, caught.value.txid) == (reason, data, _TXID)


async def test_a_node_with_troubles_of_its_own_does_not_reject() -> None:
    """Proves that a failing node is unavailable, so that nobody takes its failure for a final no."""
    for reason in ("ServerFailureDatabase", "ServerFailureOther", "ServerFailureNoSuchChainTip"):
        async with _node(_always({"error": "transaction rejected", "reason": reason}, 400)) as node:
            with pytest.raises(NodeUnavailable):
                await node.broadcast(_RAW)
    async with _node(_always({"error": "no reason"}, 400)) as node:
        with pytest.raises(NodeRefused):
            await node.broadcast(_RAW)


async def test_fees_are_estimated_or_unknown() -> None:
    """Proves that three estimations are read, and that a node without an estimate says None, not zero."""
    payload = TokenTransfer(StandardPrincipal(_CONTRACT.address), 1)
    fees = {"estimations": [{"fee_rate": 1.5, "fee": fee} for fee in (180, 200, 220)]}
    async with _node(_always(fees)) as node:
        estimate = await node.estimate_fee(payload, 180)
    assert estimate is not None
    assert (estimate.low_ustx, estimate.middle_ustx, estimate.high_ustx) == (180, 200, 220)
    unknown = {"error": "Estimation could not be performed", "reason": "NoEstimateAvailable"}
    async with _node(_always(unknown, 400)) as node:
        assert await node.estimate_fee(payload, 180) is None
    async with _node(_always({"estimations": []})) as node:
        with pytest.raises(NodeUnavailable):
            await node.estimate_fee(payload, 180)


async def test_read_only_calls_give_values_or_the_cause() -> None:
    """Proves the question of a read-only call, its value, and that a refusal by the VM is told apart."""
    asked: list[tuple[str, dict[str, str], Any]] = []

    async def handler(request: web.Request) -> web.Response:
        asked.append((request.path, dict(request.query), await request.json()))
        return web.json_response({"okay": True, "result": "0x0100000000000000000000000000000007"})

    async with _node(handler) as node:
        assert await node.call_read(_CONTRACT, "get-it", [UInt(1)], tip="cd" * 32) == UInt(7)
    path, query, question = asked[0]
    assert path == f"/v2/contracts/call-read/{_CONTRACT.address.text}/oracle/get-it"
    assert query == {"tip": "cd" * 32}
    assert question["arguments"] == ["0x0100000000000000000000000000000001"]
    async with _node(_always({"okay": False, "cause": "Unchecked(NoSuchPublicFunction)"})) as node:
        with pytest.raises(ReadRefused) as caught:
            await node.call_read(_CONTRACT, "get-it")
    assert caught.value.cause == "Unchecked(NoSuchPublicFunction)"
    async with _node(_always({"okay": True, "result": "0xff"})) as node:
        with pytest.raises(NodeUnavailable):
            await node.call_read(_CONTRACT, "get-it")


def _paged(name: str, content: list[dict[str, Any]]) -> Handler:
    async def handler(request: web.Request) -> web.Response:
        limit, offset = int(request.query["limit"]), int(request.query["offset"])
        page = {"limit": limit, "offset": offset, "total": len(content), name: content[offset : offset + limit]}
        return web.json_response(page)

    return handler


async def test_blocks_and_burn_blocks_are_read() -> None:
    """Proves the values of blocks, by height, by hash, and one that the API does not know."""
    async with _node(_paged("results", [_block(12), _block(11)])) as node:
        assert [block.height for block in await node.blocks()] == [12, 11]
    asked: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        asked.append(request.path.rpartition("/")[2])
        burn = {"burn_block_time": 5, "burn_block_hash": _hash(1), "burn_block_height": 7, "stacks_blocks": [_hash(2)]}
        return web.json_response({**_block(12), **burn})

    async with _node(handler) as node:
        block, burn = await node.block("0x" + "1" * 64), await node.burn_block(7)
        await node.block("1" * 64)
        await node.burn_block("latest")
    assert block is not None
    assert (block.hash, block.parent_hash, block.burn_height) == (_hash(12)[2:], _hash(11)[2:], 7)
    assert burn is not None
    assert (burn.height, burn.time, burn.stacks_blocks) == (7, 5, (_hash(2)[2:],))
    assert asked == ["0x" + "1" * 64, "7", "0x" + "1" * 64, "latest"]
    async with _node(_always({"error": "not found"}, 404)) as node:
        assert await node.block(99) is None
        assert await node.burn_block(99) is None
        assert await node.block_transactions("ab" * 32) is None
        assert await node.devnet_clock() is None
        with pytest.raises(NodeNotFound):
            await node.account(_CONTRACT.text)


async def test_all_transactions_of_a_block_are_fetched_in_order() -> None:
    """Proves that a block longer than a page is read whole, and that one cut short is not taken for whole."""
    content = [_mined(number) for number in range(120)]
    async with _node(_paged("results", content[::-1])) as node:
        records = await node.block_transactions("ab" * 32)
    assert records is not None
    assert [record.index for record in records] == list(range(120))
    async with _node(_always({"total": 3, "results": content[:2]})) as node:
        with pytest.raises(NodeUnavailable):
            await node.block_transactions("ab" * 32)


def _api(records: dict[str, dict[str, Any]], events: dict[str, list[dict[str, Any]]]) -> Handler:
    """Transactions by id with a first page of events, and further events by page."""

    async def handler(request: web.Request) -> web.StreamResponse:
        if request.path.endswith("/tx/events"):
            return await _paged("events", events[request.query["tx_id"]])(request)
        answer: dict[str, Any] = {}
        for txid in request.query.getall("tx_id"):
            record = records.get(txid)
            unknown = {"found": False, "result": {"tx_id": txid}}
            answer[txid] = unknown if record is None else {"found": True, "result": record}
        return web.json_response(answer)

    return handler


async def test_transactions_come_with_all_their_events() -> None:
    """Proves that events beyond the first page are fetched, pending ones read, unknown ones None."""
    many = _mined(1, events=250, shown=100)
    records = {_hash(1): many, **{_hash(number): _pending(number) for number in range(2, 50)}}
    events = {_hash(1): [_event(index) for index in range(250)]}
    async with _node(_api(records, events)) as node:
        found = await node.transactions([_hash(number) for number in range(1, 51)])
    assert len(found) == 50
    first, pending = found[_hash(1)[2:]], found[_hash(2)[2:]]
    assert first is not None
    assert pending is not None
    assert [event.index for event in first.events] == list(range(250))
    assert isinstance(first.events[249], ContractLog)
    assert first.events[249].value() == UInt(5)
    assert first.call is not None
    assert (first.call.function, first.call.arguments_hex) == ("publish-price", ("0x03",))
    assert (pending.status, pending.block_hash, pending.result()) == ("pending", None, None)
    assert found[_hash(50)[2:]] is None


@pytest.mark.parametrize("kept", [slice(0, 149), slice(1, 151)])
async def test_an_event_that_is_missing_is_never_passed_over(kept: slice) -> None:
    """Proves that a transaction whose events do not add up is an error, not a shorter history."""
    records = {_hash(1): _mined(1, events=150, shown=100)}
    events = {_hash(1): [_event(index) for index in range(150)][kept]}
    async with _node(_api(records, events)) as node:
        with pytest.raises(NodeUnavailable):
            await node.transaction(_hash(1))


async def test_the_market_clock_of_the_devnet_is_read() -> None:
    """Proves the values of the devnet's clock."""
    clock = {"market_time": 1_700_000_000.25, "burn_height": 9, "speed": 60, "held": ["publication"]}
    async with _node(_always(clock)) as node:
        read = await node.devnet_clock()
    assert read is not None
    assert (read.market_time, read.burn_height, read.speed, read.held) == (1_700_000_000.25, 9, 60.0, ("publication",))


async def _slow(_: web.Request) -> web.StreamResponse:
    await asyncio.sleep(30)
    return web.json_response({})


async def _cut_off(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": "1000"})
    await response.prepare(request)
    await response.write(b"{")
    assert request.transport is not None
    request.transport.close()
    return response


async def _not_json(_: web.Request) -> web.StreamResponse:
    return web.Response(text="<html>")


async def _elsewhere(_: web.Request) -> web.StreamResponse:
    raise web.HTTPFound("/v2/info")


@pytest.mark.parametrize(
    "handler",
    [
        _slow,
        _cut_off,
        _not_json,
        _elsewhere,
        _always({}, 500),
        _always({}, 503),
        _always({}, 429),
        _always({}),
        _always([]),
        _always({"burn_block_height": "x"}),
    ],
)
async def test_every_failing_answer_is_unavailable(handler: Handler) -> None:
    """Proves that slow, broken, overloaded and senseless nodes all end in the error that allows another try."""
    async with _node(handler, timeout_seconds=0.3) as node:
        with pytest.raises(NodeUnavailable):
            await node.info()


async def test_nobody_listening_is_unavailable() -> None:
    """Proves that a refused connection is the typed error."""
    async with aiohttp.ClientSession() as session:
        with pytest.raises(NodeUnavailable):
            await StacksNode("http://127.0.0.1:9", session, 1.0).info()


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just(_hash(1)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
_SHAPES: list[tuple[Callable[[Fields], object], dict[str, Any]]] = [
    (read_transaction, _mined(1, events=1, shown=1)),
    (read_transaction, _pending(1)),
    (read_block, _block(12)),
    (read_event, _event(0)),
    (read_burn_block, {"burn_block_time": 5, "burn_block_hash": _hash(1), "burn_block_height": 7, "stacks_blocks": []}),
    (read_info, {"network_id": 1, "burn_block_height": 7, "stacks_tip_height": 12, "stacks_tip": "ab" * 32}),
    (read_nonces, {"possible_next_nonce": 6, "detected_missing_nonces": [4]}),
]


@given(st.sampled_from(_SHAPES), st.data())
def test_damaged_answers_end_in_a_value_or_the_typed_error(
    shape: tuple[Callable[[Fields], object], dict[str, Any]], data: st.DataObject
) -> None:
    """Proves that no content of any field makes the client raise anything but its own error."""
    read, content = shape
    damaged = json.loads(json.dumps(content))
    target = damaged
    while True:
        name = data.draw(st.sampled_from(sorted(target)))
        if isinstance(target[name], dict) and data.draw(st.booleans()):
            target = target[name]
            continue
        target[name] = data.draw(_JSON)
        break
    try:
        read(Fields(damaged, "answer"))
    except NodeUnavailable:
        return


def test_events_of_assets_are_told_apart() -> None:
    """Proves the reading of movements of STX, tokens and items, and of kinds that we do not use."""
    asset = {"asset_event_type": "transfer", "sender": "a", "recipient": "", "amount": "12"}
    stx = read_event(Fields({"event_index": 0, "event_type": "stx_asset", "asset": asset}, "event"))
    assert stx == AssetEvent(0, "stx_asset", "transfer", None, "a", None, 12)
    lock = read_event(Fields({"event_index": 1, "event_type": "stx_lock"}, "event"))
    assert lock == OtherEvent(1, "stx_lock")
