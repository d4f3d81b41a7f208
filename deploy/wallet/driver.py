"""Drives the outside wallet (`wallet.mjs`) from asyncio: one subprocess, requests answered as they finish."""

from __future__ import annotations

import asyncio
import itertools
import json
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from deploy.devnet.node_program import node_environment, node_executable

_PROGRAM = Path(__file__).with_name("wallet.mjs")
_LINE_LIMIT = 64 * 1024 * 1024


class WalletError(Exception):
    """The wallet could not do what it was asked, or ended."""


class TransactionRejected(WalletError):
    """The node refused a broadcast; `rejection` is its answer: error, reason, reason_data, txid."""

    def __init__(self, message: str, rejection: Mapping[str, Any]) -> None:
        super().__init__(message)
        self.rejection = rejection

    @property
    def reason(self) -> str:
        """The node's reason code, such as FeeTooLow; empty when it gave none."""
        return str(self.rejection.get("reason", ""))


@dataclass(frozen=True)
class Account:
    """A seed with its address and its compressed public key (hex)."""

    seed: str
    address: str
    public_key: str


@dataclass(frozen=True)
class Signature:
    """65 bytes r||s||recovery id (hex), and the compressed public key (hex)."""

    signature: str
    public_key: str


@dataclass(frozen=True)
class SignedTransaction:
    """A signed transaction: raw bytes and txid in hex without 0x, fee in uSTX."""

    raw: str
    txid: str
    sender: str
    nonce: int
    fee: int


class Wallet:
    """Users' keys by seed (any text). Use as an async context manager.

    `call`, `deploy` and `transfer` only sign; `broadcast` sends. They also take `nonce`, `fee` (uSTX; both asked of
    the node when left out), `post_conditions` (each hex as on the wire, or a mapping as `@stacks/transactions` has
    it), `post_condition_mode` ("deny" | "allow"), `network`, `chain_id` and `sponsored` (another signs
    after us and pays the fee).
    """

    def __init__(self, api_url: str) -> None:
        self._api_url = api_url
        self._process: Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._ids = itertools.count(1)

    async def __aenter__(self) -> Self:
        command = [node_executable(), str(_PROGRAM), "--api", self._api_url]
        self._process = await asyncio.create_subprocess_exec(
            *command, stdin=PIPE, stdout=PIPE, env=node_environment(), limit=_LINE_LIMIT
        )
        self._reader = asyncio.create_task(self._read())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None and self._process.stdin is not None and self._reader is not None
        self._process.stdin.close()
        await self._process.wait()
        await self._reader

    async def address(self, seed: str | None = None) -> Account:
        """The account of a seed; without one, of a fresh random seed."""
        answer = await self._ask("address", {} if seed is None else {"seed": seed})
        return Account(answer["seed"], answer["address"], answer["public_key"])

    async def sign_message(self, seed: str, message: str) -> Signature:
        """Signs a plain message as wallets do."""
        return Signature(**await self._ask("sign_message", {"seed": seed, "message": message}))

    async def sign_structured(self, seed: str, domain: str, message: str) -> Signature:
        """Signs structured data (SIP-018); both are serialized Clarity values in hex."""
        fields = {"seed": seed, "domain": domain, "message": message}
        return Signature(**await self._ask("sign_structured", fields))

    async def call(
        self, seed: str, contract: str, function: str, args: Sequence[str] = (), **common: Any
    ) -> SignedTransaction:
        """A signed contract call; `args` are serialized Clarity values in hex."""
        fields = {"seed": seed, "contract": contract, "function": function, "args": list(args)}
        return await self._sign("call", fields, common)

    async def deploy(self, seed: str, name: str, code: str, **common: Any) -> SignedTransaction:
        """A signed deployment of Clarity 4 source."""
        return await self._sign("deploy", {"seed": seed, "name": name, "code": code}, common)

    async def transfer(self, seed: str, recipient: str, amount: int, **common: Any) -> SignedTransaction:
        """A signed transfer of uSTX."""
        fields = {"seed": seed, "recipient": recipient, "amount": str(amount)}
        return await self._sign("transfer", fields, common)

    async def broadcast(self, raw: str) -> str:
        """Sends a signed transaction; gives its txid; raises TransactionRejected."""
        answer = await self._ask("broadcast", {"raw": raw})
        return str(answer["txid"])

    async def _sign(self, op: str, fields: dict[str, Any], common: dict[str, Any]) -> SignedTransaction:
        for name in ("nonce", "fee"):
            if common.get(name) is not None:
                common[name] = str(common[name])
        chosen = {name: value for name, value in common.items() if value is not None}
        answer = await self._ask(op, {**fields, **chosen})
        sender, nonce, fee = answer["sender"], int(answer["nonce"]), int(answer["fee"])
        return SignedTransaction(answer["raw"], answer["txid"], sender, nonce, fee)

    async def _ask(self, op: str, fields: Mapping[str, Any]) -> dict[str, Any]:
        assert self._process is not None and self._process.stdin is not None and self._reader is not None
        if self._reader.done():
            raise WalletError("the wallet process has ended")
        identifier = next(self._ids)
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[identifier] = future
        line = json.dumps({"id": identifier, "op": op, **fields}) + "\n"
        self._process.stdin.write(line.encode())
        await self._process.stdin.drain()
        answer = await future
        if "rejection" in answer:
            raise TransactionRejected(answer["error"], answer["rejection"])
        if "error" in answer:
            raise WalletError(answer["error"])
        ok: dict[str, Any] = answer["ok"]
        return ok

    async def _read(self) -> None:
        assert self._process is not None and self._process.stdout is not None
        while line := await self._process.stdout.readline():
            answer = json.loads(line)
            future = self._waiting.pop(answer["id"])
            if not future.done():
                future.set_result(answer)
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(WalletError("the wallet process has ended"))
        self._waiting.clear()
