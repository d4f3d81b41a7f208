"""The gateway's own rules: nonces, finality, remedies, cursors, fees, and what is never signed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.errors import BitHedgeError, FailedPrecondition, InvalidArgument
from services.chain_gateway.domain import confirmation, contract_call, rejection
from services.chain_gateway.domain.confirmation import IntentState, TransactionState
from services.chain_gateway.domain.cursor import Cursor, encode_cursor, parse_cursor
from services.chain_gateway.domain.nonce import MAX_PENDING, free_nonces, holes
from services.chain_gateway.domain.outcome import Attempt, Place, judge
from services.chain_gateway.domain.rejection import Remedy
from services.chain_gateway.domain.terms import Quote, check_quote, check_voucher

_NONCES = st.integers(min_value=0, max_value=200)
_USD = 100_000_000
_QUOTE = Quote(
    tier=2,
    token=1,
    strike_price_usd_e8=48_000 * _USD,
    floor_price_usd_e8=36_000 * _USD,
    btc_price_usd_e8=50_000 * _USD,
    stx_price_usd_e8=_USD,
    premium_base_units=1,
    quote_burn_height=100,
    quote_expiration_burn_height=106,
    expiration_burn_height=244,
)


@given(chain=_NONCES, occupied=st.sets(_NONCES))
def test_free_nonces_are_the_lowest_ones_within_25(chain: int, occupied: set[int]) -> None:
    """Never used on chain nor occupied, ascending, and none of the 25 that a node keeps is left out."""
    free = free_nonces(chain, occupied)
    assert free == sorted(free)
    assert set(free) == set(range(chain, chain + MAX_PENDING)) - occupied


@given(chain=_NONCES, occupied=st.sets(_NONCES), abandoned=st.sets(_NONCES))
def test_filling_the_holes_leaves_no_gap(chain: int, occupied: set[int], abandoned: set[int]) -> None:
    """With the holes filled, all from the chain's nonce up to the highest taken one are; nothing else is filled."""
    found = holes(chain, occupied, abandoned)
    ahead = {nonce for nonce in occupied | abandoned if nonce >= chain}
    assert not found & occupied
    filled = found | {nonce for nonce in occupied if nonce >= chain}
    assert filled == (set(range(chain, max(ahead) + 1)) if ahead else set())


def test_no_transition_leaves_an_end() -> None:
    """CONFIRMED and ABORTED are reached from PENDING alone and never left; every state has its row."""
    assert set(confirmation.TRANSITIONS) == set(TransactionState)
    for end in (TransactionState.CONFIRMED, TransactionState.ABORTED):
        assert not confirmation.TRANSITIONS[end]
        assert {one for one, targets in confirmation.TRANSITIONS.items() if end in targets} == {
            TransactionState.PENDING
        }
    with pytest.raises(ValueError, match="from CONFIRMED to PENDING"):
        confirmation.moved(TransactionState.CONFIRMED, TransactionState.PENDING)
    assert confirmation.moved(TransactionState.CONFIRMED, TransactionState.CONFIRMED) is TransactionState.CONFIRMED


@given(tip=st.integers(min_value=0, max_value=10**7), confirmations=st.integers(min_value=1, max_value=100))
def test_final_means_that_many_blocks_lie_on_top(tip: int, confirmations: int) -> None:
    """A height is final exactly when it has the confirmations."""
    final = confirmation.final_burn_height(tip, confirmations)
    assert tip - final == confirmations
    if final >= 0:
        assert confirmation.burn_confirmations(tip, final) == confirmations
        assert confirmation.burn_confirmations(tip, final + 1) == confirmations - 1


@pytest.mark.parametrize(
    ("status", "transaction", "intent"),
    [
        ("success", TransactionState.CONFIRMED, IntentState.CONFIRMED),
        ("abort_by_response", TransactionState.ABORTED, IntentState.ABORTED),
        ("abort_by_post_condition", TransactionState.ABORTED, IntentState.ABORTED),
    ],
)
def test_what_is_final_ends(status: str, transaction: TransactionState, intent: IntentState) -> None:
    """Success confirms, any abort aborts."""
    assert confirmation.final_state(status) is transaction
    assert confirmation.intent_end(status) is intent


@pytest.mark.parametrize(
    ("result", "number"),
    [("(err u3014)", 3014), ("(ok u3014)", 0), ("(err (tuple (a u1)))", 0), ("", 0), ("(err u1) ", 0)],
)
def test_the_error_number_is_read_strictly(result: str, number: int) -> None:
    """Only `(err uN)` holds a number."""
    assert confirmation.contract_error(result) == number


def test_unknown_refusals_are_permanent() -> None:
    """A reason that concerns the bytes, or that we do not know, cancels; those that pass are waited for."""
    assert rejection.remedy("BadFunctionArgument") is Remedy.CANCEL
    assert rejection.remedy("SomethingNew") is Remedy.CANCEL
    assert rejection.remedy("TooMuchChaining") is Remedy.WAIT
    assert rejection.remedy("NotEnoughFunds") is Remedy.WAIT
    assert rejection.remedy("FeeTooLow") is Remedy.FEE
    assert {rejection.remedy(one) for one in ("BadNonce", "ConflictingNonceInMempool")} == {Remedy.NONCE}


@given(final=st.booleans(), sequence=st.integers(min_value=0, max_value=10**17))
def test_cursors_come_back(final: bool, sequence: int) -> None:
    """A cursor reads back as itself, and only on its own stream."""
    text = encode_cursor(Cursor(final, sequence))
    assert parse_cursor(text, final) == Cursor(final, sequence)
    with pytest.raises(InvalidArgument):
        parse_cursor(text, not final)


@given(text=st.text(min_size=1, max_size=12))
def test_any_other_text_is_no_cursor(text: str) -> None:
    """Whatever was not written by us is refused."""
    with pytest.raises(InvalidArgument):
        parse_cursor(text, final=False)


@given(
    fee=st.integers(min_value=0, max_value=10**9),
    floor=st.integers(min_value=0, max_value=10**9),
    cap=st.integers(min_value=0, max_value=10**9),
)
def test_a_raised_fee_is_higher_and_below_the_cap(fee: int, floor: int, cap: int) -> None:
    """A replacement pays more than what it replaces, or there is none."""
    raised = contract_call.raised_fee(fee, floor, cap)
    if raised is None:
        assert max(fee + max(1, fee // 4), floor) > cap
    else:
        assert fee < raised <= cap
        assert raised >= floor


def test_payouts_go_before_prices() -> None:
    """Settlements first, then expiries, then publications."""
    assert contract_call.SETTLE.priority < contract_call.EXPIRE.priority < contract_call.PUBLISH.priority


@pytest.mark.parametrize(
    ("changes", "tip", "kind"),
    [
        ({"tier": 0}, 100, InvalidArgument),
        ({"floor_price_usd_e8": 48_000 * _USD}, 100, InvalidArgument),
        ({"strike_price_usd_e8": 100_001 * _USD}, 100, InvalidArgument),
        ({"stx_price_usd_e8": 0}, 100, InvalidArgument),
        ({"token": 2}, 100, InvalidArgument),
        ({"premium_base_units": 0}, 100, InvalidArgument),
        ({"quote_expiration_burn_height": 99}, 100, InvalidArgument),
        ({"quote_expiration_burn_height": 137}, 100, InvalidArgument),
        ({"expiration_burn_height": 106}, 100, InvalidArgument),
        ({}, 99, FailedPrecondition),
        ({}, 107, FailedPrecondition),
    ],
)
def test_senseless_or_late_quotes_are_not_signed(changes: dict[str, Any], tip: int, kind: type[BitHedgeError]) -> None:
    """One wrong term is enough; the unchanged quote passes from its height to its end."""
    with pytest.raises(kind):
        check_quote(replace(_QUOTE, **changes), tip)
    for height in range(100, 107):
        check_quote(_QUOTE, height)


@pytest.mark.parametrize(("expiration", "valid"), [(99, False), (100, True), (1108, True), (1109, False)])
def test_vouchers_end_soon(expiration: int, valid: bool) -> None:
    """A voucher's last height lies between the tip and a week of blocks later."""
    if valid:
        check_voucher(expiration, 100)
    else:
        with pytest.raises(FailedPrecondition):
            check_voucher(expiration, 100)


def test_a_winner_waits_until_it_is_noted_what_its_block_says_of_it() -> None:
    """Only then it ends, by that; until then it has not lost either, nor has its intent, while its rivals have."""
    place = Place("user", 5)
    rival = Attempt("rival", place, "intent", mined=False)
    early = judge([Attempt("winner", place, "intent", mined=False), rival], {place: "winner"})
    assert (early.won, early.lost, early.losers) == (set(), {"rival"}, set())
    later = judge([Attempt("winner", place, "intent", mined=True)], {place: "winner"})
    assert (later.won, later.lost, later.losers) == ({"winner"}, set(), set())
