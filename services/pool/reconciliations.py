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
from kernel.errors import Aborted, FailedPrecondition
from kernel.log import get_logger
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
from services.pool.domain.reconciliation import MAX_PAYOUT_DIFFERS, Difference
from services.pool.domain.service_healing import HealingOutcome, cause_after, is_of_service
from services.pool.domain.terms import LEDGER_DIFFERS, SERVICE_DIFFERS
from services.pool.found import Found, found_from, found_json
from services.pool.staging import Reread, check_whole
from services.pool.store_stage import Book

# These the chain's events may put right.
_FROM_EVENTS: Final = (LikelyCause.EVENT_MISSED, LikelyCause.UNEXPLAINED_PAYMENT)
# These the contracts' own words put right.
_TERMS: Final = (LEDGER_DIFFERS, MAX_PAYOUT_DIFFERS)
# The policy service is asked for so many at once; the rest is in the next report.
_MOST_OF_SERVICE: Final = 1_000


class Reconciliations:
    """Makes reports, and heals what the chain proves."""

    def __init__(self, database: Database, gateway: grpc.aio.Channel) -> None:
        self._database = database
        self._gateway = gateway_grpc.ChainGatewayServiceStub(gateway)

    async def compare(self, report_id: str, snapshot: Snapshot) -> list[str]:
        """Ids of those policies that the policy service says differently, 1,000 at most; none once the report is there.

        What was found is kept for the report, which tells of it what is healed meanwhile. Refuses as `reconcile` does.
        """
        found = await self._found(report_id, snapshot)
        if found is None:
            return []
        async with self._database.transaction() as session:
            await store_stage.lock(session, report_id)
            await check_whole(session, report_id, snapshot.block_hash)
            await store_stage.keep_found(session, report_id, found_json(found))
        return sorted(_policies(filter(is_of_service, found.differences)))[:_MOST_OF_SERVICE]

    async def reconcile(self, report_id: str, snapshot: Snapshot, reread: Reread) -> tables.Reconciliation:
        """The report of this name, made now or before, of books that are staged for it.

        FailedPrecondition BOOKS_BEHIND while ledger or policy service have not taken in what was final at the
        snapshot, or the policy service is further than the ledger; RECONCILIATION_PAGE_MISSING, or Aborted
        SNAPSHOT_PASSED, where the books are not staged. Unavailable where the chain's events are needed and the gateway
        does not answer.
        """
        report = await self._report(report_id, snapshot, reread)
        async with self._database.transaction() as session:
            await store_stage.lock(session, report_id)
            await store_stage.end(session, report_id)
        return report

    async def _report(self, report_id: str, snapshot: Snapshot, reread: Reread) -> tables.Reconciliation:
        found = await self._found(report_id, snapshot)
        proof = await self._proof(found)
        async with self._database.transaction() as session:
            await store_stage.lock(session, report_id)
            stored = await store_reports.get_report(session, report_id)
            if found is None or stored is not None:
                return _there(stored)
            await check_whole(session, report_id, snapshot.block_hash)
            ids = reread.outcomes.keys()
            await store_stage.replace(session, report_id, Book.POLICIES, ids, reread.facts, reread.terms)
            told = list[Difference]()
            if found.differences:
                left = await _heal(session, report_id, snapshot, found, proof)
                told = position_rows.with_chain(_told(found.differences, left, reread.outcomes), proof.words)
            row = _row(report_id, snapshot, told, found.policies)
            session.add(row)
        _tell(told)
        return row

    async def _found(self, report_id: str, snapshot: Snapshot) -> Found | None:
        """What differs, now or when it was looked at before; None once the report is there."""
        # All of it is read as of one moment, and nobody waits for it.
        async with self._database.snapshot() as session:
            if await store_reports.get_report(session, report_id) is not None:
                return None
            await check_whole(session, report_id, snapshot.block_hash)
            height = _followed(await store.read_cursor(session), snapshot).projected_burn_height
            kept = await store_stage.read_found(session, report_id)
            if kept is not None:
                return found_from(kept)
            faults = await store_journal.faults(session, store_reports.MOST_OF_A_KIND)
            covered = await store_stage.covered(session, report_id)
            compared = await Books(session, report_id, snapshot, height, faults).compare(covered)
        return Found(compared.differences, compared.policies, height, faults, covered)

    async def _proof(self, found: Found | None) -> _Proof:
        if found is None:
            return _Proof((), {})
        height, missed = found.burn_height, list[chain_event_pb2.ChainEvent]()
        if any(difference.cause in _FROM_EVENTS for difference in found.differences):
            missed = await healing.missed_events(self._database, self._gateway, height)
        rows = [difference.subject for difference in found.differences if difference.kind in position_rows.KINDS]
        return _Proof(missed, await evidence.chain_words(self._gateway, rows, height) if rows else {})


@dataclass(frozen=True)
class _Proof:
    """Events that may explain what was found, and what events say of rows that differ."""

    missed: Sequence[chain_event_pb2.ChainEvent]
    words: Mapping[str, position_rows.ChainWord]


def _there(report: tables.Reconciliation | None) -> tables.Reconciliation:
    if report is None:
        raise Aborted("REPORT_GONE", "the report was there a moment ago")
    return report


async def _heal(
    session: AsyncSession, report_id: str, snapshot: Snapshot, given: Found, proof: _Proof
) -> list[Difference]:
    """What is left of the differences. Under the locks only what differed is read again, and the sums."""
    cursor = _followed(await store.read_cursor(session, lock=True), snapshot)
    # Whoever prices or reserves waits, so that accounts and rows are read at one moment.
    await store.lock_tiers(session)
    height, now = cursor.projected_burn_height, cursor.market_time or wall_now()
    # Before events are taken in, which go by the rows.
    changed = _policies(difference for difference in given.differences if difference.kind in _TERMS)
    await store_terms.put_right(session, report_id, snapshot.final_burn_height, changed)
    rows = {difference.subject for difference in given.differences if difference.kind in position_rows.KINDS}
    lines = await store_position_rows.lines_of(session, rows)
    await store_position_rows.put_right(session, position_rows.proven(lines, proof.words))
    for event in proof.missed:
        await healing.take_in(session, event, now)
    positions = await store_reports.read_positions(session, height)
    empty = await store_stage.facts_of(session, report_id, Book.CONTRACTS, positions.empty_reservations)
    await healing.end_what_is_over(session, positions, empty, height, now)
    await session.flush()
    policies = _policies(given.differences)
    books = Books(session, report_id, snapshot, height, given.faults)
    return await books.compare_again(given.covered, policies, rows)


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


def _told(
    found: Sequence[Difference], left: Sequence[Difference], outcomes: Mapping[str, HealingOutcome]
) -> list[Difference]:
    """What was found and is no more is healed; what is left and events should have explained, they do not."""
    still = {_key(difference) for difference in left}
    healed = [replace(difference, healed=True) for difference in found if _key(difference) not in still]
    return [*(replace(difference, cause=_cause(difference, outcomes)) for difference in left), *healed]


def _key(difference: Difference) -> tuple[str, str, bool]:
    """By what a difference is found again. Ledger and policy service may differ in the same kind.

    One of the policy service that has become another of its kinds is not healed.
    """
    of_service = is_of_service(difference)
    kind = "SERVICE" if of_service and difference.kind != SERVICE_DIFFERS else difference.kind
    return kind, difference.subject, of_service


def _cause(left: Difference, outcomes: Mapping[str, HealingOutcome]) -> LikelyCause:
    if left.cause is LikelyCause.EVENT_MISSED:
        return LikelyCause.NOT_FROM_EVENTS
    return cause_after(left, outcomes.get(left.subject.removeprefix("policies/")))


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
