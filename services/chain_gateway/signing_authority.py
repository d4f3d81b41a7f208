"""Asks the signing policy before a key is used, on behalf of all replicas, and writes down what it said."""

from __future__ import annotations

import datetime as dt
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.clock import wall_now
from kernel.database import Database
from kernel.errors import PermissionDenied, ResourceExhausted
from kernel.log import get_logger
from kernel.settings import SettingsError
from services.chain_gateway import metrics, store_signing
from services.chain_gateway.domain.signing_policy import SUBJECT_REUSED, Refusal, Request, SigningRules, Used, judge
from services.chain_gateway.domain.signing_policy_document import PolicyDocumentError, read_signing_rules
from services.chain_gateway.tables_keys import SigningAudit

_BUILT_IN: Final = Path(__file__).with_name("signing_policy.toml")


def load_rules(path: str) -> SigningRules:
    """The rules of a TOML file, the built-in one when `path` is empty; SettingsError says what is wrong where."""
    try:
        document: Mapping[str, Any] = tomllib.loads(Path(path or _BUILT_IN).read_text())
        return read_signing_rules(document)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, PolicyDocumentError) as error:
        raise SettingsError(f"SIGNING_POLICY_FILE: {error}") from None


class SigningAuthority:
    """The signing policy with its memory in Postgres.

    What is allowed is written before it is signed. So the sums never miss a signature; they count one too many only if
    a process dies in between and its request never comes back.
    """

    def __init__(self, database: Database, rules: SigningRules) -> None:
        self._database = database
        self._rules = rules

    async def authorize(self, request: Request, account: str, reading: AsyncSession | None = None) -> None:
        """Returns if `account` may sign this; a subject that was allowed before stays so, and is counted once.

        Otherwise PermissionDenied when it never may, ResourceExhausted when it may later, both with a stable reason.
        `reading`: a transaction of the caller, which spares one of our own where the subject is known.
        """
        if reading is not None and await _is_known(reading, request):
            return
        async with self._database.transaction() as session:
            await store_signing.lock(session)
            if await _is_known(session, request):
                return
            refusal = await self._decide(session, request, account)
        if refusal is not None:
            self._raise(request, account, refusal)

    async def allow(self, requests: Sequence[Request], account: str) -> None:
        """Allows those of different subjects that may be signed, as if each were asked for in turn, in one transaction.

        Nothing is said of the others, nor written down: `authorize` does that.
        """
        if not requests:
            return
        async with self._database.transaction() as session:
            await store_signing.lock(session)
            known = await store_signing.allowed_among(session, [request.subject for request in requests])
            now, used, rows = wall_now(), dict[str, Used](), list[SigningAudit]()
            for request in requests:
                if request.what not in used:
                    used[request.what] = await self._used(session, request.what, now)
                if request.subject not in known and judge(self._rules, request, used[request.what]) is None:
                    used[request.what] = used[request.what].with_one(request.value)
                    rows.append(_audit(request, account, now))
            await store_signing.allow(session, rows)

    async def _used(self, session: AsyncSession, what: str, now: dt.datetime) -> Used:
        rule = self._rules.rules.get(what)
        return await store_signing.used(session, what, now, rule.most_per_minute) if rule else Used()

    async def _decide(self, session: AsyncSession, request: Request, account: str) -> Refusal | None:
        now = wall_now()
        if await store_signing.allowed(session, request.subject) is not None:
            refusal: Refusal | None = SUBJECT_REUSED
        else:
            refusal = judge(self._rules, request, await self._used(session, request.what, now))
        if refusal is None:
            await store_signing.allow(session, [_audit(request, account, now)])
        else:
            await store_signing.refuse(session, _audit(request, account, now, refusal.reason, refusal.message))
        return refusal

    def _raise(self, request: Request, account: str, refusal: Refusal) -> None:
        metrics.SIGNING_REFUSALS.labels(request.what, refusal.reason).inc()
        get_logger().error(
            "signature refused",
            what=request.what,
            subject=request.subject,
            account=account,
            reason=refusal.reason,
            detail=refusal.message,
        )
        error = ResourceExhausted if refusal.passes else PermissionDenied
        raise error(refusal.reason, refusal.message, subject=request.subject)


def _audit(request: Request, account: str, now: dt.datetime, reason: str = "", detail: str = "") -> SigningAudit:
    return SigningAudit(
        subject=request.subject,
        reason=reason,
        account=account,
        what=request.what,
        ustx=request.value.ustx,
        sats=request.value.sats,
        content_sha256=request.content_sha256,
        detail=detail,
        create_time=now,
        last_time=now,
    )


async def _is_known(session: AsyncSession, request: Request) -> bool:
    known = await store_signing.allowed(session, request.subject)
    return known is not None and known.content_sha256 == request.content_sha256
