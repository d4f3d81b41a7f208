"""Delivery of outbox rows to Temporal: starts that happen once, signals to workflows that may have ended."""

from __future__ import annotations

import datetime as dt
from typing import Any, Final

from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from kernel.log import get_logger
from kernel.outbox import DeliveryError, OutboxRecord

# A server that answers the connection and then no call.
_RPC_TIMEOUT: Final = dt.timedelta(seconds=10)
START: Final = "start"
SIGNAL: Final = "signal"
# A signal can overtake the start of its workflow; after so many tries there is no such workflow to wake.
_SIGNAL_ATTEMPTS: Final = 12
# Tries while nothing answered count too, and the start may still wait for its next one: only after Temporal itself
# has said so at three tries in a row, each a minute apart by then, is the start certain to have had its turn.
_NOT_STARTED: Final = "the workflow is not started yet"
_STILL_NOT_STARTED: Final = "the workflow is still not started"


def search_attributes(values: dict[str, str]) -> TypedSearchAttributes:
    """Keyword search attributes by name."""
    pairs: list[SearchAttributePair[Any]] = [
        SearchAttributePair(SearchAttributeKey.for_keyword(name), value) for name, value in values.items()
    ]
    return TypedSearchAttributes(pairs)


class TemporalDelivery:
    """A `Deliver` for kernel.outbox.Relay; rows are made by `payload()` of workflows.contract."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def __call__(self, row: OutboxRecord) -> None:
        """Delivers one row; DeliveryError to try it again."""
        try:
            if row.kind == START:
                await self._start(row.payload)
            elif row.kind == SIGNAL:
                await self._signal(row)
            else:
                raise DeliveryError(f"unknown kind {row.kind}")
        # RuntimeError: what a lazily connected client raises while nothing answers at its address.
        except (RPCError, RuntimeError) as error:
            raise DeliveryError(str(error)) from error

    async def _start(self, payload: dict[str, Any]) -> None:
        try:
            await self._client.start_workflow(
                payload["workflow"],
                payload["input"],
                id=payload["workflow_id"],
                task_queue=payload["task_queue"],
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                search_attributes=search_attributes(payload["attributes"]),
                rpc_timeout=_RPC_TIMEOUT,
            )
        except WorkflowAlreadyStartedError:
            return

    async def _signal(self, row: OutboxRecord) -> None:
        handle = self._client.get_workflow_handle(row.payload["workflow_id"])
        try:
            await handle.signal(row.payload["signal"], row.payload["argument"], rpc_timeout=_RPC_TIMEOUT)
        except RPCError as error:
            if error.status != RPCStatusCode.NOT_FOUND:
                raise
            await self._explain_not_found(row)

    async def _explain_not_found(self, row: OutboxRecord) -> None:
        """Returns if nobody is left to be woken; DeliveryError if the workflow may still be started."""
        handle = self._client.get_workflow_handle(row.payload["workflow_id"])
        try:
            description = await handle.describe(rpc_timeout=_RPC_TIMEOUT)
        except RPCError as error:
            if error.status != RPCStatusCode.NOT_FOUND:
                raise
            if row.attempts < _SIGNAL_ATTEMPTS or row.last_error != _STILL_NOT_STARTED:
                seen = row.last_error in (_NOT_STARTED, _STILL_NOT_STARTED)
                raise DeliveryError(_STILL_NOT_STARTED if seen else _NOT_STARTED) from error
            get_logger().info("nobody to signal", workflow_id=row.payload["workflow_id"])
            return
        if description.status == WorkflowExecutionStatus.RUNNING:
            raise DeliveryError("the workflow is running but was not found")
