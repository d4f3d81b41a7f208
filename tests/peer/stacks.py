"""Asks the Stacks JavaScript libraries (`stacks.mjs`), one question after the other."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from deploy.devnet.node_program import node_environment, node_executable

_PROGRAM = Path(__file__).with_name("stacks.mjs")


class PeerRefused(Exception):
    """The peer did not accept what it was asked."""


class StacksPeer:
    """The peer process. Use as a context manager."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [node_executable(), str(_PROGRAM)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=node_environment(),
            text=True,
            encoding="utf-8",
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate()

    def ask(self, operation: str, **fields: Any) -> dict[str, Any]:
        """The peer's answer; PeerRefused with its reason when it throws."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps({"op": operation, **fields}) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        if "error" in answer:
            raise PeerRefused(answer["error"])
        found: dict[str, Any] = answer["ok"]
        return found
