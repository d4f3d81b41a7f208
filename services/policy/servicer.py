"""The policy service over gRPC: converts, calls, replies."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from bithedge.policy.v1 import policy_pb2, policy_service_pb2_grpc
from bithedge.policy.v1 import policy_service_pb2 as pb

from kernel.ids import parse_resource_name
from kernel.rpc.caller import current_caller
from kernel.rpc.interceptors import Context
from services.policy import convert, convert_healing
from services.policy.creation import Creation
from services.policy.domain.policy import COLLECTION
from services.policy.exercise import Exercise, check_activation_number
from services.policy.expiry import Batches
from services.policy.feeds import Feeds
from services.policy.healing import Healing
from services.policy.listing import Listing
from services.policy.reading import Reading
from services.policy.sources import Sources


@dataclass(frozen=True)
class Parts:
    """What the servicer calls."""

    creation: Creation
    exercise: Exercise
    batches: Batches
    reading: Reading
    listing: Listing
    feeds: Feeds
    sources: Sources
    healing: Healing


class PolicyServicer(policy_service_pb2_grpc.PolicyServiceServicer):
    """`bithedge.policy.v1.PolicyService`."""

    def __init__(self, parts: Parts) -> None:
        self._creation = parts.creation
        self._exercise = parts.exercise
        self._batches = parts.batches
        self._reading = parts.reading
        self._listing = parts.listing
        self._feeds = parts.feeds
        self._sources = parts.sources
        self._healing = parts.healing

    async def GetQuote(self, request: pb.GetQuoteRequest, context: Context) -> pb.GetQuoteResponse:
        """An indicative quote."""
        offer = await self._creation.offer(convert.terms_from(request.terms))
        return pb.GetQuoteResponse(quote=convert.quote_message(offer.quote, offer.tip, offer.room))

    async def CreatePolicy(self, request: pb.CreatePolicyRequest, context: Context) -> pb.CreatePolicyResponse:
        """A binding quote."""
        return await self._creation.create(current_caller().principal, request)

    async def ActivatePolicy(self, request: pb.ActivatePolicyRequest, context: Context) -> pb.ActivatePolicyResponse:
        """Records the holder's request."""
        return await self._exercise.activate(current_caller().principal, request)

    async def PreviewSettlement(
        self, request: pb.PreviewSettlementRequest, context: Context
    ) -> pb.PreviewSettlementResponse:
        """What activation would pay now."""
        return await self._reading.preview(request.name, current_caller())

    async def ExplainPremium(self, request: pb.ExplainPremiumRequest, context: Context) -> pb.ExplainPremiumResponse:
        """How a premium was made."""
        return await self._reading.explain_premium(request.name, current_caller())

    async def GetPolicy(self, request: pb.GetPolicyRequest, context: Context) -> pb.GetPolicyResponse:
        """A policy by its name."""
        return pb.GetPolicyResponse(policy=await self._get(request.name))

    async def GetPolicyByOnchainId(
        self, request: pb.GetPolicyByOnchainIdRequest, context: Context
    ) -> pb.GetPolicyByOnchainIdResponse:
        """A policy by its number in the contract."""
        policy = await self._reading.get_by_onchain_id(request.onchain_id, current_caller())
        return pb.GetPolicyByOnchainIdResponse(policy=policy)

    async def ListPolicies(self, request: pb.ListPoliciesRequest, context: Context) -> pb.ListPoliciesResponse:
        """A page of policies."""
        return await self._listing.list(request, current_caller())

    async def ListExpiringPolicies(
        self, request: pb.ListExpiringPoliciesRequest, context: Context
    ) -> pb.ListExpiringPoliciesResponse:
        """A page of policies by expiration."""
        return await self._listing.list_expiring(request, current_caller())

    async def GetPlatformStats(
        self, request: pb.GetPlatformStatsRequest, context: Context
    ) -> pb.GetPlatformStatsResponse:
        """Counts and sums."""
        return await self._reading.stats()

    async def WatchPolicy(
        self, request: pb.WatchPolicyRequest, context: Context
    ) -> AsyncIterator[pb.WatchPolicyResponse]:
        """The policy, then every change."""
        async for response in self._reading.watch(request, current_caller()):
            yield response

    async def WatchPolicies(
        self, request: pb.WatchPoliciesRequest, context: Context
    ) -> AsyncIterator[pb.WatchPoliciesResponse]:
        """A holder's policies, then every change."""
        async for response in self._feeds.watch(request, current_caller()):
            yield response

    async def ListNotifications(
        self, request: pb.ListNotificationsRequest, context: Context
    ) -> pb.ListNotificationsResponse:
        """What a holder is told, from a cursor on."""
        return await self._feeds.list_notifications(request, current_caller())

    async def WatchNotifications(
        self, request: pb.WatchNotificationsRequest, context: Context
    ) -> AsyncIterator[pb.WatchNotificationsResponse]:
        """The same as it comes."""
        async for response in self._feeds.watch_notifications(request, current_caller()):
            yield response

    async def RecordSignedQuote(
        self, request: pb.RecordSignedQuoteRequest, context: Context
    ) -> pb.RecordSignedQuoteResponse:
        """A step of the create workflow."""
        policy_id = parse_resource_name(COLLECTION, request.name)
        await self._creation.record_signed_quote(policy_id, request.signature, request.prepared_transaction)
        return pb.RecordSignedQuoteResponse(policy=await self._get(request.name))

    async def FailCreation(self, request: pb.FailCreationRequest, context: Context) -> pb.FailCreationResponse:
        """A step of the create workflow."""
        await self._creation.fail_creation(parse_resource_name(COLLECTION, request.name), request.reason)
        return pb.FailCreationResponse(policy=await self._get(request.name))

    async def RecordActivationReceipt(
        self, request: pb.RecordActivationReceiptRequest, context: Context
    ) -> pb.RecordActivationReceiptResponse:
        """A step of the activate workflow."""
        _, in_the_money = await self._exercise.record_receipt(
            parse_resource_name(COLLECTION, request.name),
            check_activation_number(request.activation_number),
            request.receipt,
        )
        policy = await self._get(request.name)
        return pb.RecordActivationReceiptResponse(policy=policy, in_the_money=in_the_money)

    async def RecordSettlementRefusal(
        self, request: pb.RecordSettlementRefusalRequest, context: Context
    ) -> pb.RecordSettlementRefusalResponse:
        """A step of the settle workflow."""
        await self._exercise.record_refusal(
            parse_resource_name(COLLECTION, request.name),
            check_activation_number(request.activation_number),
            request.contract_error,
            request.reason,
        )
        return pb.RecordSettlementRefusalResponse(policy=await self._get(request.name))

    async def RetrySettlement(self, request: pb.RetrySettlementRequest, context: Context) -> pb.RetrySettlementResponse:
        """An operator starts a settlement again."""
        return await self._exercise.retry(current_caller().principal, request)

    async def ResumeCreation(self, request: pb.ResumeCreationRequest, context: Context) -> pb.ResumeCreationResponse:
        """An operator ends the stop after a deep reorganisation."""
        return await self._creation.resume(current_caller().principal, request)

    async def GetExpiryBatch(self, request: pb.GetExpiryBatchRequest, context: Context) -> pb.GetExpiryBatchResponse:
        """A batch that the sweeper claimed."""
        return pb.GetExpiryBatchResponse(batch=await self._batches.get(request.name))

    async def ReleaseExpiryBatch(
        self, request: pb.ReleaseExpiryBatchRequest, context: Context
    ) -> pb.ReleaseExpiryBatchResponse:
        """A step of the expire workflow."""
        batch = await self._batches.release(request.name, request.reason)
        return pb.ReleaseExpiryBatchResponse(batch=batch)

    async def HealPolicies(self, request: pb.HealPoliciesRequest, context: Context) -> pb.HealPoliciesResponse:
        """A step of the reconcile workflow."""
        healed = await self._healing.heal(convert_healing.ids_from(request.policies))
        return pb.HealPoliciesResponse(healings=[convert_healing.healing_message(one) for one in healed])

    async def ListPolicyTotals(
        self, request: pb.ListPolicyTotalsRequest, context: Context
    ) -> pb.ListPolicyTotalsResponse:
        """A page of totals."""
        return await self._listing.totals(request)

    async def _get(self, name: str) -> policy_pb2.Policy:
        return await self._reading.get(name, current_caller())
