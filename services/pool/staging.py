"""Pages of contracts and policy service on their way into a reconciliation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.database import Database
from kernel.errors import Aborted, FailedPrecondition
from services.pool import store_reports, store_stage
from services.pool.domain.reconciliation import PolicyFact
from services.pool.domain.service_healing import HealingOutcome
from services.pool.domain.terms import Terms
from services.pool.store_stage import Book, Staged


@dataclass(frozen=True)
class Page:
    """What a book says of the policies after an on-chain id; `block_hash` is empty for the policy service.

    `terms` are of those policies of which it tells them.
    """

    book: Book
    after_onchain_id: int
    next_after_onchain_id: int
    block_hash: str
    facts: Mapping[str, PolicyFact]
    terms: Mapping[str, Terms]


@dataclass(frozen=True)
class Reread:
    """What the policy service says of policies after it was asked to heal them; of some it may say nothing any more."""

    outcomes: Mapping[str, HealingOutcome]
    facts: Mapping[str, PolicyFact]
    terms: Mapping[str, Terms]


async def add_page(database: Database, report_id: str, page: Page) -> int:
    """Stages a page; where the next of its book begins, zero when there is none to come.

    The first page begins its book anew, one that is there already changes nothing. FailedPrecondition
    RECONCILIATION_PAGE_MISSING for one that comes too early, Aborted SNAPSHOT_PASSED for one of another block.
    """
    if not page.after_onchain_id:
        await end_abandoned(database)
    async with database.transaction() as session:
        await store_stage.lock(session, report_id)
        if await store_reports.get_report(session, report_id) is not None:
            return 0
        there = await _there(session, report_id, page)
        if there is not None:
            return there
        reached = Staged(page.block_hash, page.next_after_onchain_id)
        await store_stage.add(session, report_id, page.book, reached, page.facts, page.terms)
    return page.next_after_onchain_id


async def _there(session: AsyncSession, report_id: str, page: Page) -> int | None:
    """How far the book is if it has the page; None if the page is the next."""
    if not page.after_onchain_id:
        await store_stage.begin(session, report_id, page.book)
        return None
    staged = await store_stage.staged(session, report_id, page.book)
    if staged is None:
        raise _missing(page.book, 0)
    if staged.block_hash != page.block_hash:
        raise Aborted("SNAPSHOT_PASSED", "the pages before are of another block: start again")
    follows = staged.next_after_onchain_id
    if not follows or page.after_onchain_id < follows:
        return follows
    if page.after_onchain_id > follows:
        raise _missing(page.book, follows)
    return None


async def check_whole(session: AsyncSession, report_id: str, block_hash: str) -> None:
    """FailedPrecondition RECONCILIATION_PAGE_MISSING, Aborted SNAPSHOT_PASSED unless both books are whole, the
    contracts' at this block."""
    for book in Book:
        staged = await store_stage.staged(session, report_id, book)
        if staged is None or staged.next_after_onchain_id:
            raise _missing(book, staged.next_after_onchain_id if staged else 0)
        if book is Book.CONTRACTS and staged.block_hash != block_hash:
            raise Aborted("SNAPSHOT_PASSED", "the pages are of another block: start again")


async def end_abandoned(database: Database) -> None:
    """Forgets what was staged for reports that nobody went on with."""
    async with database.transaction() as session:
        for report_id in await store_stage.abandoned(session):
            await store_stage.end(session, report_id)


def _missing(book: Book, after_onchain_id: int) -> FailedPrecondition:
    return FailedPrecondition(
        "RECONCILIATION_PAGE_MISSING",
        f"the page of {book} after on-chain id {after_onchain_id} has not come yet",
        book=book,
        after_onchain_id=after_onchain_id,
    )
