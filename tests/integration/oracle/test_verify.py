"""Receipts checked offline: good ones hold, in either form; whatever is changed in one is found and named."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from bithedge.oracle.v1 import oracle_service_pb2 as pb
from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor

from kernel.errors import InvalidArgument
from services.identity.domain.wallet import Network, address_of
from services.oracle.domain.evidence import EvidenceMismatch
from services.oracle.signing import ContractAddress
from services.oracle.verify import main, verify
from tests.integration.oracle.evidence import made_receipts, pinned_to, refusal
from tests.integration.oracle.harness import (
    CHAIN_ID,
    DEPLOYER,
    START,
)

# What no signature and no rule binds: descriptions, and the share of a vote that changes no median.
_DESCRIPTIONS = re.compile(r".*\.(reason|synthetic|source|simulated|vote_ppm)")
# Of a round that was not OK all but that it was not.
_NOT_OK = re.compile(r"\.(price\.burn_height|observations.*)")


def _leaves(message: Any, path: str = "") -> Iterator[tuple[str, Callable[[], None]]]:
    """Every field that is set, by its path, and what changes it in place."""
    for field, value in message.ListFields():
        name = f"{path}.{field.name}".lstrip(".")
        if field.type != FieldDescriptor.TYPE_MESSAGE:
            yield name, lambda field=field, value=value: setattr(message, field.name, _other(field, value))  # type: ignore[misc]
        elif field.is_repeated:
            for place, one in enumerate(value):
                yield from _leaves(one, f"{name}[{place}]")
        else:
            yield from _leaves(value, name)


def _other(field: FieldDescriptor, value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, bytes):
        return value[:-2] + bytes([value[-2] ^ 1]) + value[-1:]
    if isinstance(value, str):
        return value[:-1] + ("0" if value[-1] != "0" else "1")
    if field.enum_type is not None:
        return 3 - value if value in (1, 2) else 1
    return value + 1


async def test_every_field_that_decides_is_bound(database_url: str) -> None:
    """Both receipts hold. Changed in any one field, of receipt, round, observation or signature, they are refused,
    but for what only describes; and a pinned key, chain, deployer or interval that is another refuses them too."""
    activation, expiry, key = await made_receipts(database_url)
    pinned = pinned_to(key)
    assert "first OK round after the request; 3 before it were not usable" in " ".join(verify(activation, pinned))
    assert "average of 28 rounds over 1800 seconds" in " ".join(verify(expiry, pinned))
    held = set()
    for whole in (activation, expiry):
        copy = pb.GetReceiptResponse.FromString(whole.SerializeToString())
        for place, (path, _) in enumerate(_leaves(copy)):
            changed = pb.GetReceiptResponse.FromString(whole.SerializeToString())
            dict(enumerate(_leaves(changed)))[place][1]()
            with contextlib.suppress(EvidenceMismatch, InvalidArgument):
                verify(changed, pinned)
                held.add(path)
        not_ok = [f"passed_rounds[{n}]" for n, one in enumerate(whole.passed_rounds) if one.price.status != 1]
        held -= {path for path in held for one in not_ok if _NOT_OK.fullmatch(path.removeprefix(one))}
    assert {path for path in held if not _DESCRIPTIONS.fullmatch(path)} == set()
    mainnet = ContractAddress("SP000000000000000000002Q6VF78", "mainnet")
    for other in (pinned_to("02" * 33), pinned_to(key, chain_id=1), pinned_to(key, deployer=mainnet)):
        assert "receipt: signed by" in refusal(expiry, other)
    assert "cover too little" in refusal(expiry, pinned_to(key, interval_seconds=20))


async def test_what_is_left_out_put_in_or_exchanged_is_found(database_url: str) -> None:
    """A hidden round, a later one in place of the first, one too many, another feed's, an unsigned one, and one whose
    observations are gone are each refused for that reason."""
    activation, expiry, key = await made_receipts(database_url)
    pinned = pinned_to(key)

    def changed(whole: pb.GetReceiptResponse, change: Callable[[pb.GetReceiptResponse], Any]) -> str:
        copy = pb.GetReceiptResponse.FromString(whole.SerializeToString())
        change(copy)
        return refusal(copy, pinned)

    assert "is not shown" in changed(activation, lambda one: one.passed_rounds.pop(0))
    assert "is not shown" in changed(expiry, lambda one: one.passed_rounds.pop(0))
    assert "shown twice" in changed(activation, lambda one: one.passed_rounds.append(one.passed_rounds[2]))
    assert "would decide" in changed(activation, lambda one: one.request_market_time.FromDatetime(START))
    assert "rounds where one decides" in changed(activation, _drop_last_round)
    assert "belongs to an activation" in changed(activation, lambda one: one.ClearField("request_market_time"))
    assert "purpose" in changed(activation, lambda one: one.receipt.ClearField("activation"))
    assert "could have decided and is not shown" in changed(expiry, _drop_last_round)
    assert "no observation that was used" in changed(expiry, lambda one: one.rounds[3].ClearField("observations"))
    assert "not signed" in changed(expiry, lambda one: one.rounds[3].ClearField("signed_round"))
    assert "not the round that is shown" in changed(
        expiry, lambda one: one.rounds[3].signed_round.CopyFrom(one.rounds[4].signed_round)
    )


def _drop_last_round(response: pb.GetReceiptResponse) -> None:
    response.rounds.pop()
    response.prices.pop()


async def test_the_command_reads_both_forms(
    database_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file in JSON or binary form, or standard input, against the key or its address, exits 0 and says what was
    checked; a changed one and another form exit 1 with the reason, no file and no key 2."""
    activation, expiry, key = await made_receipts(database_url)
    as_json, as_bytes, bad = (tmp_path / name for name in ("receipt.json", "receipt.bin", "bad"))
    as_json.write_text(json_format.MessageToJson(activation))
    as_bytes.write_bytes(expiry.SerializeToString())
    bad.write_text("receipt")
    options = ["--contract-deployer", DEPLOYER, "--oracle-key"]
    address = address_of(bytes.fromhex(key), Network.TESTNET)
    assert main([str(as_json), *options, key]) == main([str(as_bytes), *options, address]) == 0
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(expiry.SerializeToString())))
    assert main(["-", *options, key]) == 0
    said = capsys.readouterr().out
    assert said.count("receipt HOLDS") == 3
    assert "read in JSON form" in said
    assert "read in binary form" in said
    expiry.receipt.btc_price_usd_e8 += 1
    as_bytes.write_bytes(expiry.SerializeToString())
    for path in (as_bytes, bad):
        assert main([str(path), *options, key]) == 1
    told = capsys.readouterr().err.splitlines()
    assert [line.startswith("receipt REFUSED: ") for line in told] == [True] * 2
    assert "not for this content" in told[0]
    assert main([str(tmp_path / "none"), *options, key]) == main([str(as_json), *options, "key"]) == 2
    assert capsys.readouterr().err.count("nothing was checked: ") == 2


async def test_the_file_alone_is_enough(
    database_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing but the file: it says for whose contracts it is, holds, and the key that nothing vouches for is named;
    for others than it says, or none that there can be, it is refused, and without the entry nothing is checked."""
    monkeypatch.delenv("CONTRACT_DEPLOYER", raising=False)
    monkeypatch.delenv("ORACLE_KEY", raising=False)
    activation, _, key = await made_receipts(database_url)
    path = tmp_path / "receipt.json"

    def answer(**changes: Any) -> int:
        path.write_text(json_format.MessageToJson(activation) if not changes else _with(activation, changes))
        return main([str(path)])

    assert answer() == 0
    said = capsys.readouterr().out
    assert f"NOT PINNED. Everything is signed by {key}" in said
    assert f"for {DEPLOYER} on chain {CHAIN_ID}" in said
    other = "ST000000000000000000002AMW42H"
    assert [answer(contract_deployer=one) for one in (other, "ST\n", "")] == [1, 1, 2]
    assert answer(chain_id=1) == 1


def _with(response: pb.GetReceiptResponse, changes: dict[str, Any]) -> str:
    copy = pb.GetReceiptResponse.FromString(response.SerializeToString())
    for name, value in changes.items():
        setattr(copy, name, value)
    return json_format.MessageToJson(copy)


async def test_what_the_command_does_not_say_is_in_the_environment_or_said_to_be_missing(
    database_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file alone: with key and deployer in the environment it holds; without the key it holds with a warning that
    names the key that signed everything, and not where one round has another's; a wrong key refuses. What no signature
    covers is said each time."""
    activation, _, key = await made_receipts(database_url)
    path = tmp_path / "receipt.json"
    path.write_text(json_format.MessageToJson(activation))
    monkeypatch.setenv("CONTRACT_DEPLOYER", DEPLOYER)
    monkeypatch.delenv("ORACLE_KEY", raising=False)
    assert main([str(path)]) == 0
    said = capsys.readouterr().out
    assert f"NOT PINNED. Everything is signed by {key}" in said
    assert "not signed: source names, labels" in said
    monkeypatch.setenv("ORACLE_KEY", key)
    assert main([str(path)]) == 0
    said = capsys.readouterr().out
    assert "WARNING" not in said
    assert "not signed: source names, labels" in said
    monkeypatch.setenv("ORACLE_KEY", "02" * 33)
    assert main([str(path)]) == 1
    monkeypatch.delenv("ORACLE_KEY")
    signature = activation.rounds[0].signed_round.signature
    activation.rounds[1].signed_round.signature = signature
    path.write_text(json_format.MessageToJson(activation))
    assert main([str(path)]) == 1
    assert "STX/USD round" in capsys.readouterr().err
