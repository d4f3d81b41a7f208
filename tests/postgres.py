"""A Postgres for tests: DATABASE_URL if set, a container if a Docker engine answers, the embedded one otherwise."""

from __future__ import annotations

import os
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import docker
import docker.errors
from testcontainers.community.postgres import PostgresContainer

from deploy.local.postgres import start_postgres
from kernel.database import migrate


@contextmanager
def running_postgres() -> Iterator[str]:
    """The URL of a server's maintenance database."""
    if url := os.environ.get("DATABASE_URL"):
        yield url
    elif _docker_answers():
        with PostgresContainer("postgres:18", driver=None) as container:
            yield container.get_connection_url()
    else:
        with tempfile.TemporaryDirectory(prefix="bithedge-postgres-") as folder:
            postgres = start_postgres(Path(folder) / "data", durable=False)
            try:
                yield postgres.url
            finally:
                postgres.stop()


def _docker_answers() -> bool:
    try:
        docker.from_env(timeout=2).ping()
    except docker.errors.DockerException:
        return False
    return True


async def create_database(server_url: str, original_url: str | None = None) -> str:
    """The URL of a new database on the server: empty, or a copy of one that nobody is connected to."""
    name = f"test_{uuid.uuid4().hex}"
    copied = "" if original_url is None else f' TEMPLATE "{_name(original_url)}"'
    connection = await asyncpg.connect(server_url)
    try:
        await connection.execute(f'CREATE DATABASE "{name}"{copied}')
    finally:
        await connection.close()
    base, question, query = server_url.partition("?")
    return f"{base.rpartition('/')[0]}/{name}{question}{query}"


async def create_migrated_database(server_url: str, schema: str, migrations: Path) -> str:
    """The URL of a new database in which one service's migrations have run: the original for copies."""
    url = await create_database(server_url)
    await migrate(url, schema, migrations)
    return url


def _name(url: str) -> str:
    return url.partition("?")[0].rpartition("/")[2]
