"""Settles a policy on its stored receipt: submit, follow, and leave the rest to what the chain says."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses

from temporalio import workflow
from temporalio.common import SearchAttributeKey
from temporalio.exceptions import FailureError

with workflow.unsafe.imports_passed_through():
    from workflows import steps
    from workflows.activities.chain_gateway import ChainGatewayActivities
    from workflows.activities.oracle import OracleActivities
    from workflows.activities.policy import PolicyActivities
    from workflows.contract import SearchAttribute, SettlePolicyInput, SignalName, WorkflowName
    from workflows.definitions.options import AWAITED, FOLLOWING, SHORT, refused_pause
    from workflows.definitions.refusals import REFUSED, STEP_ERRORS, refused_outcome

_STATE = SearchAttributeKey.for_keyword(SearchAttribute.POLICY_STATE)
_SETTLING = "SETTLING"


@workflow.defn(name=WorkflowName.SETTLE_POLICY)
class SettlePolicy:
    """`settle/{policy}/{n}`. A new attempt only after the last intent ended ABORTED or CANCELLED."""

    def __init__(self) -> None:
        self._ended = ""

    @workflow.run
    async def run(self, given: SettlePolicyInput) -> steps.PolicyResult:
        """The state in which settlement ended."""
        attempt = given.attempt
        while (outcome := await self._attempt_unless_ended(given, attempt)) is not None:
            if outcome.state == "CONFIRMED":
                await workflow.wait_condition(lambda: bool(self._ended))
                break
            if outcome.state in ("ABORTED", REFUSED):
                result = await self._refused(given, outcome)
                if result.state != _SETTLING:
                    return self._close(given.labels.policy, result.state, result.reason)
            attempt += 1
            await self._pause(attempt)
            # Refusals can go on for weeks; a history that reached the server's limit would end the workflow.
            if not self._ended and workflow.info().is_continue_as_new_suggested():
                workflow.continue_as_new(dataclasses.replace(given, attempt=attempt))
        return self._close(given.labels.policy, self._ended)

    async def _attempt_unless_ended(self, given: SettlePolicyInput, attempt: int) -> steps.IntentOutcome | None:
        """How the attempt ended; None as soon as the chain has decided, whatever this attempt still waits for."""
        attempting = asyncio.ensure_future(self._attempt(given, attempt))
        await workflow.wait_condition(lambda: bool(self._ended) or attempting.done())
        if not self._ended:
            return attempting.result()
        attempting.cancel()
        with contextlib.suppress(asyncio.CancelledError, FailureError):
            await attempting
        return None

    async def _attempt(self, given: SettlePolicyInput, attempt: int) -> steps.IntentOutcome:
        policy = given.labels.policy
        key = f"{workflow.info().workflow_id}/submit/{attempt}"
        try:
            # A step of its own: under one key the call may not change, and other rounds may be nearer a second later.
            rounds = await workflow.execute_activity_method(
                OracleActivities.ensure_published_rounds, steps.PolicyStep(policy), **AWAITED
            )
            intent = await workflow.execute_local_activity_method(
                ChainGatewayActivities.submit_settlement, steps.SettlementStep(policy, rounds, key), **SHORT
            )
        except STEP_ERRORS as error:
            return refused_outcome(error)
        return await workflow.execute_activity_method(
            ChainGatewayActivities.follow_intent,
            steps.FollowIntentStep(intent.name, steps.IntentMilestone.ENDED),
            **FOLLOWING,
        )

    async def _refused(self, given: SettlePolicyInput, outcome: steps.IntentOutcome) -> steps.PolicyResult:
        return await workflow.execute_local_activity_method(
            PolicyActivities.record_settlement_refusal,
            steps.RefusedSettlementStep(
                given.labels.policy, given.activation_number, outcome.contract_error, outcome.reason
            ),
            **SHORT,
        )

    async def _pause(self, attempt: int) -> None:
        with contextlib.suppress(TimeoutError):
            await workflow.wait_condition(lambda: bool(self._ended), timeout=refused_pause(attempt))

    def _close(self, policy: str, state: str, reason: str = "") -> steps.PolicyResult:
        workflow.upsert_search_attributes([_STATE.value_set(state)])
        return steps.PolicyResult(policy, state, reason)

    @workflow.signal(name=SignalName.SETTLEMENT_ENDED)
    def settlement_ended(self, state: str) -> None:
        """What the chain decided."""
        self._ended = state
