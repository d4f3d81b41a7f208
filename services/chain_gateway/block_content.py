"""What a block holds that concerns us, read from a node: prints of our contracts, fees, and its transactions."""

from __future__ import annotations

import asyncio
import datetime as dt
import functools
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from kernel.errors import Aborted, BitHedgeError, FailedPrecondition
from services.chain_gateway.contracts import Contracts
from services.chain_gateway.convert_event import read_topic
from services.chain_gateway.domain.confirmation import SUCCESS
from services.chain_gateway.domain.event_record import FEE, FEE_INDEX, EventRecord
from services.chain_gateway.node_slot import Question
from services.chain_gateway.nodes import Asker
from services.chain_gateway.stacks.c32 import parse_address
from services.chain_gateway.stacks.clarity import StandardPrincipal, TupleValue, UInt, serialize
from services.chain_gateway.stacks.clarity_text import render
from services.chain_gateway.stacks.errors import CodecError
from services.chain_gateway.stacks.node import TRANSACTIONS_PER_QUESTION
from services.chain_gateway.stacks.node_errors import NodeRefused
from services.chain_gateway.stacks.node_types import Block, TransactionRecord
from services.chain_gateway.store_transactions import Mined, NonceUse

AnswerT = TypeVar("AnswerT")
_PRINT: Final = "print"
# Only these run code; a deployment may call us too.
_CALLS: Final = ("contract_call", "smart_contract")
_AT_ONCE: Final = 8


@dataclass(frozen=True)
class BlockContent:
    """Events in order, and every transaction of the block."""

    block: Block
    events: Sequence[EventRecord]
    transactions: Sequence[TransactionRecord]


class BlockMoved(Aborted):
    """The node's chain changed while it was read; what was read is thrown away."""

    def __init__(self, block: Block) -> None:
        super().__init__("BLOCK_MOVED", f"block {block.hash} at height {block.height} moved while it was read")


class UnknownEventForm(FailedPrecondition):
    """An event of ours in a form we do not know means other contracts than these: stop before money is lost."""

    def __init__(self, block: Block, txid: str, contract: str, error: CodecError) -> None:
        message = f"{contract} printed what we cannot read in {txid} at height {block.height}: {error}"
        super().__init__("UNKNOWN_EVENT_FORM", message, txid=txid, contract=contract, stacks_height=block.height)


async def read_contents(
    nodes: Asker, contracts: Contracts, backend: Collection[str], blocks: Sequence[Block]
) -> list[BlockContent]:
    """What each of `blocks` holds, several read at once; fails as `read_leading` does."""
    contents = await read_leading(nodes, contracts, backend, blocks)
    if len(contents) < len(blocks):
        contents += await read_contents(nodes, contracts, backend, blocks[len(contents) :])
    return contents


async def read_leading(
    nodes: Asker, contracts: Contracts, backend: Collection[str], blocks: Sequence[Block]
) -> list[BlockContent]:
    """What the first of `blocks` hold, up to the first that cannot be read; fails when that is the very first.

    `backend` are the accounts of our keys, whose fees are noted. BlockMoved when the node's chain changes meanwhile,
    Unavailable when no node answers, UnknownEventForm when a contract of ours printed what we cannot read. A node that
    fails now and then, or a chain that moves at its top, so costs what is behind the failure only.
    """
    groups, gate = list(_groups(blocks)), asyncio.Semaphore(_AT_ONCE)
    read = [functools.partial(_read, _Gated(nodes, gate), contracts, backend, group) for group in groups]
    contents: list[BlockContent] = []
    for group, found in zip(groups, await _leading(read), strict=False):
        contents += found
        if len(found) < len(group):
            break
    return contents


class _Gated:
    """Puts so many questions at once and no more."""

    def __init__(self, nodes: Asker, gate: asyncio.Semaphore) -> None:
        self._nodes = nodes
        self._gate = gate

    async def ask(self, question: Question[AnswerT]) -> AnswerT:
        """As the asker behind it, when it is this question's turn."""
        async with self._gate:
            return await self._nodes.ask(question)


def _groups(blocks: Sequence[Block]) -> Iterator[list[Block]]:
    """Blocks in a row the events of whose transactions fit into one question; a block with more stands alone."""
    group: list[Block] = []
    for block in blocks:
        if group and sum(one.transaction_count for one in (*group, block)) > TRANSACTIONS_PER_QUESTION:
            yield group
            group = []
        group.append(block)
    if group:
        yield group


async def _leading(questions: Iterable[Callable[[], Awaitable[AnswerT]]]) -> list[AnswerT]:
    """The answers up to the first that fails; fails when that is the very first."""

    async def outcome(question: Callable[[], Awaitable[AnswerT]]) -> AnswerT | BitHedgeError | NodeRefused:
        try:
            return await question()
        except (BitHedgeError, NodeRefused) as error:
            return error

    found: list[AnswerT] = []
    for one in await asyncio.gather(*map(outcome, questions)):
        if not isinstance(one, BitHedgeError | NodeRefused):
            found.append(one)
        elif found:
            break
        else:
            raise one
    return found


async def _read(
    nodes: Asker, contracts: Contracts, backend: Collection[str], group: Sequence[Block]
) -> list[BlockContent]:
    """What the first blocks of a group hold, read as soon as it is told, while others are still asked for."""
    listed = await _leading(functools.partial(_list, nodes, block) for block in group)
    logs = await _logs(nodes, listed)
    contents: list[BlockContent] = []
    for one in listed:
        try:
            contents.append(_content(contracts, backend, one, logs))
        except (BlockMoved, UnknownEventForm):
            if not contents:
                raise
            break
    return contents


@dataclass(frozen=True)
class _Listed:
    """A block with its transactions, and those of them whose events are to be read."""

    block: Block
    transactions: Sequence[TransactionRecord]
    calling: Sequence[str]


async def _list(nodes: Asker, block: Block) -> _Listed:
    if block.transaction_count == 0:
        return _Listed(block, (), ())
    found = await nodes.ask(lambda node: node.block_transactions(block.hash))
    if found is None or len(found) != block.transaction_count:
        raise BlockMoved(block)
    calling = [one.txid for one in found if one.status == SUCCESS and one.event_count and one.kind in _CALLS]
    return _Listed(block, found, calling)


async def _logs(nodes: Asker, group: Sequence[_Listed]) -> Mapping[str, TransactionRecord | None]:
    calling = [txid for one in group for txid in one.calling]
    return await nodes.ask(lambda node: node.transactions(calling)) if calling else {}


def _content(
    contracts: Contracts, backend: Collection[str], listed: _Listed, logs: Mapping[str, TransactionRecord | None]
) -> BlockContent:
    events: list[EventRecord] = []
    calling = frozenset(listed.calling)
    for one in listed.transactions:
        told: list[EventRecord] = []
        if one.txid in calling:
            record = logs[one.txid]
            if record is None or record.block_hash != listed.block.hash or record.status != SUCCESS:
                raise BlockMoved(listed.block)
            told = _events(contracts, backend, listed.block, record)
        if not told and one.fee_ustx and one.payer in backend:
            told = [_fee(listed.block, one)]
        events += told
    return BlockContent(listed.block, events, listed.transactions)


def _events(
    contracts: Contracts, backend: Collection[str], block: Block, record: TransactionRecord
) -> list[EventRecord]:
    """The prints of our contracts, known by their whole principal: a namesake of another deployer is not ours."""
    found: list[EventRecord] = []
    fee = record.fee_ustx if record.payer in backend else 0
    for event in record.events:
        name = None if event.log is None or event.log.topic != _PRINT else contracts.name_of(event.log.contract)
        if name is not None and event.log is not None:
            found.append(_event(block, record, event.index, name, event.log.value.octets, fee))
    return found


def _event(
    block: Block, record: TransactionRecord, index: int, name: str, value: bytes, backend_fee_ustx: int
) -> EventRecord:
    try:
        topic = read_topic(name, value)
    except CodecError as error:
        raise UnknownEventForm(block, record.txid, name, error) from error
    return _record(block, record, index, backend_fee_ustx, (name, topic, value))


def _fee(block: Block, record: TransactionRecord) -> EventRecord:
    """What a transaction cost one of our accounts, where no event tells it."""
    told = TupleValue({"payer": StandardPrincipal(parse_address(record.payer)), "fee": UInt(record.fee_ustx)})
    return _record(block, record, FEE_INDEX, record.fee_ustx, ("", FEE, serialize(told)))


def _record(
    block: Block, record: TransactionRecord, index: int, backend_fee_ustx: int, said: tuple[str, str, bytes]
) -> EventRecord:
    """`said`: contract, topic and value."""
    assert record.index is not None  # it is in this block
    contract, topic, value = said
    return EventRecord(
        index_hash=block.index_hash,
        block_hash=block.hash,
        stacks_height=block.height,
        burn_height=block.burn_height,
        block_time=dt.datetime.fromtimestamp(block.time, dt.UTC),
        txid=record.txid,
        transaction_index=record.index,
        event_index=index,
        sender=record.sender,
        backend_fee_ustx=backend_fee_ustx,
        contract=contract,
        topic=topic,
        value=value,
    )


def mined(record: TransactionRecord, index_hash: str, stacks_height: int, burn_height: int) -> Mined:
    """What a block says of a transaction."""
    try:
        result = record.result()
        text = "" if result is None else render(result)
    except CodecError:
        text = record.result_text
    return Mined(record.txid, record.status, text, index_hash, stacks_height, burn_height)


def nonce_uses(content: BlockContent) -> list[NonceUse]:
    """Which nonces the transactions of a block used; a sponsored one uses two."""
    block = content.block
    place = block.index_hash, block.height, block.burn_height
    uses = [NonceUse(one.sender, one.nonce, one.txid, *place) for one in content.transactions]
    for one in content.transactions:
        if one.sponsor is not None and one.sponsor_nonce is not None:
            uses.append(NonceUse(one.sponsor, one.sponsor_nonce, one.txid, *place))
    return uses
