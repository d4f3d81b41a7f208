"""A Stacks node and the API beside it, over HTTP: one address, one question at a time.

Retries, failover and caches are the caller's: each method asks once, within a deadline, and ends in a typed
value or a `NodeError`. Paths are those of stacks-core (``/v2``) and of the Stacks API (``/extended``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import aiohttp
from msgspec.structs import replace

from services.chain_gateway.stacks.clarity import ClarityValue, ContractPrincipal, from_hex, to_hex
from services.chain_gateway.stacks.errors import CodecError
from services.chain_gateway.stacks.node_answers import (
    CallRead,
    EventsPage,
    Multiple,
    Page,
    ToldAccount,
    ToldFees,
    TransactionsPage,
)
from services.chain_gateway.stacks.node_errors import BroadcastRejected, NodeBehind, NodeUnavailable, ReadRefused
from services.chain_gateway.stacks.node_http import NodeHttp, answer, part, rejection
from services.chain_gateway.stacks.node_json import digits
from services.chain_gateway.stacks.node_types import (
    Account,
    Block,
    BurnBlock,
    DevnetClock,
    Event,
    FeeEstimate,
    NodeInfo,
    Nonces,
    TransactionRecord,
)
from services.chain_gateway.stacks.payload import Payload, write_payload
from services.chain_gateway.stacks.transaction import transaction_hash

BLOCKS_PER_PAGE = 30
TRANSACTIONS_PER_PAGE = 50
EVENTS_PER_PAGE = 100
TRANSACTIONS_PER_QUESTION = 50
"""How many ids fit into one address line without trouble: 3.7 kB of the 8 kB that servers commonly take."""
MAX_EVENTS = 100_000
"""More than any block can hold: an API that pages for ever is cut off."""


class StacksNode:
    """Asks one node. `session` is shared and closed by its owner; `timeout_seconds` bounds each request."""

    def __init__(self, base_url: str, session: aiohttp.ClientSession, timeout_seconds: float = 10.0) -> None:
        self._http = NodeHttp(base_url, session, timeout_seconds)

    @property
    def base_url(self) -> str:
        """Where the node is."""
        return self._http.base_url

    async def info(self) -> NodeInfo:
        """The node's network and tip."""
        return await self._http.get(NodeInfo, "/v2/info")

    async def account(self, principal: str) -> Account:
        """Balance and nonce at the tip; an account never used has zeros."""
        return (await self._http.get(ToldAccount, f"/v2/accounts/{part(principal)}", {"proof": "0"})).account

    async def nonces(self, principal: str) -> Nonces:
        """Executed, pending and missing nonces, as the API sees them."""
        return await self._http.get(Nonces, f"/extended/v1/address/{part(principal)}/nonces")

    async def broadcast(self, transaction: bytes) -> str:
        """Hands in a signed transaction; answers its txid. Raises `BroadcastRejected` with the node's reason.

        Handing in twice is harmless: the node answers the same, or that the nonce conflicts.
        """
        txid = transaction_hash(transaction).hex()
        headers = {"Content-Type": "application/octet-stream"}
        status, body = await self._http.request("POST", "/v2/transactions", body=transaction, headers=headers)
        if status == 400:
            raise rejection(body)
        if answer(str, status, body, "broadcast").removeprefix("0x") != txid:
            raise NodeUnavailable("the node answered a broadcast with another txid")
        return txid

    async def estimate_fee(self, payload: Payload, transaction_bytes: int) -> FeeEstimate | None:
        """Fees for a payload in a transaction of so many bytes; None when the node has nothing to go by."""
        question = {
            "transaction_payload": write_payload(payload).hex(),
            "estimated_len": transaction_bytes,
        }
        status, body = await self._http.post("/v2/fees/transaction", question)
        if status == 400:
            refusal = rejection(body)
            if isinstance(refusal, BroadcastRejected) and refusal.reason == "NoEstimateAvailable":
                return None
        return answer(ToldFees, status, body, "fees").estimate

    async def call_read(
        self,
        contract: ContractPrincipal,
        function: str,
        arguments: Sequence[ClarityValue] = (),
        sender: str | None = None,
        tip: str | None = None,
    ) -> ClarityValue:
        """Evaluates a read-only function at the tip, or at the block whose index hash is `tip`.

        Raises `ReadRefused` when the VM cannot, `NodeBehind` when the node lacks that block, `NodeUnavailable` when
        the result is no Clarity value.
        """
        path = f"/v2/contracts/call-read/{contract.address.text}/{part(contract.name)}/{part(function)}"
        question = {"sender": sender or contract.address.text, "arguments": [to_hex(item) for item in arguments]}
        query = {} if tip is None else {"tip": tip}
        status, body = await self._http.post(path, question, query)
        if tip is not None and status == 404:
            raise NodeBehind(f"call-read: the node does not know the block {tip}")
        told = answer(CallRead, status, body, "call-read")
        if not told.okay:
            raise ReadRefused(told.cause or "no cause given")
        try:
            return from_hex(told.result)
        except CodecError as error:
            raise NodeUnavailable(f"call-read: {error}") from error

    async def blocks(self, limit: int = BLOCKS_PER_PAGE, offset: int = 0) -> tuple[Block, ...]:
        """Canonical blocks, newest first; `limit` at most 30."""
        return (await self._http.get(Page[Block], "/extended/v2/blocks", _page(limit, offset))).results

    async def block(self, height_or_hash: int | str) -> Block | None:
        """A canonical block by height, hash, or ``latest``; None when the API knows none."""
        return await self._http.find(Block, f"/extended/v2/blocks/{_place(height_or_hash)}")

    async def block_transactions(self, block_hash: str) -> tuple[TransactionRecord, ...] | None:
        """All transactions of a block by their index, without their events; None when the API knows no such block, as
        after a reorganisation."""
        path = f"/extended/v2/blocks/{_place(block_hash)}/transactions"
        found: dict[str, TransactionRecord] = {}
        while True:
            query = _page(TRANSACTIONS_PER_PAGE, len(found))
            page = await self._http.find(TransactionsPage, path, query)
            if page is None:
                return None
            before = len(found)
            found.update((one.txid, one) for one in page.results)
            if len(found) >= page.total:
                return tuple(sorted(found.values(), key=lambda one: one.index or 0))
            if len(found) == before:
                raise NodeUnavailable(f"{path}: {before} of {page.total} transactions and no more")

    async def transactions(self, txids: Iterable[str]) -> dict[str, TransactionRecord | None]:
        """Transactions by txid, each with all its events; None for those that the API does not know."""
        wanted = list(dict.fromkeys(map(digits, txids)))
        answers: dict[str, TransactionRecord | None] = {}
        for start in range(0, len(wanted), TRANSACTIONS_PER_QUESTION):
            asked = wanted[start : start + TRANSACTIONS_PER_QUESTION]
            query = [("tx_id", f"0x{txid}") for txid in asked] + [("event_limit", str(EVENTS_PER_PAGE))]
            found = await self._http.get(Multiple, "/extended/v1/tx/multiple", query)
            told = {digits(name): one for name, one in found.items()}
            for txid in asked:
                record = told[txid].transaction(txid) if txid in told else None
                answers[txid] = None if record is None else await self._complete(record)
        return answers

    async def transaction(self, txid: str) -> TransactionRecord | None:
        """One transaction with all its events; None when the API does not know it."""
        return (await self.transactions([txid]))[digits(txid)]

    async def events(self, txid: str, first: int = 0) -> tuple[Event, ...]:
        """A mined transaction's events in order, from the one numbered `first`."""
        events: list[Event] = []
        while len(events) < MAX_EVENTS:
            query = {"tx_id": f"0x{txid.removeprefix('0x')}", **_page(EVENTS_PER_PAGE, first + len(events))}
            page = (await self._http.get(EventsPage, "/extended/v1/tx/events", query)).events
            events.extend(page)
            if len(page) < EVENTS_PER_PAGE:
                return tuple(events)
        raise NodeUnavailable("a transaction with too many events")

    async def burn_block(self, height_or_hash: int | str) -> BurnBlock | None:
        """A Bitcoin block by height, hash, or ``latest``; None when the API knows none."""
        return await self._http.find(BurnBlock, f"/extended/v2/burn-blocks/{_place(height_or_hash)}")

    async def burn_blocks(self, limit: int = BLOCKS_PER_PAGE, offset: int = 0) -> tuple[BurnBlock, ...]:
        """Bitcoin blocks, newest first; `limit` at most 30."""
        return (await self._http.get(Page[BurnBlock], "/extended/v2/burn-blocks", _page(limit, offset))).results

    async def devnet_clock(self) -> DevnetClock | None:
        """The devnet's market clock; None from a real node, which has none."""
        return await self._http.find(DevnetClock, "/devnet/clock")

    async def _complete(self, record: TransactionRecord) -> TransactionRecord:
        """The record with the events that its first page left out; none may be missing."""
        events = record.events
        if len(events) < record.event_count:
            events += await self.events(record.txid, first=len(events))
        numbers = [event.index for event in events]
        if len(events) != record.event_count or numbers != sorted(set(numbers)):
            raise NodeUnavailable(f"{record.txid}: {len(events)} of {record.event_count} events")
        return record if events is record.events else replace(record, events=events)


def _page(limit: int, offset: int) -> dict[str, str]:
    return {"limit": str(limit), "offset": str(offset)}


def _place(height_or_hash: int | str) -> str:
    """A height, or a hash with the 0x that keeps the API from taking one of digits only for a height."""
    if isinstance(height_or_hash, int) or height_or_hash == "latest":
        return str(height_or_hash)
    return "0x" + part(height_or_hash.removeprefix("0x"))
