"""Quotes and creations: from what a holder asks for to a policy that waits for its payment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from bithedge.policy.v1 import policy_service_pb2 as pb
from bithedge.type.v1 import transaction_pb2
from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.clock import wall_now
from kernel.database import Database
from kernel.errors import AlreadyExists, FailedPrecondition, InvalidArgument
from kernel.idempotency import claim, complete
from kernel.ids import check_request_id, new_id
from kernel.outbox import post
from kernel.temporal import START
from kernel.units import Token
from services.policy import convert, store
from services.policy.domain.activation import SIGNATURE_BYTES, KnownTip
from services.policy.domain.errors import Reason
from services.policy.domain.parameters import Parameters
from services.policy.domain.policy import Origin, Policy, birth, move, touch
from services.policy.domain.quote import (
    Quote,
    Room,
    breakdown_values,
    check_premium,
    check_terms,
    make_quote,
)
from services.policy.domain.tiers import Terms
from services.policy.domain.transitions import Actor, Cause, PolicyState
from services.policy.domain.utilization import charge_utilization
from services.policy.launcher import CreationLauncher
from services.policy.metrics import QUOTES
from services.policy.sources import Sources, known_tip
from services.policy.store_projection import Stream, read_projection, set_stop_reason
from services.policy.store_queries import read_record
from services.policy.tables import Outbox, Request
from workflows.contract import CreatePolicyInput, Start, start_create_policy

_PUBLIC_KEY_BYTES: Final = 33


@dataclass(frozen=True)
class Offer:
    """A quote with the tip, the parameters and the pool's room (None where it did not answer) that it was made at."""

    quote: Quote
    tip: KnownTip
    parameters: Parameters
    room: Room | None


class Creation:
    """What the service does until a policy is paid."""

    def __init__(self, database: Database, sources: Sources, launcher: CreationLauncher, vault: str) -> None:
        self._database = database
        self._sources = sources
        self._launcher = launcher
        self._vault = vault

    async def offer(self, terms: Terms) -> Offer:
        """An indicative quote now. Refused unless tip, prices and volatility can be trusted."""
        check_terms(terms)
        tip = known_tip(self._sources.tips.tip)
        if tip.is_stale(wall_now()):
            raise FailedPrecondition(Reason.TIP_STALE, "the tip of the chain is too old to quote on")
        parameters = await self._sources.parameters()
        quote = make_quote(terms, await self._sources.market(), parameters)
        room = await self._sources.room(quote.admission.bounds.tier, terms.token)
        QUOTES.labels(quote.admission.bounds.tier.name, terms.token.name).inc()
        return Offer(charge_utilization(quote, room, parameters), tip, parameters, room)

    async def create(self, principal: str, request: pb.CreatePolicyRequest) -> pb.CreatePolicyResponse:
        """A binding quote; the same request again answers the same policy."""
        check_request_id(request.request_id)
        _check_public_key(request.public_key)
        answer = await self._answer_of(principal, request)
        if answer is None:
            answer = await self._accept(principal, request)
        if answer.policy.state != convert.PENDING_CREATION or answer.policy.HasField("prepared_transaction"):
            return answer
        policy_id = answer.policy.name.rpartition("/")[2]
        await self._await_quote(policy_id, request.public_key)
        return await self._final_answer(principal, request, policy_id)

    async def _answer_of(self, principal: str, request: pb.CreatePolicyRequest) -> pb.CreatePolicyResponse | None:
        """What a repeat is answered, before a new price could refuse it; None for a new request."""
        key = (principal, request.DESCRIPTOR.full_name, request.request_id)
        async with self._database.transaction() as session:
            if await session.get(Request, key) is None:
                return None
            return await claim(session, Request, principal, request, request.request_id, pb.CreatePolicyResponse)

    async def _accept(self, principal: str, request: pb.CreatePolicyRequest) -> pb.CreatePolicyResponse:
        terms = convert.terms_from(request.terms)
        offer = await self.offer(terms)
        if "creation" in offer.parameters.paused:
            raise FailedPrecondition(Reason.CREATION_PAUSED, "the contracts accept no new policies now")
        check_premium(offer.quote, convert.optional_token(request.max_premium.token), request.max_premium.base_units)
        async with self._database.transaction() as session:
            await _check_not_stopped(session)
            answer = await claim(session, Request, principal, request, request.request_id, pb.CreatePolicyResponse)
            if answer is not None:
                return answer
            policy = await self._insert(session, principal, offer, request.public_key)
            response = await self._response(session, policy)
            await complete(session, Request, principal, request, request.request_id, response)
            return response

    async def _insert(self, session: AsyncSession, principal: str, offer: Offer, public_key: bytes) -> Policy:
        policy = _pending(principal, offer, self._vault)
        origin = Origin(policy.create_time, burn_height=policy.quote_burn_height)
        await store.insert(session, policy, birth(policy, Actor.CALL, Cause.QUOTE_ACCEPTED, origin))
        start = _start(policy, public_key)
        await post(session, Outbox, START, start.workflow_id, start.payload())
        return policy

    async def _await_quote(self, policy_id: str, public_key: bytes) -> None:
        async with self._database.transaction() as session:
            policy = await store.get(session, policy_id)
        if policy.state is PolicyState.PENDING_CREATION and not policy.quote_signature:
            await self._launcher.await_quote(_start(policy, public_key))

    async def _final_answer(
        self, principal: str, request: pb.CreatePolicyRequest, policy_id: str
    ) -> pb.CreatePolicyResponse:
        async with self._database.transaction() as session:
            response = await self._response(session, await store.get(session, policy_id))
            await complete(session, Request, principal, request, request.request_id, response)
            return response

    async def _response(self, session: AsyncSession, policy: Policy) -> pb.CreatePolicyResponse:
        record = await read_record(session, policy)
        tip = self._sources.tip_or_none()
        return pb.CreatePolicyResponse(policy=convert.policy_message(record, tip, for_signing=True))

    async def resume(self, principal: str, request: pb.ResumeCreationRequest) -> pb.ResumeCreationResponse:
        """Lets policies be created again; answers why they could not."""
        async with self._database.transaction() as session:
            answer = await claim(session, Request, principal, request, request.request_id, pb.ResumeCreationResponse)
            if answer is not None:
                return answer
            projection = await read_projection(session, Stream.FINAL)
            await set_stop_reason(session, "")
            response = pb.ResumeCreationResponse(stop_reason=projection.stop_reason)
            await complete(session, Request, principal, request, request.request_id, response)
            return response

    async def record_signed_quote(
        self, policy_id: str, signature: bytes, prepared: transaction_pb2.PreparedTransaction
    ) -> Policy:
        """Stores what the holder needs to pay; the same again changes nothing, also after the payment."""
        if len(signature) != SIGNATURE_BYTES:
            raise InvalidArgument.of("signature", "expected 65 bytes")
        prepared_bytes = prepared.SerializeToString(deterministic=True)
        async with self._database.transaction() as session:
            policy = await store.lock(session, policy_id)
            if policy.quote_signature:
                _check_same(policy, signature)
                return policy
            if policy.state is PolicyState.FAILED_CREATION:
                raise FailedPrecondition(Reason.NOT_PENDING, f"creation has failed: {policy.reason}")
            if prepared.principal and prepared.principal != policy.holder_principal:
                raise InvalidArgument.of("prepared_transaction.principal", "is not the holder")
            change = touch(
                policy,
                Origin(wall_now()),
                quote_signature=signature,
                prepared_transaction=prepared_bytes,
            )
            return await store.save(session, change)

    async def fail_creation(self, policy_id: str, reason: str) -> Policy:
        """Ends a creation of which nothing was signed; the same again changes nothing."""
        async with self._database.transaction() as session:
            policy = await store.lock(session, policy_id)
            if policy.state is PolicyState.FAILED_CREATION:
                return policy
            if policy.state is not PolicyState.PENDING_CREATION:
                raise FailedPrecondition(Reason.NOT_PENDING, f"the policy is {policy.state}", state=policy.state)
            if policy.quote_signature:
                raise FailedPrecondition(Reason.QUOTE_SIGNED, "a signed quote ends only when its last height is final")
            change = move(
                policy,
                Actor.WORKFLOW,
                Cause.RESERVATION_REFUSED,
                Origin(wall_now()),
                detail=reason,
                reason=reason,
            )
            return await store.save(session, change)


def _pending(principal: str, offer: Offer, vault: str) -> Policy:
    quote, terms, now = offer.quote, offer.quote.terms, wall_now()
    return Policy(
        id=new_id(),
        holder_principal=principal,
        counterparty_principal=vault,
        token=terms.token,
        tier=quote.admission.bounds.tier,
        protected_amount_sats=terms.protected_amount_sats,
        strike_price_usd_e8=terms.strike_price_usd_e8,
        floor_price_usd_e8=terms.floor_price_usd_e8,
        btc_price_usd_e8=quote.market.btc_price_usd_e8,
        stx_price_usd_e8=quote.market.stx_price_usd_e8 if terms.token is Token.STX else 0,
        premium_base_units=quote.premium,
        fee_base_units=quote.fee,
        max_payout_base_units=quote.max_payout_base_units,
        auto_settle=terms.auto_settle,
        quote_burn_height=offer.tip.burn_height,
        quote_expiration_burn_height=offer.tip.burn_height + offer.parameters["quote.valid-blocks"],
        expiration_burn_height=offer.tip.burn_height + terms.duration_blocks,
        state=PolicyState.PENDING_CREATION,
        create_time=now,
        update_time=now,
        quote_btc_round=quote.market.btc_round,
        quote_stx_round=quote.market.stx_round if terms.token is Token.STX else 0,
        breakdown=breakdown_values(quote.breakdown),
    )


def _start(policy: Policy, public_key: bytes) -> Start:
    return start_create_policy(CreatePolicyInput(convert.labels(policy), public_key.hex()))


async def _check_not_stopped(session: AsyncSession) -> None:
    projection = await read_projection(session, Stream.FINAL)
    if projection.stop_reason:
        raise FailedPrecondition(Reason.CREATION_STOPPED, f"creation is stopped: {projection.stop_reason}")


def _check_public_key(public_key: bytes) -> None:
    if public_key and (len(public_key) != _PUBLIC_KEY_BYTES or public_key[0] not in (2, 3)):
        raise InvalidArgument.of("public_key", "expected a compressed public key of 33 bytes")


def _check_same(policy: Policy, signature: bytes) -> None:
    if policy.quote_signature != signature:
        raise AlreadyExists(Reason.QUOTE_DIFFERS, "another signature is stored for this policy", name=policy.name)
