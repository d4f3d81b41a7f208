"""One HTTP exchange with a node: a deadline, a bound on the answer's size, and typed failures."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote

import aiohttp
import msgspec

from services.chain_gateway.stacks.node_errors import (
    BroadcastRejected,
    NodeBusy,
    NodeError,
    NodeNotFound,
    NodeRefused,
    NodeUnavailable,
)
from services.chain_gateway.stacks.node_json import ValueT, read

MAX_ANSWER_BYTES = 64 * 1024 * 1024
_TEXT_SHOWN = 300
_TOO_MANY_REQUESTS = 429
_DEFAULT_REST_SECONDS = 1.0
_DIGITS_READ = 9

Query = Mapping[str, str] | Sequence[tuple[str, str]]


class NodeHttp:
    """Asks paths of one address. `session` is shared and closed by its owner."""

    def __init__(self, base_url: str, session: aiohttp.ClientSession, timeout_seconds: float) -> None:
        self.base_url = base_url.rstrip("/")
        self._session = session
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds)

    async def get(self, kind: type[ValueT], path: str, query: Query = ()) -> ValueT:
        """What is at a path; `NodeNotFound` when there is nothing."""
        return answer(kind, *await self.request("GET", path, query=query), path)

    async def find(self, kind: type[ValueT], path: str, query: Query = ()) -> ValueT | None:
        """What is at a path; None when there is nothing."""
        try:
            return await self.get(kind, path, query)
        except NodeNotFound:
            return None

    async def post(self, path: str, question: object, query: Query = ()) -> tuple[int, bytes]:
        """Sends JSON; answers status and body."""
        headers = {"Content-Type": "application/json"}
        body = msgspec.json.encode(question)
        return await self.request("POST", path, query=query, body=body, headers=headers)

    async def request(
        self,
        method: str,
        path: str,
        query: Query = (),
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, bytes]:
        """Status and body of one exchange; `NodeUnavailable` when there is no whole answer in time."""
        try:
            async with self._session.request(
                method,
                self.base_url + path,
                params=query or None,
                data=body,
                headers=headers,
                timeout=self._timeout,
                allow_redirects=False,
            ) as response:
                body_read = await _read(response)
                if response.status == _TOO_MANY_REQUESTS:
                    raise NodeBusy(retry_after(response.headers.get("Retry-After"), dt.datetime.now(dt.UTC)))
                return response.status, body_read
        except TimeoutError as error:
            raise NodeUnavailable(f"{method} {path}: no answer in time") from error
        except (aiohttp.ClientError, OSError) as error:
            raise NodeUnavailable(f"{method} {path}: {type(error).__name__}: {error}") from error


def answer(kind: type[ValueT], status: int, body: bytes, place: str) -> ValueT:
    """The value of a successful answer; a typed error for any other."""
    if status == 200:
        return read(kind, body, place)
    shown = body[:_TEXT_SHOWN].decode("utf-8", "replace")
    if status == 404:
        raise NodeNotFound(status, shown)
    if 400 <= status < 500:
        raise NodeRefused(status, shown)
    raise NodeUnavailable(f"the node answered {status}: {shown}")


def retry_after(header: str | None, now: dt.datetime) -> float:
    """Seconds that a ``Retry-After`` asks for, be it a number or a date (RFC 9110, 10.2.3); 1 for none or nonsense."""
    text = (header or "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:_DIGITS_READ])
    try:
        time = parsedate_to_datetime(text)
    except ValueError:
        return _DEFAULT_REST_SECONDS
    if time.tzinfo is None:
        time = time.replace(tzinfo=dt.UTC)
    return max(0.0, (time - now).total_seconds())


def rejection(body: bytes) -> NodeError:
    """Why the node did not take a transaction; its own troubles are a `NodeUnavailable`."""
    shown = body[:_TEXT_SHOWN].decode("utf-8", "replace")
    try:
        content = read(dict[str, Any], body, "rejection")
    except NodeUnavailable:
        return NodeRefused(400, shown)
    reason = content.get("reason")
    if not isinstance(reason, str):
        return NodeRefused(400, shown)
    if reason.startswith("ServerFailure"):
        return NodeUnavailable(f"the node failed over a transaction: {reason}")
    data, txid = content.get("reason_data"), content.get("txid")
    return BroadcastRejected(
        reason,
        data if isinstance(data, dict) else {},
        txid.removeprefix("0x") if isinstance(txid, str) else None,
    )


def part(text: str) -> str:
    """A piece of a path, whatever it holds."""
    return quote(text, safe="")


async def _read(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            raise NodeUnavailable("the node's answer is too long")
    return bytes(body)
