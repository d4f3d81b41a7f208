"""Clarity values: every one survives the wire, and nothing else is read from it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.chain_gateway.stacks.clarity import (
    MAX_DEPTH,
    MAX_VALUE_BYTES,
    Bool,
    Buffer,
    ClarityValue,
    ContractPrincipal,
    Int,
    KeyOrder,
    ListValue,
    NoneValue,
    Some,
    StringAscii,
    StringUtf8,
    TupleValue,
    UInt,
    deserialize,
    from_hex,
    parse_principal,
    serialize,
    to_hex,
)
from services.chain_gateway.stacks.errors import CodecError
from tests.unit.chain_gateway.stacks_strategies import principals, values


@given(values, st.sampled_from(KeyOrder))
def test_each_value_survives_the_wire(value: ClarityValue, order: KeyOrder) -> None:
    """Proves that reading what was written gives the value back, in either order of keys."""
    assert deserialize(serialize(value, order), order) == value


@given(values)
def test_hex_is_read_with_and_without_its_mark(value: ClarityValue) -> None:
    """Proves that the node's spelling of arguments and results reads back."""
    assert from_hex(to_hex(value)) == from_hex(serialize(value).hex()) == value


@given(st.binary(max_size=200))
def test_any_bytes_end_in_a_value_or_the_typed_error(data: bytes) -> None:
    """Proves that whatever is read is what would be written, and the rest is a CodecError."""
    try:
        value = deserialize(data)
    except CodecError:
        return
    assert serialize(value) == data


@given(values, st.data())
def test_a_part_of_a_value_is_refused(value: ClarityValue, data: st.DataObject) -> None:
    """Proves that truncated and trailing bytes are refused."""
    whole = serialize(value)
    for piece in (whole[: data.draw(st.integers(0, len(whole) - 1))], whole + data.draw(st.binary(min_size=1))):
        with pytest.raises(CodecError):
            deserialize(piece)


@given(values, st.data())
def test_a_flipped_bit_ends_in_another_value_or_the_typed_error(value: ClarityValue, data: st.DataObject) -> None:
    """Proves that a damaged value is never read as the one it was."""
    damaged = bytearray(serialize(value))
    bit = data.draw(st.integers(0, len(damaged) * 8 - 1))
    damaged[bit // 8] ^= 1 << bit % 8
    try:
        read = deserialize(bytes(damaged))
    except CodecError:
        return
    assert read != value
    assert serialize(read) == damaged


def test_the_deepest_value_is_read_and_a_deeper_one_refused() -> None:
    """Proves the limit on nesting, on both sides, and that a bomb of a million levels costs nothing."""
    value: ClarityValue = NoneValue()
    for _ in range(MAX_DEPTH - 1):
        value = Some(value)
    assert deserialize(serialize(value)) == value
    with pytest.raises(CodecError):
        serialize(Some(value))
    for levels in (MAX_DEPTH, 1_000_000):
        with pytest.raises(CodecError):
            deserialize(b"\x0a" * levels + b"\x09")


@pytest.mark.parametrize(
    "text",
    [
        "0bffffffff",  # a list of four thousand million
        "0cffffffff",  # a tuple of as many keys
        "02ffffffff",  # a buffer longer than any value
        "0c00000000",  # a tuple without keys
        "0c00000002016203016103",  # keys b, a
        "0c00000002016103016103",  # key a twice
        "0c0000000101" + b"1".hex() + "03",  # a key that starts with a digit
        "0c0000000100" + "03",  # a key without letters
        "0d0000000180",  # string-ascii that is not ASCII
        "0d0000000100",  # string-ascii with a control character
        "0e00000001ff",  # not UTF-8
        "0e00000003eda080",  # a lone surrogate
        "0e00000002c080",  # an overlong zero
        "0500" + "00" * 20,  # an address of no network
        "0616" + "00" * 20 + "00",  # a contract without a name
        "0616" + "00" * 20 + "29" + "61" * 41,  # a contract name of 41 letters
        "0f",
    ],
)
def test_what_the_chain_would_not_write_is_refused(text: str) -> None:
    """Proves that each departure from the canonical form is a CodecError."""
    with pytest.raises(CodecError):
        deserialize(bytes.fromhex(text))


def test_values_check_themselves() -> None:
    """Proves that no value exists that could not be written."""
    attempts: list[Callable[[], object]] = [
        lambda: Int(1 << 127),
        lambda: Int(-(1 << 127) - 1),
        lambda: UInt(-1),
        lambda: UInt(1 << 128),
        lambda: UInt(True),
        lambda: Bool(1),  # type: ignore[arg-type]
        lambda: Buffer("00"),  # type: ignore[arg-type]
        lambda: Buffer(bytes(MAX_VALUE_BYTES + 1)),
        lambda: StringAscii("é"),
        lambda: StringAscii("\x07"),
        lambda: StringUtf8("\ud800"),
        lambda: TupleValue({}),
        lambda: TupleValue({"1a": NoneValue()}),
        lambda: TupleValue({"a\n": NoneValue()}),
    ]
    for attempt in attempts:
        with pytest.raises(CodecError):
            attempt()


def test_a_value_of_many_parts_is_bounded_as_a_whole() -> None:
    """Proves that the limit on size holds for a value whose parts are each within it."""
    half = Buffer(bytes(MAX_VALUE_BYTES // 2))
    with pytest.raises(CodecError):
        serialize(ListValue((half, half)))


@given(values, st.permutations(["a", "b-c", "d"]))
def test_tuples_are_equal_whatever_the_order_of_their_keys(value: ClarityValue, names: list[str]) -> None:
    """Proves that the order in which a tuple was made changes neither its bytes, its equality nor its hash."""
    one, other = TupleValue(dict.fromkeys(names, value)), TupleValue(dict.fromkeys(sorted(names), value))
    assert one == other
    assert hash(one) == hash(other)
    assert serialize(one) == serialize(other)
    assert one["b-c"] == value
    with pytest.raises(CodecError):
        one["x"]


def test_tuple_keys_are_written_in_the_order_of_the_chain() -> None:
    """Proves the order of keys by what the Clarity VM's to-consensus-buff? gave for the same tuple."""
    numbers = {"a": 2, "A": 6, "a-": 5, "a-b": 1, "a?": 8, "a1": 3, "ab": 4, "b!": 9, "Z": 7}
    value = TupleValue({name: UInt(number) for name, number in numbers.items()})
    names = ["A", "Z", "a", "a-", "a-b", "a1", "a?", "ab", "b!"]
    expected = b"".join(
        bytes([len(name)]) + name.encode() + b"\x01" + numbers[name].to_bytes(16, "big") for name in names
    )
    assert serialize(value) == b"\x0c\x00\x00\x00\x09" + expected
    with pytest.raises(CodecError):
        deserialize(serialize(value, KeyOrder.COLLATED))


@given(principals)
def test_principals_survive_their_spelling(principal: ContractPrincipal) -> None:
    """Proves that a principal reads back from its text."""
    assert parse_principal(principal.text) == principal


@given(st.text(max_size=60))
def test_any_text_is_a_principal_or_the_typed_error(text: str) -> None:
    """Proves that reading a principal never raises anything but CodecError."""
    try:
        principal = parse_principal(text)
    except CodecError:
        return
    assert principal.text == text


def test_hex_is_strict() -> None:
    """Proves that spaces, odd digits and other marks are refused."""
    for text in ("0x0 3", "0X03", "3", "0x", "", "03 ", "0x0x03"):
        with pytest.raises(CodecError):
            from_hex(text)
