"""Vault balances and policies of the contracts, all pages read at the block of the first."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as pb
from bithedge.type.v1 import money_pb2
from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.database import Database
from kernel.errors import Aborted, InvalidArgument, Unavailable
from kernel.ids import resource_name
from services.chain_gateway import clarity_fields as read
from services.chain_gateway import store_chain, store_events
from services.chain_gateway.contract_reads import ContractReads
from services.chain_gateway.contracts import REGISTRY, VAULT
from services.chain_gateway.convert_event import chain_event, quote_terms
from services.chain_gateway.domain.confirmation import final_burn_height
from services.chain_gateway.stacks.clarity import ListValue, TupleValue, UInt
from services.chain_gateway.stacks.errors import CodecError
from services.chain_gateway.state import StateFollower
from services.chain_gateway.tables import Block
from services.chain_gateway.tip_cache import TipCache

_MAX_PAGE: Final = 200
_POLICIES_PER_CALL: Final = 25
"""Nodes allow 30 map reads in one read-only call."""
_BLOCK_HASH: Final = re.compile(r"[0-9a-f]{64}")
_TOKENS: Final = {"stx": money_pb2.TOKEN_STX, "sbtc": money_pb2.TOKEN_SBTC}


@dataclass(frozen=True)
class _Totals:
    """What all pages of a block have in common."""

    balances: TupleValue
    counter: int


class SnapshotReader:
    """Serves GetContractSnapshot."""

    def __init__(self, database: Database, state: StateFollower, reads: ContractReads) -> None:
        self._database = database
        self._state = state
        self._reads = reads
        self._totals = TipCache[_Totals]()

    async def read(self, request: pb.GetContractSnapshotRequest) -> pb.GetContractSnapshotResponse:
        """One page, at the tip or at the block of the first page.

        Aborted SNAPSHOT_PASSED when our chain does not hold that block, or no node can read it any more.
        """
        if request.after_onchain_id < 0:
            raise InvalidArgument.of("after_onchain_id", "expected at least 0")
        if request.block_hash and not _BLOCK_HASH.fullmatch(request.block_hash):
            raise InvalidArgument.of("block_hash", "expected 64 hexadecimal digits")
        after = request.after_onchain_id
        size = min(request.page_size, _MAX_PAGE) if request.page_size > 0 else _MAX_PAGE
        async with self._database.reading() as session:
            block = await self._block(session, request.block_hash or self._state.snapshot.row.block_hash)
        try:
            totals = await self._totals.get(block.index_hash, "totals", lambda: self._read_totals(block))
            policies = await self._read_policies(block, range(after + 1, min(totals.counter, after + size) + 1))
        except Unavailable as error:
            if request.block_hash and error.reason == "BLOCK_UNREADABLE":
                raise _passed("no node that answers can read that block any more") from error
            raise
        return await self._response(block, totals, policies, after + size)

    async def _block(self, session: AsyncSession, block_hash: str) -> Block:
        block = await store_chain.canonical_block_by_hash(session, block_hash)
        if block is None:
            raise _passed("the chain does not hold that block")
        return block

    async def _read_totals(self, block: Block) -> _Totals:
        balances, counter = await asyncio.gather(
            self._reads.call_at(block.index_hash, VAULT, "get-balances"),
            self._reads.call_at(block.index_hash, REGISTRY, "get-policy-counter"),
        )
        return _Totals(read.tuple_of(balances), read.uint_of(counter))

    async def _read_policies(self, block: Block, ids: range) -> list[pb.ContractPolicy]:
        parts = [ids[start : start + _POLICIES_PER_CALL] for start in range(0, len(ids), _POLICIES_PER_CALL)]
        answers = await asyncio.gather(
            *(
                self._reads.call_at(block.index_hash, REGISTRY, "get-policies", ListValue(tuple(map(UInt, part))))
                for part in parts
            )
        )
        found: list[pb.ContractPolicy] = []
        for part, answer in zip(parts, answers, strict=True):
            if not isinstance(answer, ListValue) or len(answer.items) != len(part):
                raise CodecError("get-policies answers a list of as many")
            entries = zip(part, map(read.optional_of, answer.items), strict=True)
            found += [_policy(onchain_id, read.tuple_of(entry)) for onchain_id, entry in entries if entry is not None]
        return found

    async def _response(
        self, block: Block, totals: _Totals, policies: Sequence[pb.ContractPolicy], reached: int
    ) -> pb.GetContractSnapshotResponse:
        confirmations = self._state.snapshot.confirmations
        follows = reached if reached < totals.counter else 0
        async with self._database.snapshot() as session:
            # The chain may have left it since: its events are known only while it is ours.
            await self._block(session, block.hash)
            sequence = await store_events.last_sequence(session, block)
            # There may be more of them than policies on a page, and once is enough.
            pending = [] if follows else await store_events.pending_events(session, block, confirmations)
        return pb.GetContractSnapshotResponse(
            block_hash=block.hash,
            stacks_height=block.stacks_height,
            burn_height=block.burn_height,
            sequence=sequence,
            balances=[_balance(token, read.tuple_of(totals.balances[name])) for name, token in _TOKENS.items()],
            policies=policies,
            next_after_onchain_id=follows,
            pending_events=[chain_event(event) for event in pending],
            final_burn_height=max(0, final_burn_height(block.burn_height, confirmations)),
        )


def _passed(why: str) -> Aborted:
    return Aborted("SNAPSHOT_PASSED", f"{why}: start again")


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
