"""Reconciliation: the ledger as it stood at a height, compared with contracts and policy service, and healed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import grpc
from bithedge.chain_gateway.v1 import chain_event_pb2
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2_grpc as gateway_grpc
from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.clock import wall_now
from kernel.database import Database
from kernel.errors import FailedPrecondition
from kernel.log import get_logger
from kernel.units import Token
from services.pool import (
    evidence,
    healing,
    metrics,
    store,
    store_journal,
    store_position_rows,
    store_reports,
    store_stage,
    store_terms,
    tables,
)
from services.pool.comparison import Books, Snapshot
from services.pool.convert_reports import difference_json
from services.pool.domain import position_rows
from services.pool.domain.likely_cause import LikelyCause
from services.pool.domain.reconciliation import Difference
from services.pool.domain.terms import LEDGER_DIFFERS
from services.pool.staging import check_whole
from services.pool.store_stage import Book

# These the chain's events may put right.
_FROM_EVENTS: Final = (LikelyCause.EVENT_MISSED, LikelyCause.UNEXPLAINED_PAYMENT)


class Reconciliations:
    """Makes reports, and heals what the chain proves."""

    def __init__(self, database: Database, gateway: grpc.aio.Channel) -> None:
        self._database = database
        self._gateway = gateway_grpc.ChainGatewayServiceStub(gateway)

    async def reconcile(self, report_id: str, snapshot: Snapshot) -> tables.Reconciliation:
        """The report of this name, made now or before, of books that are staged for it.

        FailedPrecondition BOOKS_BEHIND while ledger or policy service have not taken in what was final at the
        snapshot, or the policy service is further than the ledger; RECONCILIATION_PAGE_MISSING, or Aborted
        SNAPSHOT_PASSED, where the books are not staged. Unavailable where the chain's events are needed and the gateway
        does not answer.
        """
        report = await self._report(report_id, snapshot)
        async with self._database.transaction() as session:
            await store_stage.lock(session, report_id)
            await store_stage.end(session, report_id)
        return report

    async def _report(self, report_id: str, snapshot: Snapshot) -> tables.Reconciliation:
        # All of it is read as of one moment, and nobody waits for it.
        async with self._database.snapshot() as session:
            stored = await store_reports.get_report(session, report_id)
            if stored is not None:
                return stored
            await check_whole(session, report_id, snapshot.block_hash)
            height = _followed(await store.read_cursor(session), snapshot).projected_burn_height
            faults = await store_journal.faults(session, store_reports.MOST_OF_A_KIND)
            covered = await store_stage.covered(session, report_id)
            compared = await Books(session, report_id, snapshot, height, faults).compare(covered)
        found, missed = compared.differences, list[chain_event_pb2.ChainEvent]()
        if any(difference.cause in _FROM_EVENTS for difference in found):
            missed = await healing.missed_events(self._database, self._gateway, height)
        rows = [difference.subject for difference in found if difference.kind in position_rows.KINDS]
        words = await evidence.chain_words(self._gateway, rows, height) if rows else {}
        async with self._database.transaction() as session:
            await store_stage.lock(session, report_id)
            stored = await store_reports.get_report(session, report_id)
            if stored is not None:
                return stored
            await check_whole(session, report_id, snapshot.block_hash)
            if found:
                found = await _heal(session, report_id, snapshot, _Found(found, missed, words, faults, covered))
            row = _row(report_id, snapshot, found, compared.policies)
            session.add(row)
        _tell(found)
        return row


@dataclass(frozen=True)
class _Found:
    """What was found without a lock, the events that may explain it, and what events say of rows that differ."""

    differences: Sequence[Difference]
    missed: Sequence[chain_event_pb2.ChainEvent]
    words: Mapping[str, position_rows.ChainWord]
    faults: Sequence[tuple[str, str]]
    covered: Mapping[Token, int]


async def _heal(session: AsyncSession, report_id: str, snapshot: Snapshot, given: _Found) -> list[Difference]:
    """What became of the differences. Under the locks only what differed is read again, and the sums."""
    cursor = _followed(await store.read_cursor(session, lock=True), snapshot)
    # Whoever prices or reserves waits, so that accounts and rows are read at one moment.
    await store.lock_tiers(session)
    height, now = cursor.projected_burn_height, cursor.market_time or wall_now()
    # Before events are taken in, which go by the rows.
    changed = _policies(difference for difference in given.differences if difference.kind == LEDGER_DIFFERS)
    await store_terms.put_right(session, report_id, snapshot.final_burn_height, changed)
    rows = {difference.subject for difference in given.differences if difference.kind in position_rows.KINDS}
    lines = await store_position_rows.lines_of(session, rows)
    await store_position_rows.put_right(session, position_rows.proven(lines, given.words))
    for event in given.missed:
        await healing.take_in(session, event, now)
    positions = await store_reports.read_positions(session, height)
    empty = await store_stage.facts_of(session, report_id, Book.CONTRACTS, positions.empty_reservations)
    await healing.end_what_is_over(session, positions, empty, height, now)
    await session.flush()
    policies = _policies(given.differences)
    books = Books(session, report_id, snapshot, height, given.faults)
    left = await books.compare_again(given.covered, policies, rows)
    return position_rows.with_chain(_told(given.differences, left), given.words)


def _policies(differences: Iterable[Difference]) -> set[str]:
    """The ids of those policies that differences are about."""
    subjects = (difference.subject.partition("/") for difference in differences)
    return {identifier for collection, _, identifier in subjects if collection == "policies"}


def _followed(cursor: tables.Cursor, snapshot: Snapshot) -> tables.Cursor:
    projected, policies = cursor.projected_burn_height, snapshot.policies_burn_height
    latest = snapshot.policies_latest_burn_height
    if min(projected, policies) < snapshot.final_burn_height or projected < latest:
        raise FailedPrecondition(
            "BOOKS_BEHIND",
            "the books have not followed the chain to the snapshot yet",
            final_burn_height=snapshot.final_burn_height,
            ledger=projected,
            policies=policies,
            latest_policies=latest,
        )
    return cursor


def _row(report_id: str, snapshot: Snapshot, found: Sequence[Difference], policies: int) -> tables.Reconciliation:
    return tables.Reconciliation(
        id=report_id,
        block_hash=snapshot.block_hash,
        burn_height=snapshot.burn_height,
        differences=[difference_json(difference) for difference in found],
        policies_compared=policies,
        accounts_compared=3 * len(snapshot.contracts.sums),
    )


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
