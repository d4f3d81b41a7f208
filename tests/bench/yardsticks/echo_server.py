"""The least gRPC server: answers a fixed number of bytes, and if told so inserts or reads one row per call first.

`python -m tests.bench.yardsticks.echo_server --answer-bytes N [--database URL (--insert-bytes N | --read-keys N)]`
prints `listening PORT`. One bare grpc.aio server on uvloop; a pool of raw asyncpg connections, autocommit.
"""

from __future__ import annotations

import argparse
import itertools
import os
from typing import Any, Final

import asyncpg
import grpc

from tests.bench.yardsticks.bare_server import run, start_bare_server

METHOD: Final = "/bench.Echo/Call"
_POOL: Final = 10
_INSERT: Final = "INSERT INTO echoed (id, body) VALUES ($1, $2)"
_READ: Final = "SELECT id, body FROM echoed WHERE id = $1"


def _echo(answer: bytes) -> Any:
    async def call(request: bytes, context: Any) -> bytes:
        return answer

    return call


def _insert(answer: bytes, pool: Any, size: int) -> Any:
    numbers = itertools.count()
    prefix = os.urandom(8).hex()
    body = os.urandom(size)

    async def call(request: bytes, context: Any) -> bytes:
        await pool.execute(_INSERT, f"{prefix}{next(numbers):016x}", body)
        return answer

    return call


def _read(pool: Any, keys: int) -> Any:
    numbers = itertools.count()

    async def call(request: bytes, context: Any) -> bytes:
        row = await pool.fetchrow(_READ, f"{next(numbers) % keys:032x}")
        return bytes(row["body"])

    return call


async def _behaviour(chosen: argparse.Namespace) -> Any:
    answer = os.urandom(chosen.answer_bytes)
    if chosen.database is None:
        return _echo(answer)
    pool = await asyncpg.create_pool(chosen.database, min_size=_POOL, max_size=_POOL)
    await pool.execute("CREATE TABLE IF NOT EXISTS echoed (id text PRIMARY KEY, body bytea NOT NULL)")
    if chosen.insert_bytes is not None:
        return _insert(answer, pool, chosen.insert_bytes)
    rows = [(f"{number:032x}", answer) for number in range(chosen.read_keys)]
    await pool.executemany(_INSERT, rows)
    return _read(pool, chosen.read_keys)


async def _serve(chosen: argparse.Namespace) -> None:
    handler: Any = grpc.unary_unary_rpc_method_handler(await _behaviour(chosen))
    server = await start_bare_server({METHOD: handler})
    await server.wait_for_termination()


def main() -> None:
    """Serves until it is killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--answer-bytes", type=int, required=True)
    parser.add_argument("--database")
    parser.add_argument("--insert-bytes", type=int)
    parser.add_argument("--read-keys", type=int)
    run(_serve(parser.parse_args()))


if __name__ == "__main__":
    main()
