"""Creates a policy: reserve, sign, prepare, store; then wait for what the chain decides."""

from __future__ import annotations

from temporalio import workflow
from temporalio.common import SearchAttributeKey

with workflow.unsafe.imports_passed_through():
    from workflows import steps
    from workflows.activities.chain_gateway import ChainGatewayActivities
    from workflows.activities.policy import PolicyActivities
    from workflows.activities.pool import PoolActivities
    from workflows.contract import CreatePolicyInput, SearchAttribute, SignalName, UpdateName, WorkflowName
    from workflows.definitions.options import SHORT
    from workflows.definitions.refusals import STEP_ERRORS, refusal_reason

_STATE = SearchAttributeKey.for_keyword(SearchAttribute.POLICY_STATE)
_PENDING = "PENDING_CREATION"


@workflow.defn(name=WorkflowName.CREATE_POLICY)
class CreatePolicy:
    """`create/{policy}`: open until the policy is ACTIVE or FAILED_CREATION."""

    def __init__(self) -> None:
        self._quote_state = ""
        self._ended = ""

    @workflow.run
    async def run(self, given: CreatePolicyInput) -> steps.PolicyResult:
        """The state in which creation ended."""
        policy = given.labels.policy
        if self._ended:
            # Workers were away for longer than the quote was good: nothing may be reserved for it any more.
            self._quote_state = self._ended
            return await self._close(policy, self._ended)
        reservation = await workflow.execute_local_activity_method(
            PoolActivities.reserve_capacity, steps.PolicyStep(policy), **SHORT
        )
        if not reservation.held:
            return await self._refuse(policy, reservation.reason)
        try:
            quote = await workflow.execute_local_activity_method(
                ChainGatewayActivities.sign_quote, steps.PolicyStep(policy), **SHORT
            )
        except STEP_ERRORS as error:
            return await self._give_back(policy, refusal_reason(error))
        reason = await self._store(given, quote)
        await workflow.wait_condition(lambda: bool(self._ended))
        return await self._close(policy, self._ended, reason)

    async def _store(self, given: CreatePolicyInput, quote: steps.SignedQuote) -> str:
        """Empty, or why the quote did not reach its holder. Once signed it ends by the chain alone, either way."""
        try:
            await self._hand_over(given, quote)
        except STEP_ERRORS as error:
            self._quote_state = _PENDING
            return refusal_reason(error)
        return ""

    async def _hand_over(self, given: CreatePolicyInput, quote: steps.SignedQuote) -> None:
        policy = given.labels.policy
        prepared = await workflow.execute_local_activity_method(
            ChainGatewayActivities.prepare_creation,
            steps.PrepareCreationStep(policy, quote.signature_hex, given.public_key_hex),
            **SHORT,
        )
        result = await workflow.execute_local_activity_method(
            PolicyActivities.record_signed_quote,
            steps.RecordQuoteStep(policy, quote.signature_hex, prepared.prepared_hex),
            **SHORT,
        )
        self._quote_state = result.state

    async def _give_back(self, policy: str, reason: str) -> steps.PolicyResult:
        await workflow.execute_local_activity_method(
            PoolActivities.cancel_reservation, steps.PolicyStep(policy), **SHORT
        )
        return await self._refuse(policy, reason)

    async def _refuse(self, policy: str, reason: str) -> steps.PolicyResult:
        result = await workflow.execute_local_activity_method(
            PolicyActivities.refuse_creation, steps.RefuseCreationStep(policy, reason), **SHORT
        )
        self._quote_state = result.state
        return await self._close(policy, result.state, reason)

    async def _close(self, policy: str, state: str, reason: str = "") -> steps.PolicyResult:
        await workflow.wait_condition(workflow.all_handlers_finished)
        workflow.upsert_search_attributes([_STATE.value_set(state)])
        return steps.PolicyResult(policy, state, reason)

    @workflow.update(name=UpdateName.AWAIT_QUOTE)
    async def await_quote(self) -> str:
        """The policy's state once its quote is stored or refused."""
        await workflow.wait_condition(lambda: bool(self._quote_state))
        return self._quote_state

    @workflow.signal(name=SignalName.CREATION_ENDED)
    def creation_ended(self, state: str) -> None:
        """What the chain decided."""
        self._ended = state
