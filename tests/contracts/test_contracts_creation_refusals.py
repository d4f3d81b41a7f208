"""What `create-policy-entry` refuses, with which error number, and that it changes nothing."""

from __future__ import annotations

from typing import Any

import pytest

from kernel.units import Token, max_payout, payout
from tests.contracts.chain import CHAIN_ID, REGISTRY, SBTC, STX, USD, VAULT, Actor, Chain, Principal, refused

TOKENS = pytest.mark.parametrize("token", [STX, SBTC])
BAD_TERMS: list[tuple[str, dict[str, Any], int]] = [
    ("tier zero", {"tier": 0}, 1004),
    ("tier four", {"tier": 4}, 1004),
    ("strike below 47% of the price", {"strike-price-e8": 23_499 * USD, "floor-price-e8": 18_000 * USD}, 1012),
    ("strike above 103% of the price", {"strike-price-e8": 51_500 * USD + 1, "floor-price-e8": 40_000 * USD}, 1012),
    ("strike zero", {"strike-price-e8": 0}, 1012),
    ("floor below 60% of the strike", {"floor-price-e8": 28_800 * USD - 1}, 1013),
    ("floor above 98% of the strike", {"floor-price-e8": 47_040 * USD + 1}, 1013),
    ("floor at the strike", {"floor-price-e8": 48_000 * USD}, 1013),
    ("floor above the strike", {"floor-price-e8": 48_001 * USD}, 1013),
    ("floor zero", {"floor-price-e8": 0}, 1013),
    ("floor at the price", {"strike-price-e8": 51_400 * USD, "floor-price-e8": 50_000 * USD}, 3011),
    ("token zero", {"token": 0}, 3003),
    ("token three", {"token": 3}, 3003),
    ("no amount", {"amount-sats": 0}, 3004),
    ("premium zero", {"premium": 0}, 3012),
    ("BTC has fallen by more than 3% since the quote", {"btc-price-e8": 51_547 * USD}, 2010),
    ("quote for somebody else", {"holder": Principal(Actor("other").address)}, 3002),
]
BAD_TIMES: list[tuple[str, int, int, int, int]] = [
    ("lasts one block too short", 0, 6, 17, 1014),
    ("lasts one block too long", 0, 6, 4321, 1014),
    ("made one block in the future", 1, 6, 144, 3006),
    ("one block late", -7, -1, 144, 3007),
    ("payable for one block too long", 0, 7, 144, 3008),
]


@TOKENS
@pytest.mark.parametrize(("changes", "error"), [pytest.param(c, e, id=name) for name, c, e in BAD_TERMS])
def test_bad_terms_are_refused(refusing: Chain, token: int, changes: dict[str, Any], error: int) -> None:
    """A quote with one term out of its bounds is refused although the backend signed it."""
    before = refusing.pool(token)
    assert refused(refusing.pay_quote(refusing.holder, refusing.quote(token, **changes))) == error
    assert refusing.pool(token) == before
    assert refusing.read(REGISTRY, "get-policy-counter") == 0


@pytest.mark.parametrize(("made", "until", "end", "error"), [pytest.param(*c[1:], id=c[0]) for c in BAD_TIMES])
def test_bad_times_are_refused(refusing: Chain, made: int, until: int, end: int, error: int) -> None:
    """A quote outside its time, or for a time outside the tier's, is refused."""
    height = refusing.height
    changes = {
        "quote-burn-height": height + made,
        "quote-expiry-burn-height": height + until,
        "expiration-burn-height": height + end,
    }
    assert refused(refusing.pay_quote(refusing.holder, refusing.quote(SBTC, **changes))) == error


@pytest.mark.parametrize("quoted", [USD * 10_000 // 10_501, USD * 10_000 // 9_499, 0])
def test_a_moved_stx_price_is_refused(refusing: Chain, quoted: int) -> None:
    """An STX policy needs the published STX price within 5% of the quote's on both sides, and never zero."""
    assert refused(refusing.pay_quote(refusing.holder, refusing.quote(STX, **{"stx-price-e8": quoted}))) == 2010


def test_a_policy_that_could_pay_nothing_is_refused(refusing: Chain) -> None:
    """An amount whose largest payout rounds to zero is refused."""
    assert refused(refusing.pay_quote(refusing.holder, refusing.quote(SBTC, **{"amount-sats": 2}))) == 3004


@TOKENS
def test_a_premium_below_the_floor_is_refused(refusing: Chain, token: int) -> None:
    """One base unit below 95% of the payout at the published price plus 0.1% of the collateral is refused."""
    prices = {"strike-price-e8": 51_000 * USD, "floor-price-e8": 40_000 * USD}
    size = (Token(token), 10_000_000, 51_000 * USD, 40_000 * USD)
    most = max_payout(*size, USD, 3000)
    now = payout(*size, 50_000 * USD, USD, most)
    least = -(-(now * 9_500 + most * 10) // 10_000)
    assert refused(refusing.pay_quote(refusing.holder, refusing.quote(token, **prices, premium=least - 1))) == 3012


@TOKENS
def test_another_wallet_cannot_pay(refusing: Chain, token: int) -> None:
    """Only the holder named in the quote pays it."""
    assert refused(refusing.pay_quote(refusing.stranger, refusing.quote(token))) == 3002


@pytest.mark.parametrize(
    ("kind", "contract", "chain_id", "signer"),
    [
        ("bithedge-voucher", REGISTRY, CHAIN_ID, "backend"),
        ("bithedge-quote", VAULT, CHAIN_ID, "backend"),
        ("bithedge-quote", REGISTRY, 1, "backend"),
        ("bithedge-quote", REGISTRY, CHAIN_ID, "oracle"),
        ("bithedge-quote", REGISTRY, CHAIN_ID, "holder"),
    ],
)
def test_a_signature_for_anything_else_is_refused(
    refusing: Chain, kind: str, contract: str, chain_id: int, signer: str
) -> None:
    """A quote's signature counts only for its kind, contract and chain, by a backend key."""
    actor: Actor = getattr(refusing, signer)
    signed = refusing.sign(actor, kind, contract, refusing.terms(SBTC), chain_id)
    assert refused(refusing.pay_quote(refusing.holder, signed)) == 3009


def test_tampering_with_a_signed_quote_is_refused(refusing: Chain) -> None:
    """Every single term of the quote, and every part of the signature, is covered."""
    signed = refusing.quote(SBTC, **{"quote-expiry-burn-height": refusing.height + 5})
    changed = {
        "policy-id": bytes(16),
        "tier": 3,
        "token": STX,
        "amount-sats": 10_000_001,
        "strike-price-e8": 48_001 * USD,
        "floor-price-e8": 36_001 * USD,
        "btc-price-e8": 50_001 * USD,
        "stx-price-e8": USD,
        "premium": signed.message["premium"] - 1,
        "fee": 0,
        "auto-settle": False,
        "quote-burn-height": signed.message["quote-burn-height"] - 1,
        "quote-expiry-burn-height": signed.message["quote-expiry-burn-height"] - 1,
        "expiration-burn-height": signed.message["expiration-burn-height"] + 1,
    }
    assert changed.keys() | {"holder"} == signed.message.keys()
    for key, value in changed.items():
        message = signed.message | {key: value}
        assert refusing.error(refusing.holder, REGISTRY, "create-policy-entry", message, signed.signature) == 3009, key
    for place in (0, 31, 32, 63, 64):
        bad = bytearray(signed.signature)
        bad[place] ^= 1
        assert refusing.error(refusing.holder, REGISTRY, "create-policy-entry", signed.message, bytes(bad)) == 3009
    assert refusing.error(refusing.holder, REGISTRY, "create-policy-entry", signed.message, bytes(64)) == 3009


def test_a_contract_between_wallet_and_registry_is_refused(refusing: Chain) -> None:
    """A wallet lured into some contract buys and deposits nothing through it."""
    quote = refusing.quote(SBTC)
    names = {Principal: "principal", bool: "bool", bytes: "(buff 16)", int: "uint"}
    shape = ", ".join(f"{key}: {names[type(value)]}" for key, value in quote.message.items())
    vault, registry = refusing.vm.contract(VAULT), refusing.vm.contract(REGISTRY)
    code = f"""
        (define-public (deposit) (contract-call? '{vault} deposit-to-pool u1 u1 u5))
        (define-public (buy (quote {{ {shape} }}) (signature (buff 65)))
          (contract-call? '{registry} create-policy-entry quote signature))"""
    refusing.vm.deploy(refusing.stranger.address, "lure", code)
    assert refusing.error(refusing.holder, "lure", "deposit") == 4002
    assert refusing.error(refusing.holder, "lure", "buy", quote.message, quote.signature) == 3002
