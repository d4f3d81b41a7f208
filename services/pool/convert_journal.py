"""The journal's entries and statement lines as messages, and the page tokens of their lists."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Final

from bithedge.pool.v1 import pool_service_pb2 as pb
from bithedge.type.v1 import money_pb2

from kernel.errors import InvalidArgument
from kernel.ids import resource_name
from kernel.units import Token
from services.pool import convert
from services.pool.domain import ledger
from services.pool.domain.correction import is_account
from services.pool.store_journal import EntryFilter, StoredEntry

_ENTRY_NAME: Final = re.compile(r"journalEntries/([1-9][0-9]{0,17})")
_KEY: Final = re.compile(r"[ -~]{0,300}")
_MOST_OF_A_REASON: Final = 500


def entry_id(name: str) -> int:
    """`journalEntries/{number}` → its number."""
    match = _ENTRY_NAME.fullmatch(name)
    if match is None:
        raise InvalidArgument.of("name", "expected journalEntries/{number}", "INVALID_NAME")
    return int(match[1])


def entry_filter(request: pb.ListJournalEntriesRequest) -> EntryFilter:
    """Which entries a request asks for."""
    for field in ("cause", "subject", "provider_principal"):
        if not _KEY.fullmatch(getattr(request, field)):
            raise InvalidArgument.of(field, "expected at most 300 printable characters")
    before = from_page_token("entry", request.page_token)
    return EntryFilter(request.cause, request.subject, request.provider_principal, before)


def page_token(kind: str, last_id: int | None) -> str:
    """Where the next page of rows that fall in their id begins."""
    return base64.urlsafe_b64encode(f"{kind}:{last_id}".encode()).decode()


def from_page_token(kind: str, text: str) -> int | None:
    """The id that a token of ours was made of; None for the first page."""
    if not text:
        return None
    try:
        prefix, _, number = base64.urlsafe_b64decode(text.encode()).decode().partition(":")
        if prefix == kind and 0 < int(number) < 1 << 63:
            return int(number)
    except (binascii.Error, ValueError) as error:
        raise InvalidArgument.of("page_token", "not a token of ours", "INVALID_PAGE_TOKEN") from error
    raise InvalidArgument.of("page_token", "not a token of this list", "INVALID_PAGE_TOKEN")


def check_correction(request: pb.CreateCorrectionRequest) -> Token:
    """The token of a correction; InvalidArgument for one that names no two accounts, no amount or no reason."""
    token = convert.token(request.amount.token, "amount.token")
    for field in ("from_account", "to_account"):
        if not is_account(getattr(request, field), token):
            raise InvalidArgument.of(field, "name an account of the ledger in this token")
    if request.from_account == request.to_account:
        raise InvalidArgument.of("to_account", "must differ from from_account")
    if request.amount.base_units <= 0:
        raise InvalidArgument.of("amount.base_units", "must be positive")
    if not 0 < len(request.reason) <= _MOST_OF_A_REASON or not request.reason.isprintable():
        raise InvalidArgument.of("reason", f"say why, in at most {_MOST_OF_A_REASON} printable characters")
    return token


def entry_message(entry: StoredEntry) -> pb.JournalEntry:
    """An entry with everything that belongs to it."""
    row = entry.row
    return pb.JournalEntry(
        name=_name(entry.id),
        kind=row.kind,
        cause=row.cause,
        subject=row.subject or "",
        burn_height=row.burn_height,
        time=convert.timestamp(row.time),
        txid=row.txid,
        reason=row.reason,
        author_principal=row.author or "",
        postings=[_posting_message(posting) for posting in entry.postings],
        lines=[
            pb.StatementLine(
                time=convert.timestamp(row.time),
                kind=line.kind,
                tier=money_pb2.Tier.ValueType(int(line.tier)),
                amount=convert.amount_message(int(line.token), line.amount),
                shares_delta=line.shares_delta,
                txid=row.txid,
                burn_height=row.burn_height,
                provider_principal=line.provider,
            )
            for line in entry.lines
        ],
        reverses=_name(row.reverses),
        reversed_by=_name(entry.reversed_by),
    )


def _posting_message(posting: ledger.Posting) -> pb.Posting:
    token = money_pb2.Token.ValueType(int(posting.token))
    return pb.Posting(account=posting.account, token=token, amount_delta_base_units=posting.amount)


def _name(number: int | None) -> str:
    return "" if number is None else resource_name("journalEntries", str(number))
