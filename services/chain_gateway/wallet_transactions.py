"""Transactions that users sign: prepared here, compared with what was prepared when they come back, broadcast."""

from __future__ import annotations

import datetime as dt
from typing import Final

from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as pb

from kernel import idempotency
from kernel.clock import wall_now
from kernel.database import Database
from kernel.errors import FailedPrecondition, NotFound, PermissionDenied
from kernel.ids import new_id, parse_resource_name
from kernel.rpc.caller import Caller, Role
from services.chain_gateway import convert, convert_terms, store_transactions
from services.chain_gateway.contract_calls import Call, wallet_call
from services.chain_gateway.contracts import Contracts
from services.chain_gateway.domain.confirmation import TransactionState, moved
from services.chain_gateway.fees import Fees
from services.chain_gateway.message_signing import MessageSigner
from services.chain_gateway.nodes import NodePool
from services.chain_gateway.signed_check import check_signed
from services.chain_gateway.sponsorship import Sponsorship
from services.chain_gateway.stacks.post_condition import PostConditionMode
from services.chain_gateway.stacks.transaction import Transaction, pending_sponsor, serialize_transaction
from services.chain_gateway.tables import ChainTransaction, PreparedTransaction, Request
from services.chain_gateway.user_broadcasts import UserBroadcasts
from services.chain_gateway.wallet_accounts import Unsigned, unsigned_account

# Until the call that stored it has sent it, nobody else shall.
_OWN_SECONDS: Final = 15


class WalletTransactions:
    """Serves PrepareTransaction and SubmitSignedTransaction."""

    def __init__(
        self,
        database: Database,
        nodes: NodePool,
        contracts: Contracts,
        fees: Fees,
        messages: MessageSigner,
        broadcasts: UserBroadcasts,
        sponsorship: Sponsorship,
    ) -> None:
        self._database = database
        self._nodes = nodes
        self._contracts = contracts
        self._fees = fees
        self._messages = messages
        self._broadcasts = broadcasts
        self._sponsorship = sponsorship

    async def prepare(self, caller: Caller, request: pb.PrepareTransactionRequest) -> pb.PrepareTransactionResponse:
        """All that a wallet needs; a repeat answers what the first call did."""
        principal = caller.acting_for(request.principal)
        sender = convert_terms.account("principal", principal, self._contracts)
        account = unsigned_account(self._contracts, sender, request)
        call = wallet_call(self._contracts, sender, request)
        if request.sponsored:
            self._sponsorship.check_offered()
        await self._messages.check_signed(request)
        nonces = await self._nodes.ask(lambda node: node.nonces(sender.text))
        row = PreparedTransaction(
            id=new_id(),
            principal=sender.text,
            contract=call.payload.contract_name,
            function=call.payload.function_name,
            payload=call.payload_bytes,
            post_conditions=call.post_condition_bytes,
            suggested_fee_ustx=0 if request.sponsored else await self._fees.suggest(call),
            suggested_nonce=nonces.possible_next,
            sponsored=request.sponsored,
        )
        unsigned = self._unsigned(row, call, account)
        response = pb.PrepareTransactionResponse(prepared_transaction=convert.prepared(row, self._contracts, unsigned))
        async with self._database.transaction() as session:
            stored = await idempotency.claim(
                session, Request, caller.principal, request, request.request_id, pb.PrepareTransactionResponse
            )
            if stored is not None:
                return stored
            session.add(row)
            await idempotency.complete(session, Request, caller.principal, request, request.request_id, response)
        return response

    def _unsigned(self, row: PreparedTransaction, call: Call, account: Unsigned | None) -> bytes:
        if account is None:
            return b""
        condition = account(row.suggested_nonce, row.suggested_fee_ustx)
        transaction = Transaction(
            self._contracts.network,
            condition,
            call.payload,
            call.post_conditions,
            PostConditionMode.DENY,
            sponsor=pending_sponsor() if row.sponsored else None,
        )
        return serialize_transaction(transaction)

    async def submit(self, caller: Caller, request: pb.SubmitSignedTransactionRequest) -> ChainTransaction:
        """Broadcasts bytes that are what was prepared; the same bytes again answer the same transaction."""
        identifier = parse_resource_name("preparedTransactions", request.prepared_transaction, "prepared_transaction")
        async with self._database.transaction() as session:
            prepared = await session.get(PreparedTransaction, identifier)
        if prepared is None:
            raise NotFound("UNKNOWN_PREPARED_TRANSACTION", "there is no such prepared transaction")
        if not caller.has(Role.SERVICE) and prepared.principal != caller.principal:
            raise PermissionDenied("NOT_YOURS", "the transaction was prepared for another principal")
        transaction = check_signed(self._contracts, prepared, request.signed_transaction, self._fees.cap_ustx)
        if prepared.sponsored:
            return await self._sponsorship.submit(prepared, transaction)
        row = ChainTransaction(
            txid=transaction.txid,
            prepared_id=prepared.id,
            sender=prepared.principal,
            nonce=transaction.nonce,
            fee_ustx=transaction.fee_ustx,
            contract=prepared.contract,
            function=prepared.function,
            raw=request.signed_transaction,
            state=TransactionState.SIGNED,
            sends=1,
            due_time=wall_now() + dt.timedelta(seconds=_OWN_SECONDS),
        )
        return await self._store_and_send(row)

    async def _store_and_send(self, row: ChainTransaction) -> ChainTransaction:
        async with self._database.transaction() as session:
            is_new = await store_transactions.add_if_new(session, row)
            known = await store_transactions.get(session, row.txid)
        assert known is not None
        if is_new or known.state == TransactionState.DROPPED:
            known = await self._send(known, first=is_new)
        return known

    async def _send(self, row: ChainTransaction, *, first: bool) -> ChainTransaction:
        if not first:
            async with self._database.transaction() as session:
                row.state, row.sends = moved(row.state, TransactionState.UNKNOWN), row.sends + 1
                session.add(row)
        rejection = await self._broadcasts.send(row, first=first)
        async with self._database.transaction() as session:
            current = await store_transactions.get(session, row.txid)
        assert current is not None
        if rejection is not None and current.state not in (TransactionState.PENDING, TransactionState.CONFIRMED):
            raise FailedPrecondition(
                "BROADCAST_REJECTED",
                f"the node refused the transaction: {rejection.reason}",
                node_reason=rejection.reason,
                txid=row.txid,
            )
        return current
