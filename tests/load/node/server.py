"""The node's HTTP paths, and those of the devnet's clock by which a test moves burn blocks."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from aiohttp import web

from kernel.units import Token
from services.chain_gateway.stacks.clarity import (
    Bool,
    ClarityValue,
    NoneValue,
    ResponseOk,
    Some,
    StringAscii,
    TupleValue,
    UInt,
    from_hex,
    serialize,
)
from services.chain_gateway.stacks.transaction import deserialize_transaction
from tests.load.node.chain import Block, Chain, burn_time, digest, index_hash

_BALANCE_USTX: Final = 10**15
_WAITING: Final = 25
_CHAIN_ID: Final = 0x8000_0000
# A list of so many items: type byte, then the count in four bytes.
_LIST: Final = 0x0B
_TIER: Final = {
    "strike-min-bps": 4_700,
    "strike-max-bps": 11_300,
    "floor-min-bps": 4_000,
    "floor-max-bps": 9_800,
    "duration-min-blocks": 18,
    "duration-max-blocks": 12_960,
    "stx-haircut-bps": 4_000,
    "utilization-max-bps": 9_000,
    "loading-bps": 2_500,
}
_PARAMETERS: Final = {
    "expiry.grace-blocks": 6,
    "oracle.max-age-blocks": 6,
    "quote.valid-blocks": 6,
    "settlement.round-distance-blocks": 2,
    "settlement.round-tolerance-bps": 300,
}


class Server:
    """Answers for a chain; mines what waits every `interval_seconds`."""

    def __init__(self, chain: Chain, interval_seconds: float) -> None:
        self._chain = chain
        self._interval_seconds = interval_seconds

    def app(self) -> web.Application:
        """The routes."""
        app = web.Application(client_max_size=4 * 1024 * 1024)
        app.router.add_get("/v2/info", self.info)
        app.router.add_get("/v2/accounts/{principal}", self.account)
        app.router.add_post("/v2/transactions", self.take)
        app.router.add_post("/v2/fees/transaction", self.fees)
        app.router.add_post("/v2/contracts/call-read/{address}/{name}/{function}", self.call_read)
        app.router.add_get("/extended/v1/address/{principal}/nonces", self.nonces)
        app.router.add_get("/extended/v2/blocks", self.blocks)
        app.router.add_get("/extended/v2/blocks/{place}", self.block)
        app.router.add_get("/extended/v2/blocks/{place}/transactions", self.block_transactions)
        app.router.add_get("/extended/v2/burn-blocks/{place}", self.burn_block)
        app.router.add_get("/extended/v1/tx/multiple", self.transactions)
        app.router.add_get("/extended/v1/tx/events", self.events)
        app.router.add_get("/devnet/clock", self.clock)
        app.router.add_post("/devnet/burn-blocks", self.mine_burn_blocks)
        return app

    async def mine(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(self._interval_seconds)
            self._chain.mine()

    async def info(self, request: web.Request) -> web.Response:
        """GET /v2/info."""
        tip = self._chain.blocks[-1]
        return web.json_response(
            {
                "network_id": _CHAIN_ID,
                "server_version": "stand-in",
                "burn_block_height": self._chain.burn_height,
                "stacks_tip_height": tip.height,
                "stacks_tip": tip.hash.removeprefix("0x"),
            }
        )

    async def account(self, request: web.Request) -> web.Response:
        """GET /v2/accounts/{principal}."""
        nonce = self._chain.nonces[request.match_info["principal"]]
        return web.json_response({"balance": hex(_BALANCE_USTX), "locked": "0x00", "nonce": nonce})

    async def nonces(self, request: web.Request) -> web.Response:
        """GET /extended/v1/address/{principal}/nonces."""
        executed, pending = self._nonces_of(request.match_info["principal"])
        last = max(pending, default=executed - 1)
        missing = sorted(set(range(executed, last + 1)) - set(pending))
        return web.json_response(
            {
                "last_executed_tx_nonce": executed - 1 if executed else None,
                "last_mempool_tx_nonce": max(pending, default=None),
                "possible_next_nonce": last + 1,
                "detected_missing_nonces": missing,
                "detected_mempool_nonces": pending,
            }
        )

    def _nonces_of(self, principal: str) -> tuple[int, list[int]]:
        waiting = self._chain.pending.values()
        return self._chain.nonces[principal], [one.nonce for one in waiting if one.sender.text == principal]

    async def take(self, request: web.Request) -> web.Response:
        """POST /v2/transactions."""
        transaction = deserialize_transaction(await request.read())
        txid = transaction.txid
        executed, pending = self._nonces_of(transaction.sender.text)
        if txid not in self._chain.pending and txid not in self._chain.mined:
            if transaction.nonce < executed or transaction.nonce in pending:
                return _refused(txid, "ConflictingNonceInMempool" if transaction.nonce >= executed else "BadNonce")
            if len(pending) >= _WAITING:
                return _refused(txid, "TooMuchChaining")
            self._chain.pending[txid] = transaction
        return web.json_response(txid)

    async def fees(self, request: web.Request) -> web.Response:
        """POST /v2/fees/transaction."""
        return web.json_response({"error": "no estimate", "reason": "NoEstimateAvailable"}, status=400)

    async def call_read(self, request: web.Request) -> web.Response:
        """POST /v2/contracts/call-read/{address}/{name}/{function}: always of the tip."""
        arguments = [from_hex(one) for one in (await request.json())["arguments"]]
        result = self._read(request.match_info["function"], arguments)
        return web.json_response({"okay": True, "result": "0x" + result.hex()})

    def _read(self, function: str, arguments: list[Any]) -> bytes:
        registry = self._chain.registry
        if function == "get-policies":
            items = [registry.entry_bytes(item.value) for item in arguments[0].items]
            return bytes([_LIST]) + len(items).to_bytes(4, "big") + b"".join(items)
        if function == "get-policy-counter":
            return serialize(UInt(len(registry.entries)))
        if function == "get-balances":
            return serialize(TupleValue({token.name.lower(): self._balance(token) for token in Token}))
        if function == "get-latest-price":
            found = registry.latest.get(arguments[0].value)
            return serialize(NoneValue() if found is None else Some(found))
        return serialize(_parameter(function, arguments))

    def _balance(self, token: Token) -> TupleValue:
        pool = self._chain.registry.pools[token]
        numbers = {"accounted": pool.accounted, "locked": pool.locked, "fees": pool.fees, "balance": pool.accounted}
        return TupleValue({name: UInt(number) for name, number in numbers.items()})

    async def blocks(self, request: web.Request) -> web.Response:
        """GET /extended/v2/blocks."""
        offset, limit = int(request.query["offset"]), int(request.query["limit"])
        page = self._chain.blocks[::-1][offset : offset + limit]
        return web.json_response({"results": [block.told() for block in page]})

    async def block(self, request: web.Request) -> web.Response:
        """GET /extended/v2/blocks/{place}."""
        block = self._find(request.match_info["place"])
        return web.json_response(block.told()) if block else web.json_response({}, status=404)

    def _find(self, place: str) -> Block | None:
        if place == "latest":
            return self._chain.blocks[-1]
        if place.isdigit():
            height = int(place)
            return self._chain.blocks[height - 1] if 1 <= height <= len(self._chain.blocks) else None
        newest_first = reversed(self._chain.blocks)
        return next((one for one in newest_first if place in (one.hash, index_hash(one.height))), None)

    async def block_transactions(self, request: web.Request) -> web.Response:
        """GET /extended/v2/blocks/{place}/transactions."""
        block = self._find(request.match_info["place"])
        if block is None:
            return web.json_response({}, status=404)
        offset, limit = int(request.query["offset"]), int(request.query["limit"])
        page = block.transactions[offset : offset + limit]
        return web.json_response({"total": len(block.transactions), "results": [mined.summary() for mined in page]})

    async def burn_block(self, request: web.Request) -> web.Response:
        """GET /extended/v2/burn-blocks/{place}, by height."""
        place = request.match_info["place"]
        height = self._chain.burn_height if place == "latest" else int(place)
        if height > self._chain.burn_height:
            return web.json_response({}, status=404)
        return web.json_response(
            {
                "burn_block_height": height,
                "burn_block_hash": digest("burn", height),
                "burn_block_time": burn_time(height),
                "stacks_blocks": self._chain.of_burn_block[height],
            }
        )

    async def transactions(self, request: web.Request) -> web.Response:
        """GET /extended/v1/tx/multiple."""
        limit, answers = int(request.query.get("event_limit", "100")), {}
        for name in request.query.getall("tx_id"):
            txid = name.removeprefix("0x")
            found = self._chain.find(txid)
            mined = self._chain.mined.get(txid)
            events = {"events": mined.some_events(0, limit)} if mined else {}
            answers[name] = {"found": False} if found is None else {"found": True, "result": found | events}
        return web.json_response(answers)

    async def events(self, request: web.Request) -> web.Response:
        """GET /extended/v1/tx/events."""
        mined = self._chain.mined[request.query["tx_id"].removeprefix("0x")]
        offset, limit = int(request.query["offset"]), int(request.query["limit"])
        return web.json_response({"events": mined.some_events(offset, limit)})

    async def clock(self, request: web.Request) -> web.Response:
        """GET /devnet/clock."""
        return web.json_response(self._clock())

    def _clock(self) -> dict[str, Any]:
        height = self._chain.burn_height
        return {"market_time": burn_time(height), "burn_height": height, "speed": 0, "held": []}

    async def mine_burn_blocks(self, request: web.Request) -> web.Response:
        """POST /devnet/burn-blocks."""
        for _ in range((await request.json())["count"]):
            self._chain.mine()
            self._chain.mine_burn_block()
        return web.json_response(self._clock())


def _refused(txid: str, reason: str) -> web.Response:
    return web.json_response({"error": "transaction rejected", "reason": reason, "txid": txid}, status=400)


def _parameter(function: str, arguments: list[Any]) -> ClarityValue:
    """Of the parameter contract. What no end of a policy asks for is one."""
    if function == "get-tier":
        return ResponseOk(TupleValue({name: UInt(value) for name, value in _TIER.items()}))
    if function == "get-parameter":
        (name,) = arguments
        assert isinstance(name, StringAscii)
        return ResponseOk(UInt(_PARAMETERS.get(name.value, 1)))
    return Bool(function == "is-backend-principal")
