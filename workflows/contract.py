"""What services may know of the workflows: names, ids, inputs, signals. They import this and nothing else.

Ids are never reused. Inputs are plain data, so that they also travel through an outbox row as JSON.
"""

from __future__ import annotations

import dataclasses
import enum
from dataclasses import dataclass, field
from typing import Any, Final

TASK_QUEUE: Final = "bithedge"


class SearchAttribute(enum.StrEnum):
    """Search attributes (all Keyword) by which operators find a workflow."""

    POLICY_ID = "PolicyId"
    HOLDER = "Holder"
    POLICY_STATE = "PolicyState"
    TIER = "Tier"


class WorkflowName(enum.StrEnum):
    """Workflow types."""

    CREATE_POLICY = "CreatePolicy"
    ACTIVATE_POLICY = "ActivatePolicy"
    SETTLE_POLICY = "SettlePolicy"
    EXPIRE_POLICIES = "ExpirePolicies"
    PUBLISH_PRICE = "PublishPrice"
    DEPOSIT_LIQUIDITY = "DepositLiquidity"
    WITHDRAW_LIQUIDITY = "WithdrawLiquidity"
    RECONCILE = "Reconcile"


class SignalName(enum.StrEnum):
    """Signals; each takes one string, the state that the chain decided (`ACTIVE`, `SETTLED`, `PAID`, ...)."""

    CREATION_ENDED = "creation_ended"
    SETTLEMENT_ENDED = "settlement_ended"
    WITHDRAWAL_ENDED = "withdrawal_ended"


class UpdateName(enum.StrEnum):
    """Updates."""

    # Of CreatePolicy: answers when the signed quote is stored or the creation has failed.
    AWAIT_QUOTE = "await_quote"


@dataclass(frozen=True)
class Start:
    """One workflow to start, once."""

    workflow: WorkflowName
    workflow_id: str
    input: Any
    attributes: dict[SearchAttribute, str] = field(default_factory=dict)

    def payload(self) -> dict[str, Any]:
        """For an outbox row of kind `start`, delivered by kernel.temporal."""
        return {
            "workflow": str(self.workflow),
            "workflow_id": self.workflow_id,
            "task_queue": TASK_QUEUE,
            "input": dataclasses.asdict(self.input),
            "attributes": {str(name): value for name, value in self.attributes.items()},
        }


@dataclass(frozen=True)
class Signal:
    """One signal to a workflow that may have ended already."""

    workflow_id: str
    signal: SignalName
    argument: str

    def payload(self) -> dict[str, Any]:
        """For an outbox row of kind `signal`, delivered by kernel.temporal."""
        return {"workflow_id": self.workflow_id, "signal": str(self.signal), "argument": self.argument}


@dataclass(frozen=True)
class PolicyLabels:
    """What operators search a policy's workflows by. `policy` is `policies/{id}`, tier and state enum names."""

    policy: str
    holder: str
    tier: str
    state: str

    def attributes(self) -> dict[SearchAttribute, str]:
        """As search attributes."""
        return {
            SearchAttribute.POLICY_ID: self.policy.rpartition("/")[2],
            SearchAttribute.HOLDER: self.holder,
            SearchAttribute.TIER: self.tier,
            SearchAttribute.POLICY_STATE: self.state,
        }


@dataclass(frozen=True)
class CreatePolicyInput:
    """`public_key_hex` is the wallet's compressed key, empty when unknown."""

    labels: PolicyLabels
    public_key_hex: str = ""


@dataclass(frozen=True)
class ActivatePolicyInput:
    """One activation; the request as it was recorded."""

    labels: PolicyLabels
    activation_number: int
    request_burn_height: int
    # Unix seconds of market time.
    request_market_time: float


@dataclass(frozen=True)
class SettlePolicyInput:
    """One settlement on the stored receipt of an activation; `run` counts operators' retries from 0.

    `attempt` is where a workflow that grew too long goes on in a new one of the same id.
    """

    labels: PolicyLabels
    activation_number: int
    run: int = 0
    attempt: int = 0


@dataclass(frozen=True)
class ExpirePoliciesInput:
    """One batch: `expiryBatches/{id}`."""

    batch: str
    expiration_burn_height: int


@dataclass(frozen=True)
class PublishPriceInput:
    """One round; `feed` is the number of the Feed enum."""

    feed: int
    round: int


@dataclass(frozen=True)
class DepositLiquidityInput:
    """One final deposit: `deposits/{id}`."""

    deposit: str
    provider: str
    tier: str


@dataclass(frozen=True)
class WithdrawLiquidityInput:
    """One withdrawal: `withdrawals/{id}`."""

    withdrawal: str
    provider: str
    tier: str


@dataclass(frozen=True)
class ReconcileInput:
    """`reconciliations/{id}`; empty when the schedule starts it: then the run's id names it."""

    reconciliation: str = ""


def _last(name: str) -> str:
    return name.rpartition("/")[2]


def create_policy_workflow_id(policy: str) -> str:
    """`create/{policy}`."""
    return f"create/{_last(policy)}"


def activate_policy_workflow_id(policy: str, activation_number: int) -> str:
    """`activate/{policy}/{n}`."""
    return f"activate/{_last(policy)}/{activation_number}"


def settle_policy_workflow_id(policy: str, activation_number: int, run: int = 0) -> str:
    """`settle/{policy}/{n}`; an operator's retry appends `/retry-{run}`."""
    suffix = f"/retry-{run}" if run else ""
    return f"settle/{_last(policy)}/{activation_number}{suffix}"


def start_create_policy(given: CreatePolicyInput) -> Start:
    """Starts the creation of a stored PENDING_CREATION policy."""
    workflow_id = create_policy_workflow_id(given.labels.policy)
    return Start(WorkflowName.CREATE_POLICY, workflow_id, given, given.labels.attributes())


def start_activate_policy(given: ActivatePolicyInput) -> Start:
    """Starts one recorded activation."""
    workflow_id = activate_policy_workflow_id(given.labels.policy, given.activation_number)
    return Start(WorkflowName.ACTIVATE_POLICY, workflow_id, given, given.labels.attributes())


def start_settle_policy(given: SettlePolicyInput) -> Start:
    """Starts a settlement again, for an operator."""
    workflow_id = settle_policy_workflow_id(given.labels.policy, given.activation_number, given.run)
    return Start(WorkflowName.SETTLE_POLICY, workflow_id, given, given.labels.attributes())


def start_expire_policies(given: ExpirePoliciesInput) -> Start:
    """Starts the expiry of a claimed batch: `expire/{batch}`."""
    return Start(WorkflowName.EXPIRE_POLICIES, f"expire/{_last(given.batch)}", given)


def start_publish_price(feed_name: str, given: PublishPriceInput) -> Start:
    """Starts a publication: `publish/{feed}/{round}`, the feed as `BTC_USD`."""
    return Start(WorkflowName.PUBLISH_PRICE, f"publish/{feed_name}/{given.round}", given)


def start_deposit_liquidity(given: DepositLiquidityInput) -> Start:
    """Starts the pricing of a final deposit: `deposit/{id}`."""
    attributes = {SearchAttribute.HOLDER: given.provider, SearchAttribute.TIER: given.tier}
    return Start(WorkflowName.DEPOSIT_LIQUIDITY, f"deposit/{_last(given.deposit)}", given, attributes)


def start_withdraw_liquidity(given: WithdrawLiquidityInput) -> Start:
    """Starts a withdrawal: `withdraw/{id}`."""
    attributes = {SearchAttribute.HOLDER: given.provider, SearchAttribute.TIER: given.tier}
    return Start(WorkflowName.WITHDRAW_LIQUIDITY, f"withdraw/{_last(given.withdrawal)}", given, attributes)


def start_reconcile(given: ReconcileInput) -> Start:
    """Starts a reconciliation now: `reconcile/{id}`."""
    return Start(WorkflowName.RECONCILE, f"reconcile/{_last(given.reconciliation)}", given)
