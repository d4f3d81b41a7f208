"""Identifiers and resource names (AIP-122): `policies/{id}`, the id 32 hexadecimal digits of a UUIDv7.

UUIDv7 (RFC 9562) starts with the time, so that rows that are created together stay together in an index.
"""

from __future__ import annotations

import re
import secrets
import time

from kernel.errors import InvalidArgument

_ID = re.compile(r"[0-9a-f]{32}")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/-]{1,128}")


def new_id() -> str:
    """A new UUIDv7 as 32 lower-case hexadecimal digits."""
    milliseconds = time.time_ns() // 1_000_000
    random_a, random_b = secrets.randbits(12), secrets.randbits(62)
    value = milliseconds << 80 | 0x7 << 76 | random_a << 64 | 0b10 << 62 | random_b
    return f"{value:032x}"


def resource_name(collection: str, identifier: str) -> str:
    """`policies` and an id → `policies/{id}`."""
    return f"{collection}/{identifier}"


def is_id(text: str) -> bool:
    """Whether it is 32 lower-case hexadecimal digits."""
    return _ID.fullmatch(text) is not None


def parse_resource_name(collection: str, name: str, field: str = "name") -> str:
    """The 32-digit id in `{collection}/{id}`; InvalidArgument naming `field` otherwise."""
    prefix, _, identifier = name.partition("/")
    if prefix != collection or not is_id(identifier):
        raise InvalidArgument.of(field, f"expected {collection}/{{32 hexadecimal digits}}", "INVALID_NAME")
    return identifier


def check_request_id(request_id: str) -> str:
    """The request id if it has 1 to 128 characters of [A-Za-z0-9._:/-]; InvalidArgument otherwise."""
    if not _REQUEST_ID.fullmatch(request_id):
        raise InvalidArgument.of("request_id", "expected 1 to 128 of A-Z a-z 0-9 . _ : / -", "INVALID_REQUEST_ID")
    return request_id
