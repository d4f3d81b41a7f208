"""Calls to the chain gateway: quotes and vouchers to sign, what shall happen on chain, and how it ended."""

from __future__ import annotations

import asyncio
from typing import Final

import grpc
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as pb
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2_grpc
from bithedge.oracle.v1 import oracle_service_pb2, oracle_service_pb2_grpc
from bithedge.policy.v1 import policy_pb2, policy_service_pb2, policy_service_pb2_grpc
from bithedge.type.v1 import price_pb2
from temporalio import activity
from temporalio.exceptions import ApplicationError

from kernel.rpc.channels import remote_stream
from workflows import steps
from workflows.failures import service_calls

_HEARTBEAT_SECONDS: Final = 5.0
_SUCCESS: Final = "success"
_ENDED: Final = (pb.INTENT_STATE_CONFIRMED, pb.INTENT_STATE_ABORTED, pb.INTENT_STATE_CANCELLED)


class ChainGatewayActivities:
    """Steps that the gateway carries out, each under an idempotency key; what they act on is read by name."""

    def __init__(self, gateway: grpc.aio.Channel, policy: grpc.aio.Channel, oracle: grpc.aio.Channel) -> None:
        self._gateway = chain_gateway_service_pb2_grpc.ChainGatewayServiceStub(gateway)
        self._policy = policy_service_pb2_grpc.PolicyServiceStub(policy)
        self._oracle = oracle_service_pb2_grpc.OracleServiceStub(oracle)

    async def _get_policy(self, name: str) -> policy_pb2.Policy:
        return (await self._policy.GetPolicy(policy_service_pb2.GetPolicyRequest(name=name))).policy

    @activity.defn
    async def sign_quote(self, step: steps.PolicyStep) -> steps.SignedQuote:
        """Signs the stored terms of a policy."""
        with service_calls():
            policy = await self._get_policy(step.policy)
            answer = await self._gateway.SignQuote(pb.SignQuoteRequest(terms=policy.quote_terms))
        return steps.SignedQuote(answer.signature.hex())

    @activity.defn
    async def prepare_creation(self, step: steps.PrepareCreationStep) -> steps.PreparedTransaction:
        """Prepares the holder's `create-policy-entry`."""
        with service_calls():
            policy = await self._get_policy(step.policy)
            call = pb.CreatePolicyCall(terms=policy.quote_terms, signature=bytes.fromhex(step.signature_hex))
            request = pb.PrepareTransactionRequest(
                request_id=f"create/{step.policy}",
                principal=policy.holder_principal,
                public_key=bytes.fromhex(step.public_key_hex),
                create_policy=call,
            )
            answer = await self._gateway.PrepareTransaction(request)
        return steps.PreparedTransaction(answer.prepared_transaction.SerializeToString().hex())

    @activity.defn
    async def sign_voucher(self, step: steps.VoucherStep) -> steps.SignedVoucher:
        """Signs the voucher of a priced withdrawal."""
        terms = pb.VoucherTerms.FromString(bytes.fromhex(step.voucher_terms_hex))
        with service_calls():
            answer = await self._gateway.SignVoucher(pb.SignVoucherRequest(terms=terms))
        return steps.SignedVoucher(answer.signature.hex())

    @activity.defn
    async def prepare_withdrawal(self, step: steps.PrepareWithdrawalStep) -> steps.PreparedTransaction:
        """Prepares the provider's `withdraw-from-pool`."""
        terms = pb.VoucherTerms.FromString(bytes.fromhex(step.voucher_terms_hex))
        request = pb.PrepareTransactionRequest(
            request_id=f"withdraw/{terms.withdrawal}",
            principal=terms.provider_principal,
            public_key=bytes.fromhex(step.public_key_hex),
            withdraw=pb.WithdrawCall(terms=terms, signature=bytes.fromhex(step.signature_hex)),
        )
        with service_calls():
            answer = await self._gateway.PrepareTransaction(request)
        return steps.PreparedTransaction(answer.prepared_transaction.SerializeToString().hex())

    @activity.defn
    async def submit_settlement(self, step: steps.SettlementStep) -> steps.Intent:
        """Submits `settle-policy` on the stored receipt, beside published rounds that agree with it."""
        with service_calls():
            policy = await self._get_policy(step.policy)
            call = pb.SettlePolicyCall(
                onchain_id=policy.onchain_id,
                receipt=policy.activation_receipt,
                btc_round=step.rounds.btc_round,
                stx_round=step.rounds.stx_round,
                max_payout=policy.max_payout,
            )
            return await self._submit(step.key, pb.ContractCall(settle_policy=call), f"settle {step.policy}")

    @activity.defn
    async def submit_expiry(self, step: steps.ExpiryStep) -> steps.Intent:
        """Submits `expire-policies` for a claimed batch."""
        receipt = price_pb2.SettlementReceipt.FromString(bytes.fromhex(step.receipt_hex))
        with service_calls():
            answer = await self._policy.GetExpiryBatch(policy_service_pb2.GetExpiryBatchRequest(name=step.batch))
            call = pb.ExpirePoliciesCall(
                onchain_ids=answer.batch.onchain_ids, receipt=receipt, max_payouts=answer.batch.max_payouts
            )
            return await self._submit(step.key, pb.ContractCall(expire_policies=call), f"expire {step.batch}")

    @activity.defn
    async def submit_publication(self, step: steps.PublicationStep) -> steps.Intent:
        """Submits `publish-price` for a signed round."""
        feed = price_pb2.Feed.ValueType(step.feed)
        with service_calls():
            answer = await self._oracle.GetPublication(
                oracle_service_pb2.GetPublicationRequest(feed=feed, round=step.round)
            )
            call = pb.PublishPriceCall(round=answer.signed_round)
            purpose = f"publish {price_pb2.Feed.Name(feed)} {step.round}"
            return await self._submit(step.key, pb.ContractCall(publish_price=call), purpose)

    async def _submit(self, key: str, call: pb.ContractCall, purpose: str) -> steps.Intent:
        answer = await self._gateway.CreateIntent(pb.CreateIntentRequest(key=key, call=call, purpose=purpose))
        return steps.Intent(answer.intent.name)

    @activity.defn
    async def follow_intent(self, step: steps.FollowIntentStep) -> steps.IntentOutcome:
        """Follows an intent to its milestone, heartbeating; a lost stream is a retry."""
        beating = asyncio.ensure_future(_heartbeat())
        try:
            with service_calls():
                call = self._gateway.WatchIntent(pb.WatchIntentRequest(name=step.name))
                async with remote_stream(call) as answers:
                    async for answer in answers:
                        if _reached(answer.intent, step.milestone):
                            return _outcome(answer.intent)
            # A stream that ends early says nothing of the intent.
            raise ApplicationError(f"the stream of {step.name} ended before the intent", type="STREAM_ENDED")
        finally:
            beating.cancel()


async def _heartbeat() -> None:
    while True:
        activity.heartbeat()
        await asyncio.sleep(_HEARTBEAT_SECONDS)


def _mined(intent: pb.Intent) -> list[pb.Transaction]:
    return [transaction for transaction in intent.transactions if transaction.node_status == _SUCCESS]


def _reached(intent: pb.Intent, milestone: steps.IntentMilestone) -> bool:
    if intent.state in _ENDED:
        return True
    return milestone == steps.IntentMilestone.MINED and bool(_mined(intent))


def _outcome(intent: pb.Intent) -> steps.IntentOutcome:
    state = pb.IntentState.Name(intent.state).removeprefix("INTENT_STATE_")
    # The one in a block, which need not be the last: a replacement can lose.
    transactions = _mined(intent) or intent.transactions
    txid = transactions[-1].txid if transactions else ""
    return steps.IntentOutcome(state, txid, intent.contract_error, intent.reason)
