"""Rows to messages of the API."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as pb
from bithedge.type.v1 import transaction_pb2

from kernel.ids import resource_name
from services.chain_gateway.contracts import Contracts
from services.chain_gateway.convert_event import timestamp
from services.chain_gateway.domain.confirmation import burn_confirmations
from services.chain_gateway.node_slot import NodeSlot
from services.chain_gateway.stacks.clarity import serialize
from services.chain_gateway.stacks.node_types import TransactionRecord
from services.chain_gateway.stacks.payload import ContractCall, read_payload
from services.chain_gateway.stacks.reader import Reader
from services.chain_gateway.state import Snapshot
from services.chain_gateway.tables import ChainTransaction, Intent, PreparedTransaction


def tip(snapshot: Snapshot, contracts: Contracts) -> pb.Tip:
    """The tip, with market time."""
    row = snapshot.row
    return pb.Tip(
        stacks_height=row.stacks_height,
        block_hash=row.block_hash,
        burn_height=row.burn_height,
        burn_block_time=timestamp(row.burn_time),
        market_time=timestamp(snapshot.market_time()),
        refresh_time=timestamp(row.refresh_time),
        advance_time=timestamp(row.advance_time),
        final_burn_height=max(0, snapshot.final_burn_height),
        network=contracts.network_name,
        chain_id=contracts.network.chain_id,
    )


def node_state(slot: NodeSlot) -> pb.NodeState:
    """How a node answers this process."""
    message = pb.NodeState(
        url=slot.url,
        healthy=slot.healthy,
        stacks_height=slot.stacks_height,
        last_error=slot.last_error,
        breaker=pb.BreakerState.ValueType(slot.state),
        weight=slot.weight,
        consecutive_failures=slot.breaker.failures,
        disagrees=slot.disagrees,
        disagreements=slot.disagreements,
    )
    if slot.tip_age_seconds is not None:
        message.tip_age.FromTimedelta(dt.timedelta(seconds=slot.tip_age_seconds))
    return message


def transaction(row: ChainTransaction, contracts: Contracts, tip_burn_height: int) -> pb.Transaction:
    """A transaction of ours or of a user."""
    message = pb.Transaction(
        txid=row.txid,
        sender_principal=row.origin or row.sender,
        sponsor_principal=row.sender if row.origin else "",
        nonce=row.nonce if row.origin_nonce is None else row.origin_nonce,
        fee_ustx=row.fee_ustx,
        state=pb.TransactionState.ValueType(row.state),
        node_status=row.node_status,
        result=row.result,
        contract=f"{contracts.deployer.text}.{row.contract}",
        function=row.function,
        create_time=timestamp(row.create_time),
    )
    if row.mined_stacks_height is not None and row.mined_burn_height is not None:
        message.stacks_height, message.burn_height = row.mined_stacks_height, row.mined_burn_height
        message.burn_confirmations = burn_confirmations(tip_burn_height, row.mined_burn_height)
    return message


def node_transaction(record: TransactionRecord, state: int, result: str, tip_burn_height: int) -> pb.Transaction:
    """A transaction that only the node knows."""
    message = pb.Transaction(
        txid=record.txid,
        sender_principal=record.sender,
        sponsor_principal=record.sponsor or "",
        nonce=record.nonce,
        fee_ustx=record.fee_ustx,
        state=pb.TransactionState.ValueType(state),
        node_status=record.status,
        result=result,
    )
    if record.call is not None:
        message.contract, message.function = record.call.contract, record.call.function
    if record.block_height is not None and record.burn_height is not None:
        message.stacks_height, message.burn_height = record.block_height, record.burn_height
        message.burn_confirmations = burn_confirmations(tip_burn_height, record.burn_height)
    return message


def new_intent(intent_id: str, key: str, create_time: dt.datetime) -> pb.Intent:
    """An intent that was stored just now."""
    return pb.Intent(
        name=resource_name("intents", intent_id),
        key=key,
        state=pb.INTENT_STATE_QUEUED,
        create_time=timestamp(create_time),
    )


def intent(
    row: Intent, transactions: Sequence[ChainTransaction], contracts: Contracts, tip_burn_height: int
) -> pb.Intent:
    """An intent with its transactions."""
    message = pb.Intent(
        name=resource_name("intents", row.id),
        key=row.key,
        state=pb.IntentState.ValueType(row.state),
        transactions=[transaction(one, contracts, tip_burn_height) for one in transactions],
        contract_error=row.contract_error,
        reason=row.reason,
        create_time=timestamp(row.create_time),
    )
    if row.end_time is not None:
        message.end_time.CopyFrom(timestamp(row.end_time))
    return message


def prepared(row: PreparedTransaction, contracts: Contracts, unsigned: bytes) -> transaction_pb2.PreparedTransaction:
    """A prepared transaction; `unsigned` is empty when the public key is not known."""
    payload = read_payload(Reader(row.payload))
    assert isinstance(payload, ContractCall)
    return transaction_pb2.PreparedTransaction(
        name=resource_name("preparedTransactions", row.id),
        principal=row.principal,
        contract=f"{contracts.deployer.text}.{row.contract}",
        function=row.function,
        arguments=[serialize(argument) for argument in payload.arguments],
        post_conditions=row.post_conditions,
        network=contracts.network_name,
        chain_id=contracts.network.chain_id,
        suggested_fee_ustx=row.suggested_fee_ustx,
        suggested_nonce=row.suggested_nonce,
        sponsored=row.sponsored,
        unsigned_transaction=unsigned,
        create_time=timestamp(row.create_time),
    )
