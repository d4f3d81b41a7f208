"""Calls to the oracle service."""

from __future__ import annotations

import datetime as dt
from typing import Final

import grpc
from bithedge.oracle.v1 import oracle_service_pb2 as pb
from bithedge.oracle.v1 import oracle_service_pb2_grpc
from bithedge.policy.v1 import policy_service_pb2, policy_service_pb2_grpc
from bithedge.type.v1 import money_pb2, price_pb2
from temporalio import activity

from kernel.errors import FailedPrecondition
from kernel.rpc.channels import remote_errors
from workflows import steps
from workflows.activities.awaited import Awaited
from workflows.failures import service_calls

# No good price covers the window: asked again until a person has put that right.
NEEDS_A_PERSON: Final = "EXPIRY_NEEDS_A_PERSON"
# Another receipt of the policy is in the money: it is settled on that alone.
_BINDING: Final = "RECEIPT_IN_THE_MONEY"
_PUBLISHED: Final = ("SUBMITTED", "CONFIRMED")
# The `oracle` contract has the round already: somebody else relayed it, which anyone may after a silence.
_ROUND_EXISTS: Final = 2005


class OracleActivities:
    """Receipts and publications; the oracle answers the same for the same purpose, always."""

    def __init__(self, oracle: grpc.aio.Channel, policy: grpc.aio.Channel) -> None:
        self._oracle = oracle_service_pb2_grpc.OracleServiceStub(oracle)
        self._policy = policy_service_pb2_grpc.PolicyServiceStub(policy)
        self._activation_receipts = Awaited(self._activation_receipt)
        self._expiry_receipts = Awaited(self._oracle.CreateExpiryReceipt, NEEDS_A_PERSON)
        self._rounds = Awaited(self._oracle.EnsurePublishedRounds)

    @activity.defn
    async def create_activation_receipt(self, step: steps.ReceiptStep) -> steps.Receipt:
        """The receipt that decides a request: of the first good price after it, tried again until there is one."""
        with service_calls():
            answer = await self._policy.GetPolicy(policy_service_pb2.GetPolicyRequest(name=step.policy))
            request = pb.CreateActivationReceiptRequest(
                policy=step.policy,
                activation_number=step.activation_number,
                request_burn_height=step.request_burn_height,
                strike_price_usd_e8=answer.policy.strike_price_usd_e8,
                floor_price_usd_e8=answer.policy.floor_price_usd_e8,
                protected_amount_sats=answer.policy.protected_amount_sats,
                settlement_token=answer.policy.settlement_token,
            )
            request.request_market_time.FromDatetime(dt.datetime.fromtimestamp(step.request_market_time, dt.UTC))
            receipt = await self._activation_receipts.answer(request)
        return steps.Receipt(receipt.SerializeToString().hex())

    async def _activation_receipt(self, request: pb.CreateActivationReceiptRequest) -> price_pb2.SettlementReceipt:
        """Its own, or the one in the money that the policy has already, such as for a request made on chain."""
        try:
            with remote_errors():
                return (await self._oracle.CreateActivationReceipt(request)).receipt
        except FailedPrecondition as error:
            if error.reason != _BINDING:
                raise
            number = int(error.metadata["activation_number"])
        purpose = price_pb2.ActivationPurpose(policy=request.policy, activation_number=number)
        return (await self._oracle.GetReceipt(pb.GetReceiptRequest(activation=purpose))).receipt

    @activity.defn
    async def create_expiry_receipt(self, step: steps.ExpiryReceiptStep) -> steps.Receipt:
        """The one receipt of an expiration height; tried again until its window is complete."""
        request = pb.CreateExpiryReceiptRequest(expiration_burn_height=step.expiration_burn_height)
        with service_calls(NEEDS_A_PERSON):
            receipt = (await self._expiry_receipts.answer(request)).receipt
        return steps.Receipt(receipt.SerializeToString().hex())

    @activity.defn
    async def ensure_published_rounds(self, step: steps.PolicyStep) -> steps.PublishedRounds:
        """Published rounds that agree with a policy's receipt; tried again until the chain has them."""
        with service_calls():
            answer = await self._policy.GetPolicy(policy_service_pb2.GetPolicyRequest(name=step.policy))
            receipt = answer.policy.activation_receipt
            in_stx = answer.policy.settlement_token == money_pb2.TOKEN_STX
            request = pb.EnsurePublishedRoundsRequest(
                burn_height=receipt.burn_height,
                btc_price_usd_e8=receipt.btc_price_usd_e8,
                stx_price_usd_e8=receipt.stx_price_usd_e8 if in_stx else 0,
            )
            rounds = await self._rounds.answer(request)
        return steps.PublishedRounds(rounds.btc_round, rounds.stx_round)

    @activity.defn
    async def record_publication(self, step: steps.RecordPublicationStep) -> None:
        """How a publication ended."""
        ended = step.outcome
        published = ended.state in _PUBLISHED or ended.contract_error == _ROUND_EXISTS
        request = pb.RecordPublicationRequest(
            feed=price_pb2.Feed.ValueType(step.feed),
            round=step.round,
            outcome=pb.PUBLICATION_OUTCOME_CONFIRMED if published else pb.PUBLICATION_OUTCOME_REFUSED,
            txid=ended.txid,
            reason=ended.reason,
        )
        with service_calls():
            await self._oracle.RecordPublication(request)
