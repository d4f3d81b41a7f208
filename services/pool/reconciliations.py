"""Reconciliation: the ledger as it stood at a height, compared with contracts and policy service, and healed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import grpc
from bithedge.chain_gateway.v1 import chain_event_pb2
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2_grpc as gateway_grpc
from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.clock import wall_now
from kernel.database import Database
from kernel.errors import FailedPrecondition
from kernel.log import get_logger
from services.pool import healing, metrics, store, store_journal, store_reports, tables
from services.pool.comparison import Compared, Snapshot, compare_books
from services.pool.convert_reports import difference_json
from services.pool.domain.likely_cause import LikelyCause
from services.pool.domain.reconciliation import Difference

# These the chain's events may put right.
_FROM_EVENTS: Final = (LikelyCause.EVENT_MISSED, LikelyCause.UNEXPLAINED_PAYMENT)


class Reconciliations:
    """Makes reports, and heals what the chain proves."""

    def __init__(self, database: Database, gateway: grpc.aio.Channel) -> None:
        self._database = database
        self._gateway = gateway_grpc.ChainGatewayServiceStub(gateway)

    async def reconcile(self, report_id: str, snapshot: Snapshot) -> tables.Reconciliation:
        """The report of this name, made now or before.

        FailedPrecondition BOOKS_BEHIND while ledger or policy service have not taken in what was final at the
        snapshot, or the policy service is further than the ledger. Unavailable where the chain's events are needed and
        the gateway does not answer.
        """
        async with self._database.transaction() as session:
            stored = await store_reports.get_report(session, report_id)
            if stored is not None:
                return stored
            # One statement, one view of the books: the projector need not wait for it.
            faults = await store_journal.faults(session, store_reports.MOST_OF_A_KIND)
            cursor = await _cursor(session, snapshot)
            compared = await compare_books(session, snapshot, cursor.projected_burn_height, faults)
        missed: Sequence[chain_event_pb2.ChainEvent] = ()
        if any(difference.cause in _FROM_EVENTS for difference in compared.differences):
            missed = await healing.missed_events(self._database, self._gateway, cursor.projected_burn_height)
        async with self._database.transaction() as session:
            return await _heal(session, report_id, snapshot, compared, missed, faults)


async def _heal(
    session: AsyncSession,
    report_id: str,
    snapshot: Snapshot,
    compared: Compared,
    missed: Sequence[chain_event_pb2.ChainEvent],
    faults: Sequence[tuple[str, str]],
) -> tables.Reconciliation:
    cursor = await _cursor(session, snapshot)
    stored = await store_reports.get_report(session, report_id)
    if stored is not None:
        return stored
    height, now = cursor.projected_burn_height, cursor.market_time or wall_now()
    found = compared.differences
    if found:
        for event in missed:
            await healing.take_in(session, event, now)
        positions = await store_reports.read_positions(session, height)
        await healing.end_what_is_over(session, positions, snapshot.contracts.policies.keys(), height, now)
        await session.flush()
        compared = await compare_books(session, snapshot, height, faults)
        found = _told(found, compared.differences)
    row = tables.Reconciliation(
        id=report_id,
        block_hash=snapshot.block_hash,
        burn_height=snapshot.burn_height,
        differences=[difference_json(difference) for difference in found],
        policies_compared=compared.policies,
        accounts_compared=3 * len(snapshot.contracts.sums),
    )
    session.add(row)
    _tell(found)
    return row


async def _cursor(session: AsyncSession, snapshot: Snapshot) -> tables.Cursor:
    """The books' cursor; cursor and tiers stay locked until the end of the transaction."""
    cursor = await store.read_cursor(session, lock=True)
    projected, policies = cursor.projected_burn_height, snapshot.policies_burn_height
    if min(projected, policies) < snapshot.final_burn_height or projected < policies:
        raise FailedPrecondition(
            "BOOKS_BEHIND",
            "the books have not followed the chain to the snapshot yet",
            final_burn_height=snapshot.final_burn_height,
            ledger=projected,
            policies=policies,
        )
    # Whoever prices or reserves waits, so that accounts and rows are read at one moment.
    await store.lock_tiers(session)
    return cursor


def _told(found: Sequence[Difference], left: Sequence[Difference]) -> list[Difference]:
    """What was found and is no more is healed; what is left and events should have explained, they do not."""
    still = {(difference.kind, difference.subject) for difference in left}
    healed = [
        replace(difference, healed=True) for difference in found if (difference.kind, difference.subject) not in still
    ]
    unexplained = {LikelyCause.EVENT_MISSED: LikelyCause.NOT_FROM_EVENTS}
    asked = [replace(difference, cause=unexplained.get(difference.cause, difference.cause)) for difference in left]
    return [*asked, *healed]


def _tell(differences: Sequence[Difference]) -> None:
    healed = [difference for difference in differences if difference.healed]
    metrics.DIFFERENCES.labels("healed").set(len(healed))
    metrics.DIFFERENCES.labels("person").set(len(differences) - len(healed))
    for difference in healed:
        metrics.HEALED.labels(difference.cause).inc()
    for difference in differences:
        get_logger().warning(
            "books differ",
            kind=difference.kind,
            subject=difference.subject,
            cause=difference.cause,
            healed=difference.healed,
        )
