"""A server that answers as stacks-core and the Stacks API do, for tests of the node's client."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestServer

from services.chain_gateway.stacks.c32 import Address
from services.chain_gateway.stacks.clarity import ContractPrincipal
from services.chain_gateway.stacks.node import StacksNode
from services.chain_gateway.stacks.transaction import transaction_hash

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
CONTRACT = ContractPrincipal(Address(26, bytes(20)), "oracle")
RAW = b"any bytes serve as a transaction here"
TXID = transaction_hash(RAW).hex()


def hash_of(number: int) -> str:
    """A hash as the API writes one."""
    return f"0x{number:064x}"


@contextlib.asynccontextmanager
async def node_at(handler: Handler, timeout_seconds: float = 5.0) -> AsyncIterator[StacksNode]:
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


def always(content: object, status: int = 200) -> Handler:
    """Answers every question the same."""

    async def handler(request: web.Request) -> web.Response:
        await request.read()
        return web.json_response(content, status=status)

    return handler


def event_shape(index: int) -> dict[str, Any]:
    """A print event as the API shows it."""
    value = {"hex": "0x0100000000000000000000000000000005", "repr": "u5"}
    log = {"contract_id": CONTRACT.text, "topic": "print", "value": value}
    return {
        "event_index": index,
        "event_type": "smart_contract_log",
        "tx_id": hash_of(1),
        "contract_log": log,
    }


def mined_shape(number: int, events: int = 0, shown: int = 0) -> dict[str, Any]:
    """A mined contract call as the API shows it."""
    return {
        "tx_id": hash_of(number),
        "nonce": 3,
        "fee_rate": "3000",
        "sender_address": CONTRACT.address.text,
        "sponsored": False,
        "tx_status": "success",
        "tx_type": "contract_call",
        "canonical": True,
        "block_hash": hash_of(900),
        "block_height": 12,
        "block_time": 1_700_000_000,
        "burn_block_height": 7,
        "tx_index": number,
        "tx_result": {"hex": "0x0703", "repr": "(ok true)"},
        "event_count": events,
        "events": [event_shape(index) for index in range(shown)],
        "contract_call": {
            "contract_id": CONTRACT.text,
            "function_name": "publish-price",
            "function_args": [{"hex": "0x03", "repr": "true", "name": "a", "type": "bool"}],
        },
    }


def pending_shape(number: int) -> dict[str, Any]:
    """A contract call in the mempool as the API shows it."""
    mined = mined_shape(number)
    kept = ("tx_id", "nonce", "fee_rate", "sender_address", "sponsored", "tx_type", "contract_call")
    return {**{name: mined[name] for name in kept}, "tx_status": "pending", "receipt_time": 1_700_000_000}


def block_shape(height: int) -> dict[str, Any]:
    """A block as the API shows it."""
    return {
        "canonical": True,
        "height": height,
        "hash": hash_of(height),
        "index_block_hash": hash_of(height + 1),
        "parent_block_hash": hash_of(height - 1),
        "parent_index_block_hash": hash_of(height),
        "block_time": 1_700_000_000,
        "burn_block_time": 1_699_999_000,
        "burn_block_hash": hash_of(77),
        "burn_block_height": 7,
        "tx_count": 2,
    }


def burn_block_shape(height: int) -> dict[str, Any]:
    """A Bitcoin block as the API shows it."""
    return {
        "burn_block_height": height,
        "burn_block_hash": hash_of(1),
        "burn_block_time": 1_699_999_000,
        "stacks_blocks": [hash_of(2)],
    }


def paged(name: str, content: list[dict[str, Any]]) -> Handler:
    """Serves a list page by page."""

    async def handler(request: web.Request) -> web.Response:
        limit, offset = int(request.query["limit"]), int(request.query["offset"])
        page = {"limit": limit, "offset": offset, "total": len(content), name: content[offset : offset + limit]}
        return web.json_response(page)

    return handler


def transactions_api(records: dict[str, dict[str, Any]], events: dict[str, list[dict[str, Any]]]) -> Handler:
    """Transactions by id with a first page of events, and further events by page."""

    async def handler(request: web.Request) -> web.StreamResponse:
        if request.path.endswith("/tx/events"):
            return await paged("events", events[request.query["tx_id"]])(request)
        answer: dict[str, Any] = {}
        for txid in request.query.getall("tx_id"):
            record = records.get(txid)
            unknown = {"found": False, "result": {"tx_id": txid}}
            answer[txid] = unknown if record is None else {"found": True, "result": record}
        return web.json_response(answer)

    return handler
