"""Calls to the policy service."""

from __future__ import annotations

import grpc
from bithedge.policy.v1 import policy_pb2, policy_service_pb2_grpc
from bithedge.policy.v1 import policy_service_pb2 as pb
from bithedge.type.v1 import price_pb2, transaction_pb2
from temporalio import activity

from workflows import steps
from workflows.failures import service_calls


def state_name(state: policy_pb2.PolicyState.ValueType) -> str:
    """`ACTIVE` for POLICY_STATE_ACTIVE."""
    return policy_pb2.PolicyState.Name(state).removeprefix("POLICY_STATE_")


def _result(policy: policy_pb2.Policy) -> steps.PolicyResult:
    return steps.PolicyResult(policy.name, state_name(policy.state), policy.reason)


class PolicyActivities:
    """Steps that the policy service carries out; each is idempotent there."""

    def __init__(self, policy: grpc.aio.Channel) -> None:
        self._policy = policy_service_pb2_grpc.PolicyServiceStub(policy)

    @activity.defn
    async def record_signed_quote(self, step: steps.RecordQuoteStep) -> steps.PolicyResult:
        """Stores the signature and the transaction to sign."""
        prepared = transaction_pb2.PreparedTransaction.FromString(bytes.fromhex(step.prepared_hex))
        request = pb.RecordSignedQuoteRequest(
            name=step.policy, signature=bytes.fromhex(step.signature_hex), prepared_transaction=prepared
        )
        with service_calls():
            return _result((await self._policy.RecordSignedQuote(request)).policy)

    @activity.defn
    async def refuse_creation(self, step: steps.RefuseCreationStep) -> steps.PolicyResult:
        """Ends a creation of which nothing was signed."""
        request = pb.FailCreationRequest(name=step.policy, reason=step.reason)
        with service_calls():
            return _result((await self._policy.FailCreation(request)).policy)

    @activity.defn
    async def record_activation_receipt(self, step: steps.RecordReceiptStep) -> steps.ActivationDecision:
        """Stores the receipt; the policy service decides what it means."""
        request = pb.RecordActivationReceiptRequest(
            name=step.policy,
            activation_number=step.activation_number,
            receipt=price_pb2.SettlementReceipt.FromString(bytes.fromhex(step.receipt_hex)),
        )
        with service_calls():
            answer = await self._policy.RecordActivationReceipt(request)
        return steps.ActivationDecision(answer.in_the_money, state_name(answer.policy.state))

    @activity.defn
    async def record_settlement_refusal(self, step: steps.RefusedSettlementStep) -> steps.PolicyResult:
        """Tells what the contract refused; SETTLING in the answer asks for another attempt."""
        request = pb.RecordSettlementRefusalRequest(
            name=step.policy,
            activation_number=step.activation_number,
            contract_error=step.contract_error,
            reason=step.reason,
        )
        with service_calls():
            return _result((await self._policy.RecordSettlementRefusal(request)).policy)

    @activity.defn
    async def release_expiry_batch(self, step: steps.ReleaseBatchStep) -> steps.BatchResult:
        """Gives a refused batch back."""
        request = pb.ReleaseExpiryBatchRequest(name=step.batch, reason=step.reason)
        with service_calls():
            return steps.BatchResult((await self._policy.ReleaseExpiryBatch(request)).batch.open_count)
