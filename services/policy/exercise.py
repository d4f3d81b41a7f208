"""Activation and settlement: requests, receipts, refusals, retries. Each is one transaction."""

from __future__ import annotations

import dataclasses
import datetime as dt

from bithedge.policy.v1 import policy_service_pb2 as pb
from bithedge.type.v1 import price_pb2
from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.clock import wall_now
from kernel.database import Database
from kernel.errors import FailedPrecondition, InvalidArgument
from kernel.idempotency import claim, complete
from kernel.ids import parse_resource_name
from kernel.outbox import post
from kernel.temporal import START
from services.policy import convert, store
from services.policy.domain.activation import (
    Activation,
    ActivationState,
    KnownTip,
    check_activatable,
    check_receipt,
    market_time_at,
)
from services.policy.domain.errors import Reason, policy_not_found
from services.policy.domain.policy import COLLECTION, Origin, Policy, move, touch
from services.policy.domain.settlement import is_retried
from services.policy.domain.transitions import Actor, Cause, PolicyState
from services.policy.sources import Sources
from services.policy.store_activations import insert_activation, read_activation, save_activation
from services.policy.store_projection import Stream, read_projection
from services.policy.store_queries import read_record
from services.policy.tables import Outbox, Request
from workflows.contract import (
    ActivatePolicyInput,
    SettlePolicyInput,
    Start,
    start_activate_policy,
    start_settle_policy,
)


def start_of(policy: Policy, activation: Activation) -> Start:
    """The workflow of a judged activation."""
    given = ActivatePolicyInput(
        convert.labels(policy),
        activation.number,
        activation.request_burn_height,
        activation.request_market_time.timestamp(),
    )
    return start_activate_policy(given)


class Exercise:
    """What the service does between an activation and what the chain says of it."""

    def __init__(self, database: Database, sources: Sources) -> None:
        self._database = database
        self._sources = sources

    async def activate(self, principal: str, request: pb.ActivatePolicyRequest) -> pb.ActivatePolicyResponse:
        """Records the request: in time, too late, or to be judged when the tip catches up."""
        policy_id = parse_resource_name(COLLECTION, request.name)
        seen = await self._sources.rounds_seen()
        async with self._database.transaction() as session:
            answer = await claim(session, Request, principal, request, request.request_id, pb.ActivatePolicyResponse)
            if answer is not None:
                return answer
            policy = await store.lock(session, policy_id)
            if policy.holder_principal != principal:
                raise policy_not_found(request.name)
            policy = await self._record_request(session, policy, seen)
            record = await read_record(session, policy)
            message = convert.policy_message(record, await self.tip(session), for_signing=True)
            response = pb.ActivatePolicyResponse(policy=message)
            await complete(session, Request, principal, request, request.request_id, response)
            return response

    async def _record_request(self, session: AsyncSession, policy: Policy, seen: tuple[int, int]) -> Policy:
        now, tip = wall_now(), await self.tip(session)
        is_judged = check_activatable(policy, tip, now)
        burn_height = tip.burn_height if tip is not None and is_judged else 0
        activation = Activation(
            policy_id=policy.id,
            number=policy.activation_number + 1,
            state=ActivationState.OPEN if is_judged else ActivationState.UNJUDGED,
            request_time=now,
            request_market_time=market_time_at(now, tip),
            request_burn_height=burn_height,
            btc_round=seen[0],
            stx_round=seen[1],
        )
        await insert_activation(session, activation)
        if not is_judged:
            change = touch(policy, Origin(now), activation_number=activation.number, unjudged_activation=True)
            return await store.save(session, change)
        return await open_activation(session, policy, activation, Actor.CALL, Cause.HOLDER_ACTIVATED, now)

    async def tip(self, session: AsyncSession) -> KnownTip | None:
        """The tip that is followed, else the one that came with the last events, else none."""
        return self._sources.tip_or_none() or (await read_projection(session, Stream.FINAL)).tip

    async def record_receipt(
        self, policy_id: str, number: int, receipt: price_pb2.SettlementReceipt
    ) -> tuple[Policy, bool]:
        """Stores what decides the activation. True: in the money and still to be settled."""
        data = receipt.SerializeToString(deterministic=True)
        async with self._database.transaction() as session:
            policy = await store.lock(session, policy_id)
            activation = await read_activation(session, policy, number)
            if check_receipt(policy, activation, convert.receipt_facts(receipt), data):
                policy, activation = await _decide(session, policy, activation, receipt, data)
            is_in_the_money = activation.state is ActivationState.IN_THE_MONEY
            return policy, is_in_the_money and policy.state is PolicyState.SETTLING

    async def record_refusal(self, policy_id: str, number: int, contract_error: int, reason: str) -> Policy:
        """Records a refusal of the contract; the policy stays SETTLING where another attempt may succeed."""
        async with self._database.transaction() as session:
            policy = await store.lock(session, policy_id)
            activation = await read_activation(session, policy, number)
            if policy.state is not PolicyState.SETTLING or number != policy.activation_number:
                return policy
            text = f"u{contract_error} {reason}".strip()
            if is_retried(contract_error):
                return await store.save(session, touch(policy, Origin(wall_now()), reason=text))
            tip = await self.tip(session)
            is_before = tip is not None and tip.burn_height <= policy.expiration_burn_height
            may_return = activation.state is not ActivationState.IN_THE_MONEY and is_before
            cause = Cause.REFUSED_BEFORE_EXPIRATION if may_return else Cause.REFUSED_BY_CONTRACT
            change = move(policy, Actor.WORKFLOW, cause, Origin(wall_now()), detail=text, reason=text)
            return await store.save(session, change)

    async def retry(self, principal: str, request: pb.RetrySettlementRequest) -> pb.RetrySettlementResponse:
        """An operator starts the settlement of a FAILED_SETTLEMENT again, on the same receipt."""
        policy_id = parse_resource_name(COLLECTION, request.name)
        async with self._database.transaction() as session:
            answer = await claim(session, Request, principal, request, request.request_id, pb.RetrySettlementResponse)
            if answer is not None:
                return answer
            policy = await _settle_again(session, await store.lock(session, policy_id), principal)
            record = await read_record(session, policy)
            message = convert.policy_message(record, await self.tip(session), for_signing=False)
            response = pb.RetrySettlementResponse(policy=message)
            await complete(session, Request, principal, request, request.request_id, response)
            return response


async def open_activation(
    session: AsyncSession, policy: Policy, activation: Activation, actor: Actor, cause: Cause, now: dt.datetime
) -> Policy:
    """ACTIVE → SETTLING for a request that was in time, and the start of its workflow."""
    change = move(
        policy,
        actor,
        cause,
        Origin(now, burn_height=activation.request_burn_height),
        activation_number=activation.number,
        activation_burn_height=activation.request_burn_height,
        unjudged_activation=False,
        settlement_run=0,
        reason="",
    )
    policy = await store.save(session, change)
    start = start_of(policy, activation)
    await post(session, Outbox, START, start.workflow_id, start.payload())
    return policy


async def _decide(
    session: AsyncSession,
    policy: Policy,
    activation: Activation,
    receipt: price_pb2.SettlementReceipt,
    data: bytes,
) -> tuple[Policy, Activation]:
    paid = policy.payout_at(receipt.btc_price_usd_e8, receipt.stx_price_usd_e8)
    state = ActivationState.IN_THE_MONEY if paid else ActivationState.OUT_OF_THE_MONEY
    activation = dataclasses.replace(activation, state=state, receipt=data, receive_time=wall_now())
    await save_activation(session, activation)
    is_current = policy.activation_number == activation.number and policy.state is PolicyState.SETTLING
    origin = Origin(wall_now(), burn_height=activation.request_burn_height)
    if is_current and not paid:
        change = move(policy, Actor.WORKFLOW, Cause.OUT_OF_THE_MONEY, origin, reason=str(Cause.OUT_OF_THE_MONEY))
    else:
        change = touch(policy, origin)
    return await store.save(session, change), activation


async def _settle_again(session: AsyncSession, policy: Policy, principal: str) -> Policy:
    if policy.state is not PolicyState.FAILED_SETTLEMENT:
        raise FailedPrecondition(Reason.NOT_FAILED_SETTLEMENT, f"the policy is {policy.state}", state=policy.state)
    activation = await read_activation(session, policy, policy.activation_number)
    if activation.state is not ActivationState.IN_THE_MONEY:
        raise FailedPrecondition(Reason.NO_RECEIPT, "there is no receipt to settle on")
    change = move(
        policy,
        Actor.OPERATOR,
        Cause.SETTLEMENT_RETRIED,
        Origin(wall_now()),
        detail=principal,
        settlement_run=policy.settlement_run + 1,
    )
    policy = await store.save(session, change)
    given = SettlePolicyInput(convert.labels(policy), activation.number, policy.settlement_run)
    start = start_settle_policy(given)
    await post(session, Outbox, START, start.workflow_id, start.payload())
    return policy


def check_activation_number(number: int) -> int:
    """The number if it can be one; InvalidArgument otherwise."""
    if number <= 0:
        raise InvalidArgument.of("activation_number", "must be greater than zero")
    return number
