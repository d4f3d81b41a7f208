"""A short run of the fuzzer, what it finds when there is something to find, and inputs at the very limits."""

from __future__ import annotations

import pytest

from services.chain_gateway.stacks.clarity import MAX_DEPTH, MAX_VALUE_BYTES, deserialize, serialize
from services.chain_gateway.stacks.errors import CodecError
from services.chain_gateway.stacks.node_errors import NodeError
from tests.fuzz.codec import report, run
from tests.fuzz.inputs import recorded
from tests.fuzz.targets import TARGETS, Target

_ALWAYS_REFUSED = {"rejection of a node"}
"""What is read from these is an error itself."""


def test_a_short_run_finds_nothing() -> None:
    """Proves, on a few thousand damaged inputs, that each ends in a value or in the one typed error."""
    outcome = run(2_000, start=20_261_127)
    assert outcome.failure is None, report(outcome, 20_261_127)
    assert outcome.total == 2_000
    assert {target.name for target in TARGETS} == set(outcome.refused)
    assert {target.name for target in TARGETS} == set(outcome.read) | _ALWAYS_REFUSED


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_every_recorded_input_is_read(target: Target) -> None:
    """Proves that the fuzzer starts from inputs that are good, so that what it damages was whole."""
    for data in recorded()[target.name]:
        if target.name not in _ALWAYS_REFUSED:
            target.read(data)
            continue
        with pytest.raises(NodeError):
            target.read(data)


def _careless(data: bytes) -> None:
    if len(data) > 3:
        raise KeyError(data[0])
    raise CodecError("short")


def test_a_careless_reader_is_found_and_its_input_made_small() -> None:
    """Proves that another exception than CodecError fails a run, and that the report holds a small input."""
    outcome = run(300, start=1, targets=[Target("value", _careless)])
    assert outcome.failure is not None
    name, data, error = outcome.failure
    assert (name, len(data), type(error)) == ("value", 4, KeyError)
    assert data.hex() in report(outcome, 1)
    assert report(outcome, 1).endswith("1 failed")


def test_values_at_the_limits_are_read() -> None:
    """Proves that the largest and the deepest value pass, and that one step more is refused."""
    flags = MAX_VALUE_BYTES - 5
    widest = b"\x0b" + flags.to_bytes(4, "big") + b"\x03" * flags
    assert serialize(deserialize(widest)) == widest
    with pytest.raises(CodecError):
        deserialize(b"\x0b" + (flags + 1).to_bytes(4, "big") + b"\x03" * (flags + 1))
    deepest = b"\x0a" * (MAX_DEPTH - 1) + b"\x09"
    assert serialize(deserialize(deepest)) == deepest
    with pytest.raises(CodecError):
        deserialize(b"\x0a" + deepest)
