"""The node's client against servers that fail, and answers that are damaged."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
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
from services.chain_gateway.stacks.node_json import Fields
from services.chain_gateway.stacks.node_types import (
    AssetEvent,
    OtherEvent,
    read_block,
    read_burn_block,
    read_event,
    read_info,
    read_nonces,
    read_transaction,
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
_SHAPES: list[tuple[Callable[[Fields], object], dict[str, Any]]] = [
    (read_transaction, mined_shape(1, events=1, shown=1)),
    (read_transaction, pending_shape(1)),
    (read_block, block_shape(12)),
    (read_event, event_shape(0)),
    (
        read_burn_block,
        {"burn_block_time": 5, "burn_block_hash": hash_of(1), "burn_block_height": 7, "stacks_blocks": []},
    ),
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


async def test_an_answer_about_another_transaction_is_none() -> None:
    """What a node tells of a transaction counts only if it names that one."""
    asked = f"{2:064x}"
    told = {hash_of(2): {"found": True, "result": mined_shape(1)}}
    async with node_at(always(told)) as node:
        with pytest.raises(NodeUnavailable, match="another transaction"):
            await node.transaction(asked)
        with pytest.raises(NodeUnavailable, match="another transaction"):
            await node.logs([asked])
