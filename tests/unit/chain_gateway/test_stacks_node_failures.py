"""The node's client against servers that fail, and answers that are damaged."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from services.chain_gateway.stacks.node import StacksNode
from services.chain_gateway.stacks.node_errors import (
    NodeUnavailable,
)
from services.chain_gateway.stacks.node_json import Told, read
from services.chain_gateway.stacks.node_types import (
    AssetMovement,
    Block,
    BurnBlock,
    Event,
    NodeInfo,
    Nonces,
    TransactionRecord,
)
from tests.unit.chain_gateway.node_answers import (
    Handler,
    always,
    block_shape,
    event_shape,
    hash_of,
    mined_shape,
    node_at,
    pending_shape,
)


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
        always({}, 500),
        always({}, 503),
        always({}, 429),
        always({}),
        always([]),
        always({"burn_block_height": "x"}),
    ],
)
async def test_every_failing_answer_is_unavailable(handler: Handler) -> None:
    """Proves that slow, broken, overloaded and senseless nodes all end in the error that allows another try."""
    async with node_at(handler, timeout_seconds=0.3) as node:
        with pytest.raises(NodeUnavailable):
            await node.info()


async def test_nobody_listening_is_unavailable() -> None:
    """Proves that a refused connection is the typed error."""
    async with aiohttp.ClientSession() as session:
        with pytest.raises(NodeUnavailable):
            await StacksNode("http://127.0.0.1:9", session, 1.0).info()


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just(hash_of(1)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
_SHAPES: list[tuple[type[Told], dict[str, Any]]] = [
    (TransactionRecord, mined_shape(1, events=1, shown=1)),
    (TransactionRecord, pending_shape(1)),
    (Block, block_shape(12)),
    (Event, event_shape(0)),
    (
        BurnBlock,
        {"burn_block_time": 5, "burn_block_hash": hash_of(1), "burn_block_height": 7, "stacks_blocks": []},
    ),
    (NodeInfo, {"network_id": 1, "burn_block_height": 7, "stacks_tip_height": 12, "stacks_tip": "ab" * 32}),
    (Nonces, {"possible_next_nonce": 6, "detected_missing_nonces": [4]}),
]


@given(st.sampled_from(_SHAPES), st.data())
def test_damaged_answers_end_in_a_value_or_the_typed_error(
    shape: tuple[type[Told], dict[str, Any]], data: st.DataObject
) -> None:
    """Proves that no content of any field makes the client raise anything but its own error."""
    kind, content = shape
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
        read(kind, json.dumps(damaged).encode(), "answer")
    except NodeUnavailable:
        return


def test_events_of_assets_are_told_apart() -> None:
    """Proves the reading of movements of STX, tokens and items, and of kinds that we do not use."""
    asset = {"asset_event_type": "transfer", "sender": "a", "recipient": "", "amount": "12"}
    stx = _event({"event_index": 0, "event_type": "stx_asset", "asset": asset})
    assert (stx.index, stx.asset, stx.log) == (0, AssetMovement("transfer", None, "a", None, "12"), None)
    assert stx.asset is not None
    assert stx.asset.amount == 12
    lock = _event({"event_index": 1, "event_type": "stx_lock", "stx_lock_event": {"locked_amount": "5"}})
    assert (lock.kind, lock.asset, lock.log) == ("stx_lock", None, None)


@pytest.mark.parametrize("content", [{}, {"contract_log": None}, {"contract_log": {"contract_id": "a", "topic": "b"}}])
def test_a_print_without_its_content_is_no_print(content: dict[str, Any]) -> None:
    """An event that says it is a print and does not tell what was printed is never passed over."""
    with pytest.raises(NodeUnavailable, match=r"contract_log|value"):
        _event({"event_index": 0, "event_type": "smart_contract_log", **content})


def _event(content: dict[str, Any]) -> Event:
    return read(Event, json.dumps(content).encode(), "event")


@pytest.mark.parametrize(
    "damage",
    [
        {"tx_id": "0x" + "1" * 63},
        {"tx_id": "0x" + "1" * 64 + "\n"},
        {"tx_id": ""},
        {"tx_id": "0x" + "1" * 62 + "  "},
        {"block_hash": "0x" + "g" * 64},
        {"tx_index": None},
        {"block_height": None},
        {"nonce": True},
        {"nonce": 1.5},
        {"nonce": "7"},
        {"canonical": "true"},
        {"canonical": 1},
        {"fee_rate": 1.0},
        {"fee_rate": "1e3"},
        {"fee_rate": "null"},
        {"fee_rate": "12x"},
        {"tx_result": {"hex": "0x0"}},
        {"events": None},
        {"contract_call": []},
    ],
)
def test_a_transaction_in_another_form_is_none(damage: dict[str, Any]) -> None:
    """Each field has one form; what has another is refused, not guessed."""
    whole = mined_shape(1, events=1, shown=1)
    read(TransactionRecord, json.dumps(whole).encode(), "transaction")
    with pytest.raises(NodeUnavailable, match="transaction: "):
        read(TransactionRecord, json.dumps(whole | damage).encode(), "transaction")


async def test_an_answer_about_another_transaction_is_none() -> None:
    """What a node tells of a transaction counts only if it names that one."""
    asked = f"{2:064x}"
    told = {hash_of(2): {"found": True, "result": mined_shape(1)}}
    async with node_at(always(told)) as node:
        with pytest.raises(NodeUnavailable, match="another transaction"):
            await node.transaction(asked)
