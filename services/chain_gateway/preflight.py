"""Looks before a first send whether a call would fail, or is done already: fees are not paid for what is known.

The contracts' views at the tip say what to doubt, cheaply and for all intents at once; only events of final blocks
prove it. Where a node does not answer, nothing is held up: the contract has the last word anyway.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.errors import Unavailable
from kernel.log import get_logger
from services.chain_gateway import clarity_fields as read
from services.chain_gateway import metrics, store_effects
from services.chain_gateway.contract_reads import ContractReads
from services.chain_gateway.contracts import REGISTRY
from services.chain_gateway.domain import contract_call
from services.chain_gateway.domain.effect import Fact, Finding, Seen, finding
from services.chain_gateway.nodes import NodePool
from services.chain_gateway.signing import stored_call
from services.chain_gateway.stacks.clarity import (
    Bool,
    ClarityValue,
    ListValue,
    StringAscii,
    TupleValue,
    UInt,
    serialize,
)
from services.chain_gateway.stacks.errors import CodecError
from services.chain_gateway.stacks.node_errors import NodeRefused
from services.chain_gateway.state import StateFollower
from services.chain_gateway.tables import Intent

_ACTIVE: Final = 0
_POLICIES_PER_CALL: Final = 25
"""Nodes allow 30 map reads in one read-only call."""


class Preflight:
    """Judges queued intents."""

    def __init__(self, nodes: NodePool, reads: ContractReads, state: StateFollower) -> None:
        self._nodes = nodes
        self._reads = reads
        self._state = state
        self._balances: dict[str, tuple[str, int]] = {}

    async def can_pay(self, address: str, fee_ustx: int) -> bool:
        """Whether an account's balance, read once per tip, covers a fee; also while no node tells it."""
        tip = self._state.snapshot.row.index_hash
        kept = self._balances.get(address)
        if kept is None or kept[0] != tip:
            try:
                account = await self._nodes.ask(lambda node: node.account(address))
            except (Unavailable, NodeRefused):
                return True
            kept = self._balances[address] = tip, account.balance_ustx
            metrics.BALANCE.labels(address).set(account.balance_ustx)
            if account.balance_ustx < fee_ustx:
                get_logger().error("an account cannot pay fees", address=address, balance_ustx=account.balance_ustx)
        return kept[1] >= fee_ustx

    async def judge(self, session: AsyncSession, intents: Sequence[Intent]) -> Mapping[str, Finding]:
        """By intent id what to do instead of sending it; those that may be sent are left out."""
        found: dict[str, Finding | None] = {}
        rounds = [one for one in intents if one.function == contract_call.PUBLISH.function]
        found.update(await self._rounds(session, rounds))
        ending = {
            one.id: _policies(one)
            for one in intents
            if one.function in (contract_call.SETTLE.function, contract_call.EXPIRE.function)
        }
        entries = await self._entries(sorted({number for ids in ending.values() for number in ids}))
        for one in intents:
            if one.id in ending:
                settles = one.function == contract_call.SETTLE.function
                seen = [await self._policy(session, entries.get(number), settles) for number in ending[one.id]]
                found[one.id] = finding(seen)
        return {intent_id: one for intent_id, one in found.items() if one is not None}

    def _is_final(self, burn_confirmations: int) -> bool:
        return burn_confirmations >= self._state.snapshot.confirmations

    async def _rounds(self, session: AsyncSession, intents: Sequence[Intent]) -> dict[str, Finding | None]:
        """A round is published once: the print of its publication, by whomever, is the effect itself."""
        prints = {one.id: _publication_prints(one) for one in intents}
        seen = await store_effects.published(session, [value for pair in prints.values() for value in pair])
        found: dict[str, Finding | None] = {}
        for intent_id, pair in prints.items():
            confirmations = next((seen[value] for value in pair if value in seen), None)
            if confirmations is not None:
                done = Seen(Fact.DONE, "ROUND_PUBLISHED_NOT_FINAL", self._is_final(confirmations))
                found[intent_id] = finding([done])
        return found

    async def _entries(self, ids: Sequence[int]) -> dict[int, TupleValue]:
        """Policies as the registry has them at the tip; those that it does not know, or nobody answers for, are left
        out."""
        entries: dict[int, TupleValue] = {}
        for start in range(0, len(ids), _POLICIES_PER_CALL):
            page = ids[start : start + _POLICIES_PER_CALL]
            try:
                answer = await self._reads.call(REGISTRY, "get-policies", ListValue(tuple(map(UInt, page))))
                values = answer.items if isinstance(answer, ListValue) else ()
                known = zip(page, map(read.optional_of, values), strict=True)
                entries.update({number: read.tuple_of(value) for number, value in known if value is not None})
            except (Unavailable, CodecError, ValueError):
                continue
        return entries

    async def _policy(self, session: AsyncSession, entry: TupleValue | None, settles: bool) -> Seen:
        if entry is None or read.uint(entry, "status") == _ACTIVE:
            return Seen(Fact.OPEN)
        end = await store_effects.end_of(session, bytes.fromhex(read.identifier(entry, "policy-id")))
        if end is None:
            # The tip is ahead of what we have ingested.
            return Seen(Fact.DONE, "POLICY_ENDED_NOT_FINAL", final=False)
        if settles and end.topic == store_effects.EXPIRED:
            return Seen(Fact.IMPOSSIBLE, "POLICY_EXPIRED", self._is_final(end.burn_confirmations))
        reason = "POLICY_ENDED" if self._is_final(end.burn_confirmations) else "POLICY_ENDED_NOT_FINAL"
        return Seen(Fact.DONE, reason, self._is_final(end.burn_confirmations))


def _arguments(intent: Intent) -> tuple[ClarityValue, ...]:
    return stored_call(intent.payload, intent.post_conditions).payload.arguments


def _publication_prints(intent: Intent) -> list[bytes]:
    """What the oracle contract prints when it takes this round: as the latest, and as one that fills in."""
    message = read.tuple_of(_arguments(intent)[0]).fields
    topic = StringAscii(store_effects.PUBLISHED)
    return [serialize(TupleValue({**message, "topic": topic, "latest": Bool(latest)})) for latest in (True, False)]


def _policies(intent: Intent) -> list[int]:
    """On-chain ids that a settlement or an expiry is about."""
    first = _arguments(intent)[0]
    items = first.items if isinstance(first, ListValue) else (first,)
    return [read.uint_of(item) for item in items]
