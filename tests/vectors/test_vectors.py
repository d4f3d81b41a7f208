"""The runner on the recorded vectors, and that it can fail."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.vectors.runner import check_document, check_file, main

_DATA = Path(__file__).parent / "data"
_COUNTS = {
    "capped_puts_open.json": 60,
    "quantlib_puts_open.json": 100,
    "volatility_open.json": 10,
    "stacks/addresses.json": 67,
    "stacks/clarity_values.json": 79,
    "stacks/messages.json": 130,
    "stacks/transactions.json": 87,
}


def _document(name: str) -> dict[str, Any]:
    document = json.loads((_DATA / name).read_text(encoding="utf-8"))
    assert isinstance(document, dict)
    return document


def _changed(content: object) -> object:
    """Another value of the same kind, as different as a slip of the hand."""
    if isinstance(content, bool):
        return not content
    if isinstance(content, int | float):
        return content * 1.01 + 0.001
    if isinstance(content, str):
        return content[:-1] + ("0" if content[-1:] != "0" else "1")
    raise AssertionError(f"nothing to change in {content!r}")


@pytest.mark.parametrize("name", sorted(_COUNTS))
def test_every_recorded_vector_passes(name: str) -> None:
    """Proves that ours agrees with every entry of a file, and that no entry and no field was passed over."""
    report = check_file(_DATA / name)
    assert report.failed == 0, "\n".join(report.lines)
    assert report.passed == _COUNTS[name]
    assert not [line for line in report.lines if "field not compared" in line]


def test_informational_entries_are_reported_and_not_counted() -> None:
    """Proves that entries where the peer is lenient show in the report and that we refuse each of them."""
    report = check_file(_DATA / "stacks/messages.json")
    assert report.informational == 20
    assert sum("we refuse" in line for line in report.lines) >= 20
    assert not [line for line in report.lines if "differs" in line]


@pytest.mark.parametrize(
    ("name", "section", "fields"),
    [
        ("stacks/addresses.json", "valid", "private_key compressed public_key hash160 mainnet testnet"),
        ("stacks/addresses.json", "raw_hash", "version hash160 address"),
        ("stacks/clarity_values.json", "values", "repr hex"),
        (
            "stacks/transactions.json",
            "transactions",
            "network tx_version chain_id private_key public_key sender fee nonce anchor_mode post_condition_mode"
            " initial_sighash presign_sighash unsigned_hex signed_hex txid",
        ),
        (
            "stacks/transactions.json",
            "sponsored",
            "network origin_private_key sponsor_private_key origin sponsor origin_nonce origin_fee sponsor_fee"
            " sponsor_nonce post_condition_mode origin_signed_hex signed_hex txid",
        ),
        (
            "stacks/transactions.json",
            "multisig_2of3",
            "network threshold hash_mode signer_hash160 address recipient amount memo fee nonce signed_hex txid",
        ),
        (
            "stacks/messages.json",
            "plain",
            "message encoded_hex hash private_key public_key mainnet testnet signature_rsv",
        ),
        ("stacks/messages.json", "structured", "domain_hash message_hash encoded_hex hash signature_rsv"),
        (
            "quantlib_puts_open.json",
            "rows",
            "spot strike strike_pct vol t_years rate dividend_yield premium premium_pct_of_spot delta gamma vega"
            " theta_per_year rho implied_vol cash_or_nothing_put_cash cash_or_nothing_put_premium"
            " cash_or_nothing_put_delta",
        ),
        ("capped_puts_open.json", "rows", "spot strike floor vol days european american"),
    ],
)
def test_a_change_to_any_field_fails_its_entry(name: str, section: str, fields: str) -> None:
    """Proves that the runner compares each field: a changed one fails exactly the entry that holds it."""
    document = _document(name)
    entry, other = document[section][2], document[section][1]
    for field in fields.split():
        corrupted = {section: [{**entry, field: _changed(entry[field])}, other]}
        report = check_document({**_frame(document), **corrupted})
        assert report.failed == 1, f"{name} {section} {field}: {report.lines}"
        assert report.passed == 1


def _frame(document: dict[str, Any]) -> dict[str, Any]:
    """What tells a document's shape, without its entries."""
    return {section: [] for section, content in document.items() if isinstance(content, list)}


@pytest.mark.parametrize("figure", ["n_returns", "close_to_close_sample", "ewma_094", "parkinson"])
def test_a_change_to_a_volatility_fails(figure: str) -> None:
    """Proves that each recorded volatility is compared."""
    case = copy.deepcopy(_document("volatility_open.json")["cases"][0])
    case["expected"][figure] = _changed(case["expected"][figure])
    assert check_document({"cases": [case]}).failed == 1


def _valid_where_refusal_is_due() -> list[tuple[str, Callable[[dict[str, Any]], dict[str, Any]]]]:
    """Sections of entries to refuse, each with an entry that there is no reason to refuse."""
    good_address = "SP000000000000000000002Q6VF78"
    return [
        ("stacks/addresses.json:invalid", lambda entry: {**entry, "address": good_address}),
        ("stacks/addresses.json:wrong_version", lambda entry: {**entry, "address": good_address}),
        ("stacks/clarity_values.json:malformed", lambda entry: {**entry, "hex": "03"}),
        ("stacks/transactions.json:tampered", _first_signed),
        ("stacks/messages.json:plain_tampered", _first_plain),
    ]


def _first_signed(entry: dict[str, Any]) -> dict[str, Any]:
    return {**entry, "signed_hex": _document("stacks/transactions.json")["transactions"][0]["signed_hex"]}


def _first_plain(entry: dict[str, Any]) -> dict[str, Any]:
    good = _document("stacks/messages.json")["plain"][0]
    return {**entry, **{name: good[name] for name in ("message", "public_key", "signature_rsv")}}


@pytest.mark.parametrize(("place", "mend"), _valid_where_refusal_is_due())
def test_a_good_entry_among_those_to_refuse_fails(place: str, mend: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Proves that an entry to refuse passes only because it is refused."""
    name, section = place.split(":")
    document = _document(name)
    report = check_document({**_frame(document), section: [mend(document[section][0])]})
    assert (report.passed, report.failed) == (0, 1)


def test_what_cannot_be_checked_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Proves that no file, an unreadable one, an empty one, or one of unknown shape is ever a success."""
    unreadable, empty, unknown = (tmp_path / name for name in ("a.json", "b.json", "c.json"))
    unreadable.write_text("{")
    empty.write_text('{"values": []}')
    unknown.write_text('{"values": [], "surprise": [{"hex": "03"}]}')
    for arguments in ([], [str(unreadable)], [str(empty)], [str(unknown)], [str(tmp_path / "none.json")]):
        assert main(arguments) == 1
        assert capsys.readouterr().out.splitlines()[-1].startswith("0 passed, ")


def test_the_last_line_counts_all_files(capsys: pytest.CaptureFixture[str]) -> None:
    """Proves the form of the runner's answer over several files."""
    names = ["stacks/addresses.json", "volatility_open.json"]
    assert main([str(_DATA / name) for name in names]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "77 passed, 0 failed"
