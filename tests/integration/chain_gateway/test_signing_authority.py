"""The signing policy with its memory in Postgres: exact among replicas, once per cause, every refusal on record."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import structlog
from prometheus_client import REGISTRY
from sqlmodel import select

from kernel.clock import wall_now
from kernel.database import Database, migrate
from kernel.errors import BitHedgeError, PermissionDenied, ResourceExhausted
from kernel.settings import SettingsError
from services.chain_gateway import store_signing
from services.chain_gateway.domain.signing_policy import QUOTE, SETTLE, VOUCHER, Request, Rule, SigningRules, Value
from services.chain_gateway.gateway import MIGRATIONS
from services.chain_gateway.signing_authority import SigningAuthority, load_rules
from services.chain_gateway.tables import SCHEMA
from services.chain_gateway.tables_keys import SigningAudit, SigningDay

_RULES = SigningRules(
    {
        QUOTE: Rule(Value(100, 10), Value(1_000, 100), 1_000),
        VOUCHER: Rule(Value(100, 10), Value(10**6, 10**6), 3),
    }
)


@pytest.fixture
async def replicas(database_url: str) -> AsyncIterator[list[Database]]:
    """Three processes' databases."""
    await migrate(database_url, SCHEMA, MIGRATIONS)
    databases = [Database(database_url) for _ in range(3)]
    yield databases
    for database in databases:
        await database.close()


def _quote(number: int, value: Value = Value(100, 0), content: bytes = b"terms") -> Request:  # noqa: B008
    return Request(QUOTE, f"policies/{number}", content, value)


async def _outcome(authority: SigningAuthority, request: Request) -> str:
    try:
        await authority.authorize(request, "account")
    except BitHedgeError as error:
        return error.reason
    return ""


async def _rows(database: Database) -> list[SigningAudit]:
    async with database.transaction() as session:
        return list((await session.exec(select(SigningAudit))).all())


async def _day(database: Database, what: str) -> tuple[int, int]:
    async with database.transaction() as session:
        row = await session.get(SigningDay, (wall_now().date(), what))
    return (row.ustx, row.sats) if row else (0, 0)


async def test_replicas_share_one_day(replicas: list[Database]) -> None:
    """Forty requests at once on three replicas: exactly as many are allowed as the day has room for."""
    authorities = [SigningAuthority(database, _RULES) for database in replicas]
    outcomes = await asyncio.gather(
        *(_outcome(authorities[number % 3], _quote(number, Value(50, 0))) for number in range(40))
    )
    assert sorted(outcomes) == [""] * 20 + ["DAY_VALUE_USED_UP"] * 20
    assert await _day(replicas[0], QUOTE) == (1_000, 0)


async def test_many_at_once_are_allowed_as_each_in_turn(replicas: list[Database]) -> None:
    """Overlapping groups on three replicas: a cause counts once, the day and the minute hold, and of what may not be
    signed nothing is written until it is asked for by itself."""
    authorities = [SigningAuthority(database, _RULES) for database in replicas]
    quotes = [_quote(number, Value(50, 0)) for number in range(30)]
    vouchers = [Request(VOUCHER, f"withdrawals/{number}", b"") for number in range(5)]
    too_large, ruled_by_nothing = _quote(99, Value(101, 0)), Request(SETTLE, "intents/1", b"")
    groups = ([too_large, *quotes[:15]], [*vouchers, *quotes[5:]], [ruled_by_nothing, *quotes, *vouchers])
    await asyncio.gather(*(one.allow(group, "account") for one, group in zip(authorities, groups, strict=True)))
    rows = await _rows(replicas[0])
    assert all(row.reason == "" for row in rows)
    assert Counter(row.what for row in rows) == {QUOTE: 20, VOUCHER: 3}
    assert await _day(replicas[0], QUOTE) == (1_000, 0)
    allowed = {row.subject for row in rows}
    for request in (*quotes, *vouchers):
        assert (await _outcome(authorities[0], request) == "") == (request.subject in allowed)
    assert await _outcome(authorities[0], too_large) == "VALUE_TOO_LARGE"


async def test_one_cause_counts_once(replicas: list[Database]) -> None:
    """The same cause asked for again, at once or after a restart, as a retry or a higher fee does, is counted once."""
    authorities = [SigningAuthority(database, _RULES) for database in replicas]
    await asyncio.gather(*(authorities[number % 3].authorize(_quote(1), "account") for number in range(12)))
    await SigningAuthority(replicas[0], _RULES).authorize(_quote(1), "another account")
    assert await _day(replicas[0], QUOTE) == (100, 0)
    assert [(row.subject, row.account, row.reason) for row in await _rows(replicas[0])] == [
        ("policies/1", "account", "")
    ]


async def test_what_was_allowed_stays_so_and_nothing_else_does(replicas: list[Database]) -> None:
    """Tighter rules do not strand what was signed; another content under the same cause is refused for good."""
    await SigningAuthority(replicas[0], _RULES).authorize(_quote(1), "account")
    none = SigningAuthority(replicas[1], SigningRules({}))
    await none.authorize(_quote(1), "account")
    with pytest.raises(PermissionDenied) as caught:
        await none.authorize(_quote(1, content=b"other terms"), "account")
    assert caught.value.reason == "SUBJECT_REUSED"


async def test_a_rate_is_of_any_sixty_seconds(replicas: list[Database]) -> None:
    """Three vouchers a minute: the fourth waits; once the first three are a minute old it is signed."""
    authority = SigningAuthority(replicas[0], _RULES)
    requests = [Request(VOUCHER, f"withdrawals/{number}", b"") for number in range(4)]
    assert [await _outcome(authority, request) for request in requests] == ["", "", "", "RATE_USED_UP"]
    async with replicas[0].transaction() as session:
        for row in (await session.exec(select(SigningAudit))).all():
            row.create_time -= dt.timedelta(seconds=61)
            session.add(row)
    assert await _outcome(authority, requests[3]) == ""


async def test_a_day_ends_at_midnight_utc(replicas: list[Database]) -> None:
    """What yesterday allowed leaves today whole."""
    await SigningAuthority(replicas[0], _RULES).authorize(_quote(1), "account")
    async with replicas[0].transaction() as session:
        today = await store_signing.used(session, QUOTE, wall_now(), 10)
        tomorrow = await store_signing.used(session, QUOTE, wall_now() + dt.timedelta(days=1), 10)
    assert (today.today, today.last_minute) == (Value(100, 0), 1)
    assert (tomorrow.today, tomorrow.last_minute) == (Value(), 0)


async def test_refusals_are_on_record_and_alert(replicas: list[Database]) -> None:
    """A refusal leaves a row that counts its attempts, an ERROR in the log and a metric; nothing is added to a day."""
    authority = SigningAuthority(replicas[0], _RULES)
    labels = {"what": QUOTE, "reason": "VALUE_TOO_LARGE"}
    name = "bithedge_gateway_signing_refusals_total"
    before = REGISTRY.get_sample_value(name, labels) or 0.0
    with structlog.testing.capture_logs() as logs:
        for _ in range(2):
            with pytest.raises(PermissionDenied) as caught:
                await authority.authorize(_quote(7, Value(101, 0)), "account")
    assert caught.value.reason == "VALUE_TOO_LARGE"
    (row,) = await _rows(replicas[0])
    assert (row.subject, row.what, row.account, row.ustx, row.attempts) == ("policies/7", QUOTE, "account", 101, 2)
    assert "above 100 uSTX" in row.detail
    assert row.last_time > row.create_time
    assert [(one["log_level"], one["event"], one["reason"]) for one in logs] == [
        ("error", "signature refused", "VALUE_TOO_LARGE")
    ] * 2
    assert REGISTRY.get_sample_value(name, labels) == before + 2
    assert await _day(replicas[0], QUOTE) == (0, 0)


async def test_a_refusal_says_whether_to_come_back(replicas: list[Database]) -> None:
    """What has no rule is PERMISSION_DENIED; a day that is used up is RESOURCE_EXHAUSTED, and passes."""
    authority = SigningAuthority(replicas[0], _RULES)
    with pytest.raises(PermissionDenied):
        await authority.authorize(Request(SETTLE, "intents/1", b""), "account")
    for number in range(10):
        await authority.authorize(_quote(number), "account")
    with pytest.raises(ResourceExhausted):
        await authority.authorize(_quote(99), "account")


def test_a_policy_file_that_is_wrong_ends_the_start(tmp_path: Path) -> None:
    """A file that is absent, no TOML, or no policy is a SettingsError that names the setting and the place."""
    broken, unknown = tmp_path / "broken.toml", tmp_path / "unknown.toml"
    broken.write_text("[quote]\nmost = = 1\n")
    unknown.write_text("[quotes]\n")
    for path, message in (
        (tmp_path / "absent.toml", "No such file"),
        (broken, "at line 2"),
        (unknown, "'quotes' is unknown"),
    ):
        with pytest.raises(SettingsError, match=f"SIGNING_POLICY_FILE: .*{message}"):
            load_rules(str(path))
