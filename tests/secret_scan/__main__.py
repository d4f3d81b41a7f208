"""Plays the demo, then searches all that it left for key material: `python -m tests.secret_scan`.

Exits 0 if nothing was found, 1 if something was, 2 if the demo failed or something that must be there was not seen.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from deploy.local.keys import LocalKeys, make_keys
from deploy.local.layout import REPOSITORY
from deploy.local.postgres import start_postgres
from services.chain_gateway.stacks.signer import KeySigner
from tests.secret_scan import places
from tests.secret_scan.needles import Secret, needles_of
from tests.secret_scan.places import Piece
from tests.secret_scan.run_secrets import secrets_of
from tests.secret_scan.search import Searcher

_TESTNET_VERSION: Final = 26
_TEMPORAL_FILE: Final = "temporal.db"
_RESULT: Final = "demo.json"
_ACCOUNT: Final = "backend account"
_POLICY: Final = "policy"
# A search that finds nothing proves something only if it finds what is there: what is public, and where it must be.
_CONTROLS: Final = {
    (_ACCOUNT, "files of state/postgres"),
    (_ACCOUNT, "tables of chain_gateway"),
    (_POLICY, "files of state/temporal.db"),
    (_POLICY, "tables of Temporal"),
    (_POLICY, "tables of policy"),
}


class Scan:
    """What was looked at, and what was found."""

    def __init__(self, secrets: list[Secret], controls: list[Secret]) -> None:
        needles = [needle for secret in secrets for needle in needles_of(secret)]
        self._searcher = Searcher([*needles, *(needle for control in controls for needle in needles_of(control))])
        self._controls = {control.name for control in controls}
        self._bytes: dict[str, int] = defaultdict(int)
        self._pieces: dict[str, int] = defaultdict(int)
        self.hits: list[str] = []
        self.seen: set[tuple[str, str]] = set()
        print(f"{len({secret.name for secret in secrets})} secrets, {len(needles)} forms of them")

    def look(self, piece: Piece) -> None:
        """Searches one piece."""
        self._bytes[piece.kind] += len(piece.data)
        self._pieces[piece.kind] += 1
        for hit in sorted(self._searcher.hits(piece.data), key=lambda one: (one.needle.secret, one.needle.form)):
            if hit.needle.secret in self._controls:
                self.seen.add((hit.needle.secret, piece.kind))
            else:
                self.hits.append(f"{piece.where}: {hit.needle.secret}, {hit.needle.form}, {hit.view}")

    def report(self) -> None:
        """Prints what was looked at, and each hit without what it is."""
        for kind in sorted(self._bytes):
            print(f"  {kind}: {self._pieces[kind]} pieces, {self._bytes[kind]:,} bytes")
        print(f"  {sum(self._pieces.values())} pieces, {sum(self._bytes.values()):,} bytes in all")
        for hit in self.hits:
            print(f"FOUND {hit}")


def play(folder: Path) -> int:
    """Runs the demo with all its logs; what it prints is kept as well. Its exit code."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [
        sys.executable,
        "-m",
        "deploy.demo",
        "--state",
        str(folder / "state"),
        "--output",
        str(folder / "demo.json"),
    ]
    with (folder / "demo.log").open("wb") as log:
        environment = {**os.environ, "LOG_LEVEL": "DEBUG"}
        return subprocess.run(command, cwd=REPOSITORY, stdout=log, stderr=log, env=environment, check=False).returncode


async def left_behind(folder: Path, keys: LocalKeys) -> AsyncIterator[Piece]:
    """Everything of a run: its files but the secrets' own, the tables of its Postgres, those of its Temporal."""
    for piece in places.files(folder, keys.folder):
        yield piece
    for piece in places.sqlite(folder / "state" / _TEMPORAL_FILE):
        yield piece
    postgres = start_postgres(folder / "state" / "postgres")
    try:
        async for piece in places.postgres(postgres.url):
            yield piece
    finally:
        postgres.stop()


async def scan(folder: Path) -> int:
    """Searches the folder of a run. The exit code."""
    keys = make_keys(folder / "state" / "keys")
    found = Scan(secrets_of(keys), _controls(folder, keys))
    async for piece in left_behind(folder, keys):
        found.look(piece)
    found.report()
    if found.hits:
        print(f"scan-secrets: {len(found.hits)} places show key material", file=sys.stderr)
        return 1
    unseen = sorted(f"{name} in {kind}" for name, kind in _CONTROLS - found.seen)
    if unseen:
        print(f"scan-secrets: not seen, though it must be there: {', '.join(unseen)}", file=sys.stderr)
        return 2
    print("scan-secrets: no key material; what is public is seen where it must be")
    return 0


def _controls(folder: Path, keys: LocalKeys) -> list[Secret]:
    account = KeySigner.from_file(keys.backend_key).address(_TESTNET_VERSION).text
    policy = json.loads((folder / _RESULT).read_text())["policies"][0]["id"]
    return [Secret(_ACCOUNT, account.encode(), is_text=True), Secret(_POLICY, policy.encode(), is_text=True)]


def main() -> int:
    """Plays and searches."""
    parser = argparse.ArgumentParser(prog="scan-secrets", description="Searches a run of the demo for key material.")
    parser.add_argument("--folder", type=Path, default=REPOSITORY / ".state" / "secret_scan", help="of the run")
    parser.add_argument("--no-demo", action="store_true", help="search what an earlier run left there")
    given = parser.parse_args()
    if not given.no_demo and play(given.folder) != 0:
        print(f"scan-secrets: the demo failed; see {given.folder / 'demo.log'}", file=sys.stderr)
        return 2
    return asyncio.run(scan(given.folder))


if __name__ == "__main__":
    sys.exit(main())
