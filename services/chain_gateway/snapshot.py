"""Vault balances and policies of the contracts, read while the chain stood still at one block."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as pb
from bithedge.type.v1 import money_pb2

from kernel.database import Database
from kernel.errors import Aborted, InvalidArgument
from kernel.ids import resource_name
from services.chain_gateway import clarity_fields as read
from services.chain_gateway import store_events
from services.chain_gateway.contract_reads import ContractReads
from services.chain_gateway.contracts import REGISTRY, VAULT, Contracts
from services.chain_gateway.convert_event import chain_event, quote_terms
from services.chain_gateway.nodes import NodePool
from services.chain_gateway.stacks.clarity import ClarityValue, ListValue, TupleValue, UInt
from services.chain_gateway.stacks.errors import CodecError
from services.chain_gateway.state import Snapshot, StateFollower

_MAX_PAGE: Final = 200
_POLICIES_PER_CALL: Final = 25
"""Nodes allow 30 map reads in one read-only call."""
_TRIES: Final = 8
_WAIT_SECONDS: Final = 0.5
_TOKENS: Final = {"stx": money_pb2.TOKEN_STX, "sbtc": money_pb2.TOKEN_SBTC}


@dataclass(frozen=True)
class _Reading:
    """What the contracts said, not yet known to be of one block."""

    balances: ClarityValue
    counter: int
    policies: Sequence[ClarityValue]


class SnapshotReader:
    """Serves GetContractSnapshot."""

    def __init__(
        self, database: Database, nodes: NodePool, contracts: Contracts, state: StateFollower, reads: ContractReads
    ) -> None:
        self._database = database
        self._nodes = nodes
        self._contracts = contracts
        self._state = state
        self._reads = reads

    async def read(self, request: pb.GetContractSnapshotRequest) -> pb.GetContractSnapshotResponse:
        """One page; Aborted when the chain would not stand still, or has left the block of the first page."""
        if request.after_onchain_id < 0:
            raise InvalidArgument.of("after_onchain_id", "expected at least 0")
        size = min(request.page_size, _MAX_PAGE) if request.page_size > 0 else _MAX_PAGE
        for _ in range(_TRIES):
            before = await self._ingested_head()
            if before is None:
                continue
            if request.block_hash not in ("", before.row.block_hash):
                raise Aborted("SNAPSHOT_PASSED", "the tip is not that block any more: start again")
            reading = await self._read(request.after_onchain_id, size)
            head = await self._nodes.ask(lambda node: node.block("latest"))
            if head is not None and head.index_hash == before.row.index_hash:
                return await self._response(before, reading, request.after_onchain_id, size)
        raise Aborted("TIP_MOVES", "the tip moved during each attempt to read")

    async def _ingested_head(self) -> Snapshot | None:
        """Our state if it is that of the node's tip; None after waiting a little otherwise."""
        head = await self._nodes.ask(lambda node: node.block("latest"))
        snapshot = self._state.snapshot
        if head is not None and head.index_hash == snapshot.row.index_hash:
            return snapshot
        await self._state.changed(snapshot, _WAIT_SECONDS)
        return None

    async def _read(self, after: int, size: int) -> _Reading:
        counter = read.uint_of(await self._reads.call_anew(REGISTRY, "get-policy-counter"))
        ids = range(after + 1, min(counter, after + size) + 1)
        pages = [ids[start : start + _POLICIES_PER_CALL] for start in range(0, len(ids), _POLICIES_PER_CALL)]
        balances, *answers = await asyncio.gather(
            self._reads.call_anew(VAULT, "get-balances"),
            *(self._reads.call_anew(REGISTRY, "get-policies", ListValue(tuple(map(UInt, page)))) for page in pages),
        )
        policies: list[ClarityValue] = []
        for answer in answers:
            if not isinstance(answer, ListValue):
                raise CodecError("get-policies answers a list")
            policies.extend(answer.items)
        return _Reading(balances, counter, policies)

    async def _response(
        self, snapshot: Snapshot, reading: _Reading, after: int, size: int
    ) -> pb.GetContractSnapshotResponse:
        row = snapshot.row
        async with self._database.transaction() as session:
            pending = await store_events.pending_events(session, row.burn_height, snapshot.confirmations)
        balances = read.tuple_of(reading.balances)
        policies = [
            _policy(after + 1 + index, read.tuple_of(found))
            for index, value in enumerate(reading.policies)
            if (found := read.optional_of(value)) is not None
        ]
        reached = after + size
        return pb.GetContractSnapshotResponse(
            block_hash=row.block_hash,
            stacks_height=row.stacks_height,
            burn_height=row.burn_height,
            sequence=row.latest_sequence,
            balances=[_balance(token, read.tuple_of(balances[name])) for name, token in _TOKENS.items()],
            policies=policies,
            next_after_onchain_id=reached if reached < reading.counter else 0,
            pending_events=[chain_event(event) for event in pending if event.sequence <= row.latest_sequence],
            final_burn_height=max(0, snapshot.final_burn_height),
        )


def _balance(token: money_pb2.Token.ValueType, value: TupleValue) -> pb.VaultBalance:
    return pb.VaultBalance(
        token=token,
        actual_base_units=read.uint(value, "balance"),
        accounted_base_units=read.uint(value, "accounted"),
        locked_base_units=read.uint(value, "locked"),
        fees_base_units=read.uint(value, "fees"),
    )


def _policy(onchain_id: int, entry: TupleValue) -> pb.ContractPolicy:
    token = money_pb2.Token.ValueType(read.uint(entry, "token"))
    policy = pb.ContractPolicy(
        onchain_id=onchain_id,
        policy=resource_name("policies", read.identifier(entry, "policy-id")),
        status=read.uint(entry, "status"),
        max_payout=money_pb2.TokenAmount(token=token, base_units=read.uint(entry, "max-payout")),
        payout_base_units=read.uint(entry, "payout"),
        expiration_burn_height=read.uint(entry, "expiration-burn-height"),
        created_burn_height=read.uint(entry, "created-burn-height"),
        grace_blocks=read.uint(entry, "grace-blocks"),
    )
    quote_terms(policy.terms, entry)
    return policy
