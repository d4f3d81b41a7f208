"""The worker: every workflow and activity on one task queue."""

from __future__ import annotations

from typing import Any, Final

from temporalio.client import Client
from temporalio.worker import Worker

from kernel.process import CollectAfter
from workflows.contract import TASK_QUEUE
from workflows.definitions.activate_policy import ActivatePolicy
from workflows.definitions.create_policy import CreatePolicy
from workflows.definitions.deposit_liquidity import DepositLiquidity
from workflows.definitions.expire_policies import ExpirePolicies
from workflows.definitions.publish_price import PublishPrice
from workflows.definitions.reconcile import Reconcile
from workflows.definitions.settle_policy import SettlePolicy
from workflows.definitions.withdraw_liquidity import WithdrawLiquidity

WORKFLOWS: Final[tuple[type[Any], ...]] = (
    CreatePolicy,
    ActivatePolicy,
    SettlePolicy,
    ExpirePolicies,
    PublishPrice,
    DepositLiquidity,
    WithdrawLiquidity,
    Reconcile,
)

# Most of them only wait for a block; a crash brings many at once, and receipts must not queue behind them.
_ACTIVITIES: Final = 2_000
# Each run has modules, tasks and an event loop of its own, which refer to one another: about 175 objects and 35 kB that
# only a collection frees once it has ended, and since it waits for blocks, mostly one of the oldest. By the thresholds
# of our services that comes after 8,400,000 such objects, 1.7 GB; by these after 90,000, or a quarter more than what
# lives, and costs far less than a hundredth of what runs cost.
COLLECT_AFTER: Final[CollectAfter] = (10_000, 1, 1)


def build_worker(client: Client, *activities: object) -> Worker:
    """A worker for all workflows whose activities are the methods of the given objects."""
    methods = [
        method
        for group in activities
        for name in dir(group)
        if hasattr(method := getattr(group, name), "__temporal_activity_definition")
    ]
    return Worker(
        client,
        task_queue=TASK_QUEUE,
        workflows=WORKFLOWS,
        activities=methods,
        max_concurrent_activities=_ACTIVITIES,
    )
