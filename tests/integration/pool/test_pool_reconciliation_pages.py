"""Books that reach a reconciliation page by page: in order, once, whoever is killed in between."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final

import pytest
import sqlalchemy as sa
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as gateway_pb2
from bithedge.policy.v1 import policy_pb2, policy_service_pb2
from bithedge.pool.v1 import pool_service_pb2 as pb

from kernel.errors import Aborted, BitHedgeError, FailedPrecondition, InvalidArgument
from kernel.ids import new_id
from kernel.rpc.channels import remote_errors
from services.pool import convert_reports, reconciliations, store, store_coverage, store_stage
from services.pool.comparison import Books
from services.pool.staging import add_page
from tests.integration.pool.chain_snapshot import honest_request
from tests.integration.pool.pool_service import WORKFLOWS, RunningPool

_POLICIES: Final = 7


async def _books(pool: RunningPool) -> pb.CreateReconciliationRequest:
    await pool.final(pool.deposited("SP-ALICE", 10**12))
    await pool.final(*(pool.created(pool.terms(1_000_000 + number), 1 + number) for number in range(_POLICIES)))
    return honest_request(pool)


def _pages(request: pb.CreateReconciliationRequest, size: int = 3) -> Iterator[pb.AddReconciliationPageRequest]:
    """Both books in pages of `size` ids, as gateway and policy service answer them."""
    for after in range(0, _POLICIES, size):
        follows = after + size if after + size < _POLICIES else 0
        page = gateway_pb2.GetContractSnapshotResponse(
            block_hash=request.contracts.block_hash,
            policies=[one for one in request.contracts.policies if after < one.onchain_id <= after + size],
            next_after_onchain_id=follows,
        )
        yield pb.AddReconciliationPageRequest(name=request.name, after_onchain_id=after, contracts=page)
    for after in range(0, _POLICIES, size):
        follows = after + size if after + size < _POLICIES else 0
        totals = policy_service_pb2.ListPolicyTotalsResponse(
            policies=[one for one in request.policies if after < one.onchain_id <= after + size],
            next_after_onchain_id=follows,
        )
        yield pb.AddReconciliationPageRequest(name=request.name, after_onchain_id=after, policies=totals)


def _last(request: pb.CreateReconciliationRequest) -> pb.CreateReconciliationRequest:
    """The request that follows the pages."""
    last = pb.CreateReconciliationRequest()
    last.CopyFrom(request)
    del last.contracts.policies[:], last.policies[:]
    last.staged = True
    return last


async def _add(pool: RunningPool, page: pb.AddReconciliationPageRequest) -> int:
    with remote_errors():
        return (await pool.stub.AddReconciliationPage(page, metadata=WORKFLOWS)).next_after_onchain_id


async def _create(pool: RunningPool, request: pb.CreateReconciliationRequest) -> pb.Reconciliation:
    with remote_errors():
        return (await pool.stub.CreateReconciliation(request, metadata=WORKFLOWS)).reconciliation


async def _staged_rows(pool: RunningPool) -> int:
    async with pool.database.engine.connect() as connection:
        tables = ("pool.reconciliation_book", "pool.reconciliation_fact")
        return sum([(await connection.execute(sa.text(f"SELECT count(*) FROM {one}"))).scalar_one() for one in tables])


async def _refused(pool: RunningPool, page: pb.AddReconciliationPageRequest) -> BitHedgeError:
    with pytest.raises(BitHedgeError) as refused:
        await _add(pool, page)
    return refused.value


async def test_pages_say_what_one_request_says(pool: RunningPool) -> None:
    """Three pages of each book, each sent twice and one of them late again: the report is that of one request, asked
    again it is the same, and nothing stays staged."""
    request = await _books(pool)
    request.policies[4].state = policy_pb2.POLICY_STATE_EXPIRED
    del request.policies[1]
    pages = list(_pages(request))
    for page in pages:
        assert await _add(pool, page) == await _add(pool, page)
    assert await _add(pool, pages[4]) == 0
    report = await _create(pool, _last(request))
    assert report.policies_compared == _POLICIES
    assert {one.kind for one in report.differences} == {"STATE_DIFFERS", "POLICY_MISSING_IN_SERVICE"}
    assert await _staged_rows(pool) == 0
    assert [await _add(pool, page) for page in pages] == [0] * 6
    assert await _create(pool, _last(request)) == report
    assert await _staged_rows(pool) == 0
    request.name = f"reconciliations/{new_id()}"
    assert list((await _create(pool, request)).differences) == list(report.differences)


async def test_a_page_that_is_missing_is_named(pool: RunningPool) -> None:
    """A page that comes too early, and a comparison before the last one: which book, and after which id."""
    request = await _books(pool)
    pages = list(_pages(request))
    early = await _refused(pool, pages[1])
    await _add(pool, pages[0])
    later = await _refused(pool, pages[2])
    with pytest.raises(FailedPrecondition) as unfinished:
        await _create(pool, _last(request))
    for page in pages[1:3]:
        await _add(pool, page)
    with pytest.raises(FailedPrecondition) as half:
        await _create(pool, _last(request))
    assert [(one.reason, dict(one.metadata)) for one in (early, later, unfinished.value, half.value)] == [
        ("RECONCILIATION_PAGE_MISSING", {"book": book, "after_onchain_id": after})
        for book, after in (("contracts", "0"), ("contracts", "3"), ("contracts", "3"), ("policies", "0"))
    ]


async def test_another_block_begins_anew(pool: RunningPool) -> None:
    """A page of another block is refused until the first page of that block has emptied the stage."""
    request = await _books(pool)
    pages = list(_pages(request))
    await _add(pool, pages[0])
    for page in pages[:3]:
        page.contracts.block_hash = "cd"
    assert isinstance(await _refused(pool, pages[1]), Aborted)
    for page in pages:
        await _add(pool, page)
    with pytest.raises(Aborted):
        await _create(pool, _last(request))
    request.contracts.block_hash = "cd"
    assert list((await _create(pool, _last(request))).differences) == []


async def test_pages_that_cannot_be_are_refused(pool: RunningPool) -> None:
    """No book, a place below zero, a next page that does not follow, a block that is none, and policies both staged and
    in the request."""
    request = await _books(pool)
    page = next(_pages(request))
    bad = [pb.AddReconciliationPageRequest(name=request.name)]
    for after, follows, block in ((-1, 0, "ab"), (3, 3, "ab"), (0, 0, ""), (0, 0, "\0")):
        bad.append(pb.AddReconciliationPageRequest())
        bad[-1].CopyFrom(page)
        bad[-1].after_onchain_id, bad[-1].contracts.next_after_onchain_id = after, follows
        bad[-1].contracts.block_hash = block
    assert [type(await _refused(pool, one)) for one in bad] == [InvalidArgument] * 5
    request.staged = True
    with pytest.raises(InvalidArgument):
        await _create(pool, request)


async def test_what_was_given_up_is_forgotten(pool: RunningPool) -> None:
    """Pages of a reconciliation that nobody went on with for a day end when another begins."""
    request = await _books(pool)
    for page in _pages(request):
        await _add(pool, page)
    async with pool.database.engine.begin() as connection:
        await connection.execute(sa.text("UPDATE pool.reconciliation_book SET update_time = now() - interval '25 h'"))
    request.name = f"reconciliations/{new_id()}"
    await _add(pool, next(_pages(request)))
    assert await _staged_rows(pool) == 1 + 3


async def test_books_that_agree_are_compared_while_others_hold_the_locks(pool: RunningPool) -> None:
    """Cursor and tiers are held by somebody else all the time, and the report is made."""
    request = await _books(pool)
    async with pool.database.transaction() as session:
        await store.read_cursor(session, lock=True)
        await store.lock_tiers(session)
        async with asyncio.timeout(60):
            assert list((await _create(pool, request)).differences) == []


async def test_what_is_held_does_not_grow_with_the_books(pool: RunningPool, monkeypatch: pytest.MonkeyPatch) -> None:
    """No statement of the comparison answers with more policies than a page has, and of a kind no more are told than a
    report has; under the locks only those are read again."""
    request = await _books(pool)
    for total in request.policies:
        total.state = policy_pb2.POLICY_STATE_EXPIRED
    for book in convert_reports.whole_books(request):
        await add_page(pool.database, "staged", book)
    held: list[int] = []
    for module, name in ((store_stage, "run"), (store_coverage, "run")):
        monkeypatch.setattr(module, name, _counted(getattr(module, name), held))
    monkeypatch.setattr("services.pool.store_reports.MOST_OF_A_KIND", 4)
    snapshot = convert_reports.snapshot(request)
    async with pool.database.snapshot() as session:
        covered = await store_stage.covered(session, "staged")
        books = Books(session, "staged", snapshot, pool.gateway.burn_height - 1, ())
        compared = await books.compare(covered, 2)
        assert max(held) <= 2
        names = {one.subject.removeprefix("policies/") for one in compared.differences}
        assert await books.compare_again(covered, names, ()) == list(compared.differences)
    assert (compared.policies, len(names)) == (_POLICIES, 4)
    assert max(held) <= 4


def _counted(run: Callable[..., Awaitable[list[Any]]], held: list[int]) -> Callable[..., Awaitable[list[Any]]]:
    async def counting(*given: object) -> list[Any]:
        rows = await run(*given)
        held.append(len(rows))
        return rows

    return counting


async def test_a_pool_killed_before_its_report_makes_the_same(
    pool: RunningPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It dies when all is compared, and when the report is stored but the stage not emptied: the next call has one
    report, and nothing stays staged."""
    request = await _books(pool)
    request.policies[0].state = policy_pb2.POLICY_STATE_EXPIRED
    for page in _pages(request):
        await _add(pool, page)
    for place in ("_heal", "_row", "_tell"):
        with monkeypatch.context() as dying:
            dying.setattr(reconciliations, place, _die)
            with pytest.raises(BitHedgeError):
                await _create(pool, _last(request))
    report = await _create(pool, _last(request))
    assert [one.kind for one in report.differences] == ["STATE_DIFFERS"]
    assert await _staged_rows(pool) == 0


def _die(*_: object) -> None:
    raise RuntimeError
