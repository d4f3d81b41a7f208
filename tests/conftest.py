"""Fixtures that every kind of test shares."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import HealthCheck, settings

from tests.postgres import create_database, running_postgres

settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("default")
# A traceback in colours with every local variable takes seconds; tests of crashes write hundreds.
structlog.configure(
    processors=[
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.format_exc_info,
        structlog.processors.JSONRenderer(),
    ]
)


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A running Postgres server."""
    with running_postgres() as url:
        yield url


@pytest.fixture
async def empty_database_url(postgres_url: str) -> str:
    """A new empty database for one test."""
    return await create_database(postgres_url)


@pytest.fixture
async def database_url(empty_database_url: str) -> str:
    """A new database for one test; tests of a service have its schema in theirs, which saves them its migrations."""
    return empty_database_url


@pytest.fixture(scope="module")
async def module_database_url(postgres_url: str) -> str:
    """A new empty database for one module's tests."""
    return await create_database(postgres_url)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """Leaves without the interpreter's own end, which the Temporal client's threads can crash (sdk-python 300)."""
    status = getattr(config, "bithedge_exit_status", None)
    if status is not None and "temporalio" in sys.modules:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Keeps pytest's own exit code for the last hook."""
    session.config.bithedge_exit_status = int(exitstatus)  # type: ignore[attr-defined]
