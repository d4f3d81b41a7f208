"""Receipts that were tampered with beyond any sense: checking one ends in an answer, whatever the file says."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from typing import Any

from bithedge.oracle.v1 import oracle_service_pb2 as pb
from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kernel.errors import InvalidArgument
from services.oracle.domain.evidence import EvidenceMismatch
from services.oracle.verify import Pinned, read_receipt, verify
from tests.integration.oracle.evidence import made_receipts, pinned_to, refusal

_EXTREMES = (0, -1, 1, 60, 10_001 * 60, 6 * 10**17, 253_402_300_740, -62_135_596_801, 2**31 - 1, -(2**63), 2**63 - 1)
_JSON_EXTREMES: tuple[Any, ...] = (
    *_EXTREMES,
    None,
    True,
    [],
    {},
    "",
    "NaN",
    "\ud800",
    "9" * 5_000,
    1e308,
    "0001-01-01T00:00:00Z",
    [[]],
)


def _answer(data: bytes, pinned: Pinned) -> str:
    """HOLDS, or why not; nothing else may come of any file."""
    try:
        response, _ = read_receipt(data)
        verify(response, pinned)
    except (EvidenceMismatch, InvalidArgument) as refused:
        return str(refused)
    return "HOLDS"


def _set_extreme(message: Any, choose: Callable[[int], int]) -> None:
    """Sets some number somewhere in the message, also one that is not set, to some extreme."""
    fields = message.DESCRIPTOR.fields
    field = fields[choose(len(fields))]
    value = getattr(message, field.name)
    if field.type == FieldDescriptor.TYPE_MESSAGE:
        if not field.is_repeated:
            _set_extreme(value, choose)
        elif value:
            _set_extreme(value[choose(len(value))], choose)
    elif isinstance(value, int):
        with contextlib.suppress(ValueError):
            setattr(message, field.name, _EXTREMES[choose(len(_EXTREMES))])


def _json_places(node: Any) -> Iterator[tuple[Any, Any]]:
    for key, value in list(node.items() if isinstance(node, dict) else enumerate(node)):
        yield node, key
        if isinstance(value, dict | list):
            yield from _json_places(value)


async def test_whatever_a_file_says_is_held_or_refused(database_url: str) -> None:
    """Any byte exchanged, any number set to an extreme in the binary form, any part of the JSON form replaced: the
    receipt holds or is refused with a reason; no other error, whatever the file."""
    activation, expiry, key = await made_receipts(database_url)
    pinned = pinned_to(key)
    tampering = settings(max_examples=300, deadline=None, database=None, suppress_health_check=list(HealthCheck))

    @tampering
    @given(whole=st.sampled_from([activation, expiry]), place=st.integers(0), mask=st.integers(1, 255))
    def bytes_are_exchanged(whole: pb.GetReceiptResponse, place: int, mask: int) -> None:
        data = bytearray(whole.SerializeToString())
        data[place % len(data)] ^= mask
        assert _answer(bytes(data), pinned)

    @tampering
    @given(whole=st.sampled_from([activation, expiry]), data=st.data())
    def numbers_are_extreme(whole: pb.GetReceiptResponse, data: st.DataObject) -> None:
        copy = pb.GetReceiptResponse.FromString(whole.SerializeToString())
        for _ in range(data.draw(st.integers(1, 3))):
            _set_extreme(copy, lambda size: data.draw(st.integers(0, size - 1)))
        assert _answer(copy.SerializeToString(), pinned)

    @tampering
    @given(
        whole=st.sampled_from([activation, expiry]), place=st.integers(0, 10_000), value=st.sampled_from(_JSON_EXTREMES)
    )
    def parts_are_replaced(whole: pb.GetReceiptResponse, place: int, value: Any) -> None:
        document = json_format.MessageToDict(whole)
        places = list(_json_places(document))
        node, at = places[place % len(places)]
        node[at] = value
        assert _answer(json.dumps(document).encode(), pinned)

    bytes_are_exchanged()
    numbers_are_extreme()
    parts_are_replaced()
    for text in ("{" * 100_000, '{"a":' * 100_000, '{"rounds":' + "[" * 100_000, "{}", "", '{"receipt":' + "9" * 5_000):
        assert "HOLDS" not in _answer(text.encode(), pinned)
    activation.prices[0].round = activation.rounds[0].price.round = 253_402_300_740
    assert "not the round that is shown" in _answer(activation.SerializeToString(), pinned)


async def test_evidence_without_end_is_refused_before_it_is_laid_out(database_url: str) -> None:
    """A request of a century before its round, all signed: the ten thousand rounds that a receipt may have are passed,
    and nothing as long as the century is made."""
    activation, _, key = await made_receipts(database_url)
    activation.request_market_time.FromSeconds(1)
    assert "rounds after the request" in refusal(activation, pinned_to(key))
