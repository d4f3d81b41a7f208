"""A node over real HTTP whose chain and answers a test writes: forks, drops, refusals, silence."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from aiohttp import web

from services.chain_gateway.stacks.clarity import (
    Bool,
    ClarityValue,
    StandardPrincipal,
    StringAscii,
    TupleValue,
    UInt,
    deserialize,
    parse_principal,
    serialize,
)
from services.chain_gateway.stacks.transaction import deserialize_transaction

GENESIS_TIME: Final = 1_600_000_000
PROVIDER: Final = "ST3RDFS79JDRYKZ665268VRMVRX708S9EG9QH1V1J"


def digest(*parts: object) -> str:
    """A hash of whatever names a thing."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def deposit_print(amount: int, contract: str) -> dict[str, Any]:
    """The print of a deposit."""
    value = TupleValue(
        {
            "topic": StringAscii("deposit"),
            "provider": parse_principal(PROVIDER),
            "token": UInt(1),
            "tier": UInt(2),
            "amount": UInt(amount),
            "accounted": UInt(amount),
            "locked": UInt(0),
        }
    )
    return print_of(value, contract)


def print_of(value: ClarityValue, contract: str, topic: str = "print") -> dict[str, Any]:
    """An event of a contract's print."""
    return {
        "event_type": "smart_contract_log",
        "contract_log": {"contract_id": contract, "topic": topic, "value": {"hex": "0x" + serialize(value).hex()}},
    }


@dataclass
class ScriptedTransaction:
    """A transaction of a block. `told_block` is where it says it is when asked by itself, if not there."""

    txid: str
    events: Sequence[dict[str, Any]] = ()
    status: str = "success"
    kind: str = "contract_call"
    result: bytes = b"\x07\x03"
    sender: str = PROVIDER
    nonce: int = 0
    told_block: str = ""
    sponsor: str = ""


@dataclass
class ScriptedBlock:
    """A block; its hash follows from its parent and `fork`."""

    height: int
    burn_height: int
    parent: str
    fork: str
    transactions: Sequence[ScriptedTransaction] = ()

    @property
    def hash(self) -> str:
        """Block hash; the index hash is the same with another seed."""
        return digest("block", self.parent, self.height, self.fork)


@dataclass
class ScriptedNode:
    """`blocks` is the canonical chain from height 1. `refusals` are answered to broadcasts, oldest first: a dict is
    a 400 with that body, a number is that status; when none is left a broadcast is taken into `mempool`. `outage` is
    answered to everything while it is set; `questions` are the paths asked for. Of blocks in `untold` it tells no
    content."""

    url: str = ""
    blocks: list[ScriptedBlock] = field(default_factory=list)
    refusals: list[dict[str, Any] | int] = field(default_factory=list)
    mempool: dict[str, bytes] = field(default_factory=dict)
    statuses: dict[str, str] = field(default_factory=dict)
    broadcasts: list[bytes] = field(default_factory=list)
    nonce: int = 0
    balance: int = 10**7
    # Accounts that the parameter contract knows as backend principals; None: all.
    principals: set[str] | None = None
    outage: web.Response | None = None
    questions: list[str] = field(default_factory=list)
    websocket: Callable[[web.WebSocketResponse], Awaitable[None]] | None = None
    untold: set[str] = field(default_factory=set)

    @web.middleware
    async def answered(self, request: web.Request, handler: Any) -> web.StreamResponse:
        """Notes the question; answers the outage while there is one."""
        self.questions.append(request.path)
        if self.outage is not None:
            return web.Response(status=self.outage.status, headers=self.outage.headers)
        answer: web.StreamResponse = await handler(request)
        return answer

    def add(
        self, burn_height: int, *transactions: ScriptedTransaction, fork: str = "", on_height: int | None = None
    ) -> ScriptedBlock:
        """Adds a block on top, or on top of a lower height, which drops what is above."""
        if on_height is not None:
            del self.blocks[on_height:]
        parent = self.blocks[-1].hash if self.blocks else digest("genesis")
        block = ScriptedBlock(len(self.blocks) + 1, burn_height, parent, fork, transactions)
        self.blocks.append(block)
        return block

    def mine(self, txid: str, burn_height: int, status: str = "success", result: bytes = b"\x07\x03") -> ScriptedBlock:
        """A block with a transaction of the mempool."""
        transaction = deserialize_transaction(self.mempool.pop(txid))
        self.nonce = max(self.nonce, transaction.nonce + 1)
        sender, nonce = transaction.sender.text, transaction.nonce
        mined = ScriptedTransaction(txid, status=status, result=result, sender=sender, nonce=nonce)
        return self.add(burn_height, mined)

    def _block_json(self, block: ScriptedBlock) -> dict[str, Any]:
        time = GENESIS_TIME + 600 * block.burn_height
        return {
            "canonical": True,
            "height": block.height,
            "hash": "0x" + block.hash,
            "index_block_hash": "0x" + digest("index", block.hash),
            "parent_block_hash": "0x" + block.parent,
            "parent_index_block_hash": "0x" + digest("index", block.parent),
            "block_time": time + block.height,
            "burn_block_height": block.burn_height,
            "burn_block_hash": "0x" + digest("burn", block.burn_height),
            "burn_block_time": time,
            "tx_count": len(block.transactions),
        }

    def _transaction_json(self, block: ScriptedBlock, index: int) -> dict[str, Any]:
        transaction = block.transactions[index]
        return {
            "tx_id": "0x" + transaction.txid,
            "tx_status": transaction.status,
            "tx_type": transaction.kind,
            "nonce": transaction.nonce,
            "sender_address": transaction.sender,
            "sponsor_address": transaction.sponsor or None,
            "sponsor_nonce": transaction.nonce if transaction.sponsor else None,
            "fee_rate": "1000",
            "canonical": True,
            "block_hash": "0x" + block.hash,
            "block_height": block.height,
            "block_time": GENESIS_TIME,
            "burn_block_height": block.burn_height,
            "tx_index": index,
            "tx_result": {"hex": "0x" + transaction.result.hex(), "repr": ""},
            "event_count": len(transaction.events),
        }

    def _find(self, place: str) -> ScriptedBlock | None:
        if place == "latest":
            return self.blocks[-1] if self.blocks else None
        if place.isdigit():
            height = int(place)
            return self.blocks[height - 1] if 1 <= height <= len(self.blocks) else None
        return next((block for block in self.blocks if "0x" + block.hash == place), None)

    async def get_blocks(self, request: web.Request) -> web.Response:
        """GET /extended/v2/blocks."""
        offset, limit = int(request.query["offset"]), int(request.query["limit"])
        page = self.blocks[::-1][offset : offset + limit]
        return web.json_response({"results": [self._block_json(block) for block in page]})

    async def get_block(self, request: web.Request) -> web.Response:
        """GET /extended/v2/blocks/{place}."""
        block = self._find(request.match_info["place"])
        return web.json_response(self._block_json(block)) if block else web.json_response({}, status=404)

    async def get_block_transactions(self, request: web.Request) -> web.Response:
        """GET /extended/v2/blocks/{place}/transactions, all on one page."""
        block = self._find(request.match_info["place"])
        if block is None or block.hash in self.untold:
            return web.json_response({}, status=404)
        results = [self._transaction_json(block, index) for index in range(len(block.transactions))]
        return web.json_response({"total": len(results), "results": results})

    async def get_transactions(self, request: web.Request) -> web.Response:
        """GET /extended/v1/tx/multiple."""
        answers = {name: self._lookup(name.removeprefix("0x")) for name in request.query.getall("tx_id")}
        found = {name: {"found": True, "result": one} if one else {"found": False} for name, one in answers.items()}
        return web.json_response(found)

    def _lookup(self, txid: str) -> dict[str, Any] | None:
        for block in self.blocks:
            for index, transaction in enumerate(block.transactions):
                if transaction.txid == txid:
                    events = [dict(one, event_index=at) for at, one in enumerate(transaction.events)]
                    elsewhere = {"block_hash": "0x" + transaction.told_block} if transaction.told_block else {}
                    return self._transaction_json(block, index) | {"events": events} | elsewhere
        status = self.statuses.get(txid, "pending" if txid in self.mempool else "")
        if not status:
            return None
        return {
            "tx_id": "0x" + txid,
            "tx_status": status,
            "tx_type": "contract_call",
            "nonce": 0,
            "sender_address": PROVIDER,
            "fee_rate": "1",
        }

    async def post_transaction(self, request: web.Request) -> web.Response:
        """POST /v2/transactions."""
        raw = await request.read()
        self.broadcasts.append(raw)
        if self.refusals:
            refusal = self.refusals.pop(0)
            if isinstance(refusal, int):
                return web.json_response({}, status=refusal)
            return web.json_response({"error": "transaction rejected", **refusal}, status=400)
        txid = deserialize_transaction(raw).txid
        self.statuses.pop(txid, None)
        self.mempool[txid] = raw
        return web.json_response(txid)

    async def get_account(self, request: web.Request) -> web.Response:
        """GET /v2/accounts/{principal}."""
        return web.json_response({"balance": hex(self.balance), "locked": "0x00", "nonce": self.nonce})

    async def call_read(self, request: web.Request) -> web.Response:
        """POST /v2/contracts/call-read/{address}/{name}/is-backend-principal: whoever asks about `principals`."""
        (argument,) = (await request.json())["arguments"]
        found = deserialize(bytes.fromhex(argument.removeprefix("0x")))
        assert isinstance(found, StandardPrincipal)
        known = self.principals is None or found.text in self.principals
        return web.json_response({"okay": True, "result": "0x" + serialize(Bool(known)).hex()})

    async def get_websocket(self, request: web.Request) -> web.StreamResponse:
        """GET /extended/v1/ws."""
        if self.websocket is None:
            return web.json_response({}, status=404)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await self.websocket(socket)
        return socket

    async def post_fees(self, request: web.Request) -> web.Response:
        """POST /v2/fees/transaction: nothing to go by."""
        return web.json_response({"error": "no estimate", "reason": "NoEstimateAvailable"}, status=400)


@asynccontextmanager
async def scripted_node() -> AsyncIterator[ScriptedNode]:
    """A node that serves until the block ends."""
    node = ScriptedNode()
    app = web.Application(middlewares=[node.answered])
    app.router.add_get("/extended/v2/blocks", node.get_blocks)
    app.router.add_get("/extended/v2/blocks/{place}", node.get_block)
    app.router.add_get("/extended/v2/blocks/{place}/transactions", node.get_block_transactions)
    app.router.add_get("/extended/v1/tx/multiple", node.get_transactions)
    app.router.add_post("/v2/transactions", node.post_transaction)
    app.router.add_get("/extended/v1/ws", node.get_websocket)
    app.router.add_get("/v2/accounts/{principal}", node.get_account)
    app.router.add_post("/v2/fees/transaction", node.post_fees)
    app.router.add_post("/v2/contracts/call-read/{address}/{name}/is-backend-principal", node.call_read)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    node.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield node
    finally:
        await runner.cleanup()
