"""The chain gateway's service: what it reads is in `servicer_chain`, what it sends and signs is here."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Final

from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as pb

from kernel.database import Database
from kernel.errors import InvalidArgument, NotFound
from kernel.rpc.caller import current_caller
from kernel.rpc.interceptors import Context
from services.chain_gateway import convert, store_chain, store_transactions
from services.chain_gateway.contract_reads import ContractReads
from services.chain_gateway.contracts import Contracts
from services.chain_gateway.domain.confirmation import (
    DROPPED_STATUSES,
    TransactionState,
    final_state,
)
from services.chain_gateway.intents import Intents
from services.chain_gateway.message_signing import MessageSigner
from services.chain_gateway.nodes import NodePool
from services.chain_gateway.servicer_chain import ChainServicer
from services.chain_gateway.stacks.clarity_text import render
from services.chain_gateway.stacks.node_types import TransactionRecord
from services.chain_gateway.state import Snapshot, StateFollower
from services.chain_gateway.wallet_transactions import WalletTransactions

_TXID: Final = re.compile(r"[0-9a-f]{64}")


class ChainGatewayServicer(ChainServicer):
    """All of `ChainGatewayService`."""

    def __init__(
        self,
        database: Database,
        nodes: NodePool,
        contracts: Contracts,
        state: StateFollower,
        reads: ContractReads,
        intents: Intents,
        messages: MessageSigner,
        wallets: WalletTransactions,
    ) -> None:
        super().__init__(database, nodes, contracts, state, reads)
        self._intents = intents
        self._messages = messages
        self._wallets = wallets

    async def CreateIntent(self, request: pb.CreateIntentRequest, context: Context) -> pb.CreateIntentResponse:
        """Accepts an intent, once per key."""
        intent = await self._intents.create(current_caller().principal, request)
        return pb.CreateIntentResponse(intent=intent)

    async def GetIntent(self, request: pb.GetIntentRequest, context: Context) -> pb.GetIntentResponse:
        """An intent with its transactions."""
        return pb.GetIntentResponse(intent=await self._intents.get(request.name))

    async def WatchIntent(
        self, request: pb.WatchIntentRequest, context: Context
    ) -> AsyncIterator[pb.WatchIntentResponse]:
        """The intent and its changes until it has ended."""
        async for intent in self._intents.watch(request.name):
            yield pb.WatchIntentResponse(intent=intent)

    async def SignQuote(self, request: pb.SignQuoteRequest, context: Context) -> pb.SignQuoteResponse:
        """Signs a quote."""
        return pb.SignQuoteResponse(signature=await self._messages.sign_quote(request.terms))

    async def SignVoucher(self, request: pb.SignVoucherRequest, context: Context) -> pb.SignVoucherResponse:
        """Signs a voucher."""
        return pb.SignVoucherResponse(signature=await self._messages.sign_voucher(request.terms))

    async def PrepareTransaction(
        self, request: pb.PrepareTransactionRequest, context: Context
    ) -> pb.PrepareTransactionResponse:
        """Prepares a transaction for a wallet."""
        return await self._wallets.prepare(current_caller(), request)

    async def SubmitSignedTransaction(
        self, request: pb.SubmitSignedTransactionRequest, context: Context
    ) -> pb.SubmitSignedTransactionResponse:
        """Checks and broadcasts what a wallet signed."""
        row = await self._wallets.submit(current_caller(), request)
        height = self._state.snapshot.row.burn_height
        return pb.SubmitSignedTransactionResponse(transaction=convert.transaction(row, self._contracts, height))

    async def GetTransaction(self, request: pb.GetTransactionRequest, context: Context) -> pb.GetTransactionResponse:
        """A transaction that went through us, or any that the node knows."""
        txid = request.txid.removeprefix("0x").lower()
        if not _TXID.fullmatch(txid):
            raise InvalidArgument.of("txid", "expected 64 hexadecimal digits")
        async with self._database.transaction() as session:
            row = await store_transactions.get(session, txid)
            state = await store_chain.read_state(session)
        if row is not None:
            height = state.burn_height if state else 0
            return pb.GetTransactionResponse(transaction=convert.transaction(row, self._contracts, height))
        record = await self._nodes.ask(lambda node: node.transaction(txid))
        if record is None:
            raise NotFound("UNKNOWN_TRANSACTION", f"neither we nor the node know {txid}")
        return pb.GetTransactionResponse(transaction=_node_transaction(record, self._state.snapshot))


def _node_transaction(record: TransactionRecord, snapshot: Snapshot) -> pb.Transaction:
    if record.status in DROPPED_STATUSES:
        state = TransactionState.DROPPED
    elif record.burn_height is not None and record.burn_height <= snapshot.final_burn_height:
        state = final_state(record.status)
    else:
        state = TransactionState.PENDING
    result = record.result()
    text = "" if result is None else render(result)
    return convert.node_transaction(record, state, text, snapshot.row.burn_height)
