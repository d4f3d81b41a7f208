"""Where a run leaves data: files of all its processes, every database of Postgres, and Temporal's own."""

from __future__ import annotations

import io
import sqlite3
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import asyncpg

_LARGEST_READ: Final = 64 << 20
_OVERLAP: Final = 1 << 16


@dataclass(frozen=True)
class Piece:
    """Some data of one place; `kind` is what the summary counts it under."""

    kind: str
    where: str
    data: bytes


def files(folder: Path, leave_out: Path) -> Iterator[Piece]:
    """Every regular file below a folder, byte for byte, but those below `leave_out`."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink() and leave_out not in path.parents:
            yield from _file(folder, path)


def _file(folder: Path, path: Path) -> Iterator[Piece]:
    where = str(path.relative_to(folder))
    with path.open("rb") as file:
        while data := file.read(_LARGEST_READ):
            yield Piece(f"files of {'/'.join(path.relative_to(folder).parts[:2])}", where, data)
            if len(data) < _LARGEST_READ:
                return
            file.seek(-_OVERLAP, 1)


async def postgres(server_url: str) -> AsyncIterator[Piece]:
    """Every table of every schema of every database, the system's too, as text and in Postgres' binary form."""
    connection = await asyncpg.connect(server_url)
    try:
        names = await connection.fetch("SELECT datname FROM pg_database WHERE datallowconn ORDER BY datname")
    finally:
        await connection.close()
    for (database,) in names:
        base, question, query = server_url.partition("?")
        url = f"{base.rpartition('/')[0]}/{database}{question}{query}"
        async for piece in tables(url, database):
            yield piece


async def tables(url: str, database: str) -> AsyncIterator[Piece]:
    """Every table of one database."""
    connection = await asyncpg.connect(url)
    try:
        found = await connection.fetch(
            "SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
            " WHERE c.relkind IN ('r', 'm') AND n.nspname <> 'pg_toast' ORDER BY 1, 2"
        )
        for schema, table in found:
            for form in ("text", "binary"):
                # Some columns of the system have no binary form; as text every column has one.
                if form == "binary" and schema == "pg_catalog":
                    continue
                data = io.BytesIO()
                await connection.copy_from_table(table, schema_name=schema, output=data, format=form)
                kind = "system tables" if schema in ("pg_catalog", "information_schema") else f"tables of {schema}"
                yield Piece(kind, f"{database}: {schema}.{table} as {form}", data.getvalue())
    finally:
        await connection.close()


def sqlite(path: Path) -> Iterator[Piece]:
    """Every table of a SQLite file, row by row, as Temporal keeps its histories."""
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    connection.text_factory = bytes
    try:
        names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name").fetchall()
        for (name,) in names:
            table = name.decode().replace('"', '""')
            rows = connection.execute(f'SELECT * FROM "{table}"')
            data = b"\n".join(_cell(cell) for row in rows for cell in row)
            yield Piece("tables of Temporal", f"{path.name}: {table}", data)
    finally:
        connection.close()


def _cell(value: object) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()
