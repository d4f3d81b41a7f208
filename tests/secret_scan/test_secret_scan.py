"""The search for key material finds a planted key in whatever form and place, and shows it to nobody."""

from __future__ import annotations

import base64
import gzip
import json
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.local.keys import LocalKeys, make_keys
from deploy.local.postgres import start_postgres
from services.chain_gateway.stacks.signer import KeySigner
from tests.secret_scan import places
from tests.secret_scan.__main__ import scan
from tests.secret_scan.needles import Secret, needles_of
from tests.secret_scan.run_secrets import secrets_of
from tests.secret_scan.search import Searcher

_KEY = bytes(range(7, 250, 8))[:31] + b"\\"
_SECRET = Secret("key", _KEY)
_SEARCHER = Searcher(needles_of(_SECRET))
_NUMBER = int.from_bytes(_KEY, "big")

_FORMS: dict[str, Callable[[bytes], bytes]] = {
    "raw": lambda key: key,
    "hex": lambda key: key.hex().encode(),
    "hex with the mark of a compressed key": lambda key: f"{key.hex()}01".encode(),
    "upper hex": lambda key: key.hex().upper().encode(),
    "pairs": lambda key: key.hex(":").encode(),
    "hex dump": lambda key: key.hex(" ").encode(),
    "base64": base64.b64encode,
    "base64 after one byte": lambda key: base64.b64encode(b"x" + key),
    "base64 after two bytes": lambda key: base64.b64encode(b"xy" + key),
    "base64url": lambda key: base64.urlsafe_b64encode(b"xy" + key),
    "base64 with line breaks": lambda key: base64.encodebytes(bytes(40) + key),
    "decimal": lambda key: str(int.from_bytes(key, "big")).encode(),
    "decimal, little end first": lambda key: str(int.from_bytes(key, "little")).encode(),
    "reversed": lambda key: key[::-1],
    "JSON list": lambda key: json.dumps(list(key)).encode(),
    "Python bytes": lambda key: repr(key).encode(),
    "JSON escapes": lambda key: "".join(f"\\u{byte:04x}" for byte in key).encode(),
    "JSON text": lambda key: json.dumps(key.decode("latin-1")).encode(),
    "octal escapes": lambda key: "".join(f"\\{byte:03o}" for byte in key).encode(),
    "percent": lambda key: "".join(f"%{byte:02X}" for byte in key).encode(),
    "UTF-16 hex": lambda key: key.hex().encode("utf-16-le"),
    "UTF-16 base64": lambda key: base64.b64encode(key).decode().encode("utf-16-be"),
    "hex of hex": lambda key: key.hex().encode().hex().encode(),
    "base64 of hex": lambda key: base64.b64encode(b"x" + key.hex().encode()),
    "base64 of base64": lambda key: base64.b64encode(b"xy" + base64.b64encode(key)),
    "hex of base64": lambda key: base64.b64encode(key).hex().encode(),
    "first half": lambda key: key[:16],
    "second half as hex": lambda key: key[16:].hex().encode(),
    "second half as base64": lambda key: base64.b64encode(key[16:]),
}


@pytest.mark.parametrize("form", _FORMS)
@given(st.binary(max_size=300), st.binary(max_size=300))
def test_every_form_is_found_anywhere(form: str, before: bytes, after: bytes) -> None:
    """Proves that a key in this form is seen at any offset in any surroundings."""
    assert _SEARCHER.hits(before + _FORMS[form](_KEY) + after)


@given(st.binary(max_size=5_000))
def test_nothing_is_found_where_nothing_is(data: bytes) -> None:
    """Proves that random bytes are no key."""
    assert not _SEARCHER.hits(data)


def test_a_form_across_two_chunks_is_found() -> None:
    """A key at the seam of what is searched at once is not lost."""
    for position in ((8 << 20) - 20, (8 << 20) - 1, 8 << 20):
        assert _SEARCHER.hits(bytes(position) + _KEY.hex().encode() + bytes(100))


@pytest.mark.parametrize("text", ["token-urlsafe_secret-of-a-client-0123456789", "5e" * 32])
def test_a_secret_that_is_text_is_found(text: str) -> None:
    """A client's secret as it is, encoded, in two-byte characters, and its second half alone."""
    searcher = Searcher(needles_of(Secret("client", text.encode(), is_text=True)))
    half = text[len(text) // 2 :]
    for data in (text, half, base64.b64encode(f"x{text}".encode()).decode(), text.encode().hex()):
        assert searcher.hits(f"secret={data};".encode())
        assert searcher.hits(f"secret={data};".encode("utf-16"))


def test_every_secret_of_a_stack_is_looked_for(tmp_path: Path) -> None:
    """Backend, oracle and token key, five clients, and each wallet's seed with the key that is made of it."""
    keys = make_keys(tmp_path / "keys")
    seed = keys.seed("operator")
    found = secrets_of(keys)
    names = {secret.name for secret in found}
    assert {"backend key", "oracle key", "token key", "seed of operator", "wallet key of operator"} <= names
    assert sum(name.startswith("client secret of ") for name in names) == 5
    searcher = Searcher([needle for secret in found for needle in needles_of(secret)])
    files = (keys.backend_key, keys.oracle_key, keys.token_key, keys.secret("pool"))
    for text in (*(path.read_text() for path in files), seed):
        assert searcher.hits(text.encode())


async def test_every_table_is_searched(database_url: str) -> None:
    """A key in a text, a bytea, a JSON, an array, a numeric, a view that is stored, or a comment is found."""
    connection = await asyncpg.connect(database_url)
    statements = {
        "text": f"INSERT INTO s.t (a) VALUES ('{_KEY.hex()}')",
        "bytea": f"INSERT INTO s.t (b) VALUES ('\\x{_KEY.hex()}')",
        "text in bytea": f"INSERT INTO s.t (b) VALUES ('{base64.b64encode(_KEY).decode()}')",
        "json": f"""INSERT INTO s.t (c) VALUES ('{{"key": "{_KEY.hex()}"}}')""",
        "array": f"INSERT INTO s.t (d) VALUES (ARRAY['{base64.b64encode(_KEY).decode()}'])",
        "numeric": f"INSERT INTO s.t (e) VALUES ({_NUMBER})",
        "stored view": f"CREATE MATERIALIZED VIEW s.v AS SELECT '{_KEY.hex()}' AS a",
        "comment": f"COMMENT ON TABLE s.t IS '{_KEY.hex()}'",
        "public schema": f"CREATE TABLE other AS SELECT '{_KEY.hex()}' AS a",
    }
    try:
        for name, statement in statements.items():
            await connection.execute("DROP SCHEMA IF EXISTS s CASCADE; DROP TABLE IF EXISTS other; CREATE SCHEMA s")
            await connection.execute("CREATE TABLE s.t (a text, b bytea, c jsonb, d text[], e numeric)")
            await connection.execute(statement)
            hits = [hit async for piece in places.tables(database_url, "d") for hit in _SEARCHER.hits(piece.data)]
            assert hits, name
    finally:
        await connection.close()


def _sqlite(path: Path, cell: object) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE history (node)")
    connection.execute("INSERT INTO history VALUES (?)", (cell,))
    connection.commit()
    connection.close()


def test_files_and_histories_are_searched_and_the_secrets_own_are_not(tmp_path: Path) -> None:
    """Each file below the folder and each cell of SQLite; not the folder of keys, and no file through a link."""
    _sqlite(tmp_path / "t.db", json.dumps({"data": base64.b64encode(b"\n\x01" + _KEY).decode()}))
    assert any(_SEARCHER.hits(piece.data) for piece in places.sqlite(tmp_path / "t.db"))
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "a.key").write_text(_KEY.hex())
    (tmp_path / "link").symlink_to(tmp_path / "keys" / "a.key")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "service.log").write_bytes(gzip.compress(b"nothing") + _KEY)
    seen = [piece.where for piece in places.files(tmp_path, tmp_path / "keys") if _SEARCHER.hits(piece.data)]
    assert "deep/service.log" in seen
    assert not {"link", "keys/a.key"} & set(seen)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that Postgres' own user can reach when root runs the tests; pytest closes its folders to others."""
    with tempfile.TemporaryDirectory(prefix="bithedge-scan-") as folder:
        yield Path(folder)


async def _run(folder: Path, planted: Callable[[LocalKeys], str]) -> int:
    """Searches what a small run left: one log, one history, one table."""
    keys = make_keys(folder / "state" / "keys")
    policy, account = "5" * 32, KeySigner.from_file(keys.backend_key).address(26).text
    (folder / "demo.json").write_text(json.dumps({"policies": [{"id": policy}]}))
    _sqlite(folder / "state" / "temporal.db", policy)
    (folder / "state" / "gateway.log").write_text(planted(keys))
    postgres = start_postgres(folder / "state" / "postgres", durable=False)
    connection = await asyncpg.connect(postgres.url)
    await connection.execute("CREATE SCHEMA chain_gateway; CREATE SCHEMA policy")
    await connection.execute(f"CREATE TABLE chain_gateway.a AS SELECT '{account}' AS a")
    await connection.execute(f"CREATE TABLE policy.b AS SELECT '{policy}' AS b")
    await connection.close()
    postgres.stop()
    return await scan(folder)


async def test_a_run_with_a_key_in_a_log_fails(open_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The exit code is 1 and the place is named, without a digit of the key; a run without is 0."""
    leaky, clean = open_folder / "leaky", open_folder / "clean"
    assert await _run(leaky, lambda keys: f"key={keys.oracle_key.read_text()[:40]}") == 1
    printed = capsys.readouterr()
    assert "state/gateway.log: oracle key, first half, hex" in printed.out
    assert (leaky / "state" / "keys" / "oracle.key").read_text()[:16] not in printed.out + printed.err
    assert await _run(clean, lambda keys: "nothing to see") == 0


async def test_a_search_that_sees_nothing_is_no_proof(open_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where what is public is not seen in its place, as after a wrong folder, the exit code is 2."""
    folder = open_folder / "blind"
    await _run(folder, lambda keys: "")
    (folder / "demo.json").write_text(json.dumps({"policies": [{"id": "6" * 32}]}))
    assert await scan(folder) == 2
    assert "policy in tables of policy" in capsys.readouterr().err
