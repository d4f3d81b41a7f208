"""The chain gateway's service: what it reads is in `servicer_chain`, what it sends and signs is here."""

from __future__ import annotations

from collections.abc import AsyncIterator

from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as pb

from kernel.database import Database
from kernel.rpc.caller import current_caller
from kernel.rpc.interceptors import Context
from services.chain_gateway import convert
from services.chain_gateway.contract_reads import ContractReads
from services.chain_gateway.contracts import Contracts
from services.chain_gateway.intents import Intents
from services.chain_gateway.message_signing import MessageSigner
from services.chain_gateway.nodes import NodePool
from services.chain_gateway.retained import Retained
from services.chain_gateway.servicer_chain import ChainServicer
from services.chain_gateway.state import StateFollower
from services.chain_gateway.transaction_watch import TransactionWatch
from services.chain_gateway.wallet_transactions import WalletTransactions


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
        transactions: TransactionWatch,
    ) -> None:
        super().__init__(database, nodes, contracts, state, reads)
        self._intents = intents
        self._messages = messages
        self._wallets = wallets
        self._transactions = transactions
        self._retained = Retained(database)

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

    async def ListSignedQuotes(
        self, request: pb.ListSignedQuotesRequest, context: Context
    ) -> pb.ListSignedQuotesResponse:
        """Every quote that was signed, a page at a time."""
        return await self._retained.signed_quotes(request)

    async def ListSignedVouchers(
        self, request: pb.ListSignedVouchersRequest, context: Context
    ) -> pb.ListSignedVouchersResponse:
        """Every voucher that was signed, a page at a time."""
        return await self._retained.signed_vouchers(request)

    async def ListSettlementIntents(
        self, request: pb.ListSettlementIntentsRequest, context: Context
    ) -> pb.ListSettlementIntentsResponse:
        """Every settlement that was asked for, a page at a time."""
        return await self._retained.settlement_intents(request)

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
        """A transaction that went through us, or any that a node knows."""
        return pb.GetTransactionResponse(transaction=await self._transactions.get(request.txid))

    async def WatchTransaction(
        self, request: pb.WatchTransactionRequest, context: Context
    ) -> AsyncIterator[pb.WatchTransactionResponse]:
        """The same, then every change, until it has ended."""
        async for transaction in self._transactions.watch(request.txid):
            yield pb.WatchTransactionResponse(transaction=transaction)
