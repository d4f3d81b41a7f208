"""Receipts checked offline: good ones hold, in either form; whatever is changed in one is found and named."""

from __future__ import annotations

import contextlib
import datetime as dt
import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from bithedge.oracle.v1 import oracle_service_pb2 as pb
from bithedge.type.v1 import money_pb2, price_pb2
from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor

from kernel.errors import InvalidArgument
from services.identity.domain.wallet import Network, address_of
from services.oracle.domain.evidence import EvidenceMismatch
from services.oracle.domain.prices import Feed
from services.oracle.signing import ContractAddress
from services.oracle.verify import Pinned, main, verify
from tests.integration.oracle.harness import (
    CHAIN_ID,
    DEPLOYER,
    START,
    USD,
    WORKFLOWS,
    Oracle,
    ScriptedPrices,
    oracle_at,
)

POLICY = "policies/" + "0190" * 8
FIRST = int(START.timestamp())
# What no signature and no rule binds: descriptions, and the share of a vote that changes no median.
_DESCRIPTIONS = re.compile(r".*\.(reason|synthetic|source|simulated|vote_ppm)")
# Of a round that was not OK all but that it was not.
_NOT_OK = re.compile(r"\.(price\.burn_height|observations.*)")


async def _receipts(database_url: str) -> tuple[pb.GetReceiptResponse, pb.GetReceiptResponse, str]:
    """One of an activation that three unusable rounds came before, one of an expiry, and the oracle's public key."""
    source = ScriptedPrices()
    async with oracle_at(database_url, source) as oracle:
        request_time = START + dt.timedelta(seconds=59)
        await oracle.advance(60)
        source.sources[Feed.BTC_USD] = 0
        await oracle.advance(60)
        source.sources[Feed.BTC_USD] = 2
        await oracle.advance(60)
        source.sources[Feed.BTC_USD] = 5
        await oracle.advance(60)
        activation = await _activation(oracle, request_time)
        await oracle.advance(2_400)
        source.sources[Feed.BTC_USD] = 2
        await oracle.advance(120)
        source.sources[Feed.BTC_USD] = 5
        await oracle.advance(1_080)
        height = oracle.gateway.burn_height
        await oracle.stub.CreateExpiryReceipt(
            pb.CreateExpiryReceiptRequest(expiration_burn_height=height), metadata=WORKFLOWS
        )
        purpose = price_pb2.ExpiryPurpose(expiration_burn_height=height)
        expiry = await oracle.stub.GetReceipt(pb.GetReceiptRequest(expiry=purpose))
        return activation, expiry, oracle.public_key.hex()


async def _activation(oracle: Oracle, time: dt.datetime) -> pb.GetReceiptResponse:
    request = pb.CreateActivationReceiptRequest(
        policy=POLICY,
        activation_number=1,
        request_burn_height=oracle.gateway.burn_height,
        strike_price_usd_e8=8_500 * USD,
        floor_price_usd_e8=4_000 * USD,
        protected_amount_sats=10_000_000,
        settlement_token=money_pb2.TOKEN_SBTC,
    )
    request.request_market_time.FromDatetime(time)
    await oracle.stub.CreateActivationReceipt(request, metadata=WORKFLOWS)
    purpose = price_pb2.ActivationPurpose(policy=POLICY, activation_number=1)
    found: pb.GetReceiptResponse = await oracle.stub.GetReceipt(pb.GetReceiptRequest(activation=purpose))
    return found


def _pinned(key: str, **changes: Any) -> Pinned:
    deployer = ContractAddress(DEPLOYER, "testnet")
    fields: dict[str, Any] = {
        "key": key,
        "network": "testnet",
        "chain_id": CHAIN_ID,
        "deployer": deployer,
        "interval_seconds": 60,
    }
    return Pinned(**(fields | changes))


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


def _refusal(response: pb.GetReceiptResponse, pinned: Pinned) -> str:
    with pytest.raises((EvidenceMismatch, InvalidArgument)) as refused:
        verify(response, pinned)
    return str(refused.value)


async def test_every_field_that_decides_is_bound(database_url: str) -> None:
    """Both receipts hold. Changed in any one field, of receipt, round, observation or signature, they are refused,
    but for what only describes; and a pinned key, chain, deployer or interval that is another refuses them too."""
    activation, expiry, key = await _receipts(database_url)
    pinned = _pinned(key)
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
    for other in (_pinned("02" * 33), _pinned(key, chain_id=1), _pinned(key, deployer=mainnet)):
        assert "receipt: signed by" in _refusal(expiry, other)
    assert "cover too little" in _refusal(expiry, _pinned(key, interval_seconds=20))


async def test_what_is_left_out_put_in_or_exchanged_is_found(database_url: str) -> None:
    """A hidden round, a later one in place of the first, one too many, another feed's, an unsigned one, and one whose
    observations are gone are each refused for that reason."""
    activation, expiry, key = await _receipts(database_url)
    pinned = _pinned(key)

    def changed(whole: pb.GetReceiptResponse, change: Callable[[pb.GetReceiptResponse], Any]) -> str:
        copy = pb.GetReceiptResponse.FromString(whole.SerializeToString())
        change(copy)
        return _refusal(copy, pinned)

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
    checked; a changed one, another form and no file exit 1 with the reason."""
    activation, expiry, key = await _receipts(database_url)
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
    for path in (as_bytes, bad, tmp_path / "none"):
        assert main([str(path), *options, key]) == 1
    told = capsys.readouterr().err.splitlines()
    assert [line.startswith("receipt REFUSED: ") for line in told] == [True] * 3
    assert "not for this content" in told[0]
