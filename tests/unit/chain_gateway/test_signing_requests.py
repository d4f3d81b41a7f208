"""What the signing policy is shown is what the bytes say, and what they do not bound is never signed."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import pytest
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as pb
from bithedge.type.v1 import money_pb2, price_pb2, transaction_pb2

from kernel.errors import InvalidArgument, PermissionDenied
from kernel.units import INT64_MAX
from services.chain_gateway import convert_terms
from services.chain_gateway.contract_calls import Call, backend_call, moves
from services.chain_gateway.contracts import REGISTRY, VAULT, Contracts
from services.chain_gateway.domain.signing_policy import EXPIRE, FACTS, PUBLISH, SETTLE, Request, Value
from services.chain_gateway.signing import stored_call
from services.chain_gateway.signing_requests import call_request, quote_request, voucher_request
from services.chain_gateway.stacks.c32 import parse_address
from services.chain_gateway.stacks.clarity import StandardPrincipal, UInt
from services.chain_gateway.stacks.payload import ContractCall, TokenTransfer, write_payload
from services.chain_gateway.stacks.post_condition import FtPostCondition, FungibleCode, parse_asset
from services.chain_gateway.stacks.transaction import TESTNET

_DEPLOYER = "ST000000000000000000002AMW42H"
_OTHER = "ST3RDFS79JDRYKZ665268VRMVRX708S9EG9QH1V1J"
_CONTRACTS = Contracts("testnet", TESTNET, parse_address(_DEPLOYER), parse_asset(f"{_DEPLOYER}.sbtc::sbtc"))
_SIGNATURE = bytes([1]) * 64 + b"\0"
_NOW = dt.datetime.fromtimestamp(1_700_000_000, dt.UTC)
_STX, _SBTC = money_pb2.TOKEN_STX, money_pb2.TOKEN_SBTC


def _receipt() -> price_pb2.SettlementReceipt:
    receipt = price_pb2.SettlementReceipt(btc_price_usd_e8=5, stx_price_usd_e8=6, burn_height=7, signature=_SIGNATURE)
    receipt.observe_time.FromSeconds(1)
    return receipt


def _settle(token: int = _STX, most: int = 100) -> Call:
    receipt = _receipt()
    receipt.activation.policy, receipt.activation.activation_number = f"policies/{'0' * 32}", 3
    payout = money_pb2.TokenAmount(token=money_pb2.Token.ValueType(token), base_units=most)
    message = pb.SettlePolicyCall(onchain_id=1, receipt=receipt, btc_round=1, stx_round=1, max_payout=payout)
    return backend_call(_CONTRACTS, pb.ContractCall(settle_policy=message))[1]


def _expire() -> Call:
    receipt = _receipt()
    receipt.expiry.expiration_burn_height = 9
    amounts = [money_pb2.TokenAmount(token=token, base_units=50) for token in (_STX, _SBTC, _STX)]
    message = pb.ExpirePoliciesCall(onchain_ids=[4, 5, 6], receipt=receipt, max_payouts=amounts)
    return backend_call(_CONTRACTS, pb.ContractCall(expire_policies=message))[1]


def _publish(feed: int, number: int) -> Call:
    message = price_pb2.PriceRound(
        feed=price_pb2.Feed.ValueType(feed), round=number, price_usd_e8=8, burn_height=1, signature=_SIGNATURE
    )
    message.observe_time.FromSeconds(1)
    return backend_call(_CONTRACTS, pb.ContractCall(publish_price=pb.PublishPriceCall(round=message)))[1]


def _request(call: Call) -> Request:
    """As of a stored intent: through the bytes."""
    stored = stored_call(call.payload_bytes, call.post_condition_bytes)
    return call_request(_CONTRACTS, "intents/1", stored, _NOW)


def test_an_expiry_that_could_pay_more_than_an_amount_can_be_is_refused_at_once() -> None:
    """Accepted, its value would be too large even for the audit of its refusal, and nothing behind it would be sent."""
    receipt = _receipt()
    receipt.expiry.expiration_burn_height = 9
    amounts = [money_pb2.TokenAmount(token=_STX, base_units=INT64_MAX), money_pb2.TokenAmount(token=_STX, base_units=1)]
    message = pb.ExpirePoliciesCall(onchain_ids=[4, 5], receipt=receipt, max_payouts=amounts)
    with pytest.raises(InvalidArgument, match="together"):
        backend_call(_CONTRACTS, pb.ContractCall(expire_policies=message))
    amounts[0].base_units -= 1
    call = backend_call(
        _CONTRACTS,
        pb.ContractCall(
            expire_policies=pb.ExpirePoliciesCall(onchain_ids=[4, 5], receipt=receipt, max_payouts=amounts)
        ),
    )[1]
    assert _request(call).value == Value(ustx=INT64_MAX)


def test_the_value_of_a_call_is_what_its_post_conditions_let_go() -> None:
    """A settlement's largest payout in its token, an expiry's sums per token, and nothing for a publication."""
    assert _request(_settle()).value == Value(ustx=100)
    assert _request(_settle(_SBTC)).value == Value(sats=100)
    assert _request(_expire()).value == Value(ustx=100, sats=50)
    assert _request(_publish(price_pb2.FEED_BTC_USD, 1)).value == Value()


def test_every_number_that_can_be_bounded_is_read() -> None:
    """Each kind of call has all the facts that its bounds may name; a publication the price of its feed alone."""
    settle, expire = _request(_settle()), _request(_expire())
    assert (settle.what, settle.facts) == (SETTLE, {"btc_price_usd_e8": 5, "stx_price_usd_e8": 6, "activation": 3})
    assert (expire.what, expire.facts) == (EXPIRE, {"btc_price_usd_e8": 5, "stx_price_usd_e8": 6, "ids": 3})
    assert set(settle.facts) == set(FACTS[SETTLE])
    assert set(expire.facts) == set(FACTS[EXPIRE])
    btc = _request(_publish(price_pb2.FEED_BTC_USD, 1_700_000_060))
    stx = _request(_publish(price_pb2.FEED_STX_USD, 1_600_000_000))
    assert btc.what == stx.what == PUBLISH
    assert btc.facts == {"btc_price_usd_e8": 8, "round_ahead_seconds": 60}
    assert stx.facts == {"stx_price_usd_e8": 8, "round_ahead_seconds": 0}


def test_one_content_is_one_hash() -> None:
    """Another argument or another post-condition is another content; the same call is the same."""
    assert _request(_settle()).content_sha256 == _request(_settle()).content_sha256
    assert len({_request(call).content_sha256 for call in (_settle(), _settle(most=101), _settle(_SBTC))}) == 3


@pytest.mark.parametrize("code", [FungibleCode.GREATER, FungibleCode.GREATER_OR_EQUAL])
def test_a_condition_without_an_upper_bound_is_refused(code: FungibleCode) -> None:
    """A post-condition that the vault sends at least something would let it send everything."""
    condition = moves(_CONTRACTS, _CONTRACTS.principal(VAULT), code, _STX, 1)
    with pytest.raises(PermissionDenied):
        _request(replace(_settle(), post_conditions=(condition,)))


def test_another_payer_or_token_is_refused() -> None:
    """Only the vault pays, and only STX and our sBTC: anything else in a post-condition is not signed."""
    ours = moves(_CONTRACTS, _CONTRACTS.principal(VAULT), FungibleCode.EQUAL, _SBTC, 1)
    payer = moves(_CONTRACTS, StandardPrincipal(parse_address(_OTHER)), FungibleCode.EQUAL, _STX, 1)
    assert isinstance(ours, FtPostCondition)
    token = replace(ours, asset=parse_asset(f"{_OTHER}.sbtc::sbtc"))
    for condition in (payer, token, moves(_CONTRACTS, _CONTRACTS.principal(REGISTRY), FungibleCode.EQUAL, _STX, 1)):
        with pytest.raises(PermissionDenied):
            _request(replace(_settle(), post_conditions=(condition,)))


@pytest.mark.parametrize(
    "payload",
    [
        ContractCall(parse_address(_OTHER), "oracle", "publish-price", _publish(1, 1).payload.arguments),
        ContractCall(parse_address(_DEPLOYER), "liquidity-pool-vault", "withdraw-fees", (UInt(1),)),
        ContractCall(parse_address(_DEPLOYER), "policy-registry", "publish-price", _publish(1, 1).payload.arguments),
        ContractCall(parse_address(_DEPLOYER), "oracle", "publish-price", (UInt(1), UInt(2))),
        ContractCall(parse_address(_DEPLOYER), "oracle", "publish-price"),
        ContractCall(parse_address(_DEPLOYER), "policy-registry", "expire-policies", (UInt(1), UInt(2), UInt(3))),
        TokenTransfer(StandardPrincipal(parse_address(_OTHER)), 1),
    ],
)
def test_any_other_transaction_is_refused(payload: ContractCall | TokenTransfer) -> None:
    """Another deployer's contract, another function, arguments of another shape, a transfer: the database may say what
    it likes, the key does not sign it."""
    with pytest.raises(PermissionDenied) as caught:
        call_request(_CONTRACTS, "intents/1", stored_call(write_payload(payload), []), _NOW)
    assert caught.value.reason == "CALL_NOT_ALLOWED"


def _terms(token: int) -> transaction_pb2.QuoteTerms:
    return transaction_pb2.QuoteTerms(
        policy=f"policies/{'0' * 32}",
        holder_principal=_OTHER,
        tier=money_pb2.TIER_BALANCED,
        token=money_pb2.Token.ValueType(token),
        protected_amount_sats=1_000_000,
        strike_price_usd_e8=48_000 * 10**8,
        floor_price_usd_e8=36_000 * 10**8,
        btc_price_usd_e8=50_000 * 10**8,
        stx_price_usd_e8=10**8,
        quote_burn_height=100,
        expiration_burn_height=244,
    )


def test_a_quote_is_worth_its_largest_payout() -> None:
    """0.01 BTC from 48,000 to 36,000 USD: 120 USD in uSTX at 1 USD less the haircut, or a third of the sats."""
    terms = _terms(_STX)
    message = convert_terms.quote("terms", terms, _CONTRACTS)
    request = quote_request("0" * 32, message, terms, 2_500)
    assert request.value == Value(ustx=160_000_000)
    assert request.facts == {"amount_sats": 1_000_000, "duration_blocks": 144}
    assert quote_request("0" * 32, message, _terms(_SBTC), 2_500).value == Value(sats=333_333)
    terms.floor_price_usd_e8 = terms.strike_price_usd_e8
    with pytest.raises(InvalidArgument):
        quote_request("0" * 32, message, terms, 2_500)


def test_a_voucher_is_worth_its_amount() -> None:
    """Its amount in its token, and the blocks for which it may be used."""
    terms = pb.VoucherTerms(withdrawal=f"withdrawals/{'0' * 32}", provider_principal=_OTHER, expiration_burn_height=150)
    terms.amount.token, terms.amount.base_units = _SBTC, 77
    message = convert_terms.voucher("terms", terms, _CONTRACTS)
    request = voucher_request("0" * 32, message, terms, 100)
    assert (request.value, request.facts) == (Value(sats=77), {"valid_blocks": 50})
