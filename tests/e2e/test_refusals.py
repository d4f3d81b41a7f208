"""Bad input on the whole stack, through our services and around them: refused with its reason, and nothing moves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as gateway_pb2
from bithedge.policy.v1 import policy_pb2
from bithedge.policy.v1 import policy_service_pb2 as pb
from bithedge.type.v1 import money_pb2, price_pb2, transaction_pb2

from deploy.demo.people import Person
from deploy.demo.plan import SBTC, STX
from deploy.wallet.driver import TransactionRejected
from kernel.rpc.channels import remote_errors
from services.chain_gateway.stacks.clarity import Int, UInt
from tests.e2e import refusal_attempts as attempts
from tests.e2e.refusal_scene import FEE_USTX, Attempt, refusal
from tests.e2e.refusal_stage import Stage, running_stage

_SIGNATURE_AT = 44  # of the origin, in a signed transaction of one key


@pytest.fixture(scope="module")
async def stage(open_folder: Path) -> AsyncIterator[Stage]:
    """The stack with its policies; every test but the last leaves it as it is."""
    async with running_stage(open_folder) as stage:
        yield stage


async def _refused(stage: Stage, expected: dict[str, Attempt]) -> None:
    """Each attempt, sent straight to the node, ends as its key says (the part before a `:`), and nothing moves."""
    async with stage.nothing_moves():
        outcomes = await stage.send(*expected.values())
    assert dict(zip(expected, outcomes, strict=True)) == {key: key.partition(":")[0] for key in expected}


async def _reason(call: Any) -> str:
    error = await refusal(call)
    return f"{error.code} {error.reason}"


def _forged(stage: Stage, changes: dict[str, Any], chain_id: int = 0x80000000) -> Attempt:
    """The open quote with other terms, signed with the stolen backend key."""
    message = attempts.changed(attempts.message_of(stage.quoted.prepared_transaction), changes)
    signature = stage.sign(stage.backend, "bithedge-quote", attempts.REGISTRY, message, chain_id)
    return attempts.pays(stage.holder, message, signature)


async def test_bad_terms_are_refused_by_the_policy_service(stage: Stage) -> None:
    """Bounds, zero and negative amounts and unknown tokens, for a quote and for a creation; each has its reason."""
    spot = stage.moment.btc_price_usd_e8
    cases: dict[str, dict[str, int]] = {
        "INVALID_TERMS:no amount": {"protected_amount_sats": 0},
        "INVALID_TERMS:negative amount": {"protected_amount_sats": -1},
        "INVALID_TERMS:no token": {"settlement_token": 0},
        "INVALID_TERMS:unknown token": {"settlement_token": 9},
        "INVALID_TERMS:negative strike": {"strike_price_usd_e8": -1},
        "STRIKE_OUT_OF_BOUNDS:high": {"strike_price_usd_e8": 2 * spot, "floor_price_usd_e8": spot},
        "STRIKE_OUT_OF_BOUNDS:low": {"strike_price_usd_e8": spot // 4, "floor_price_usd_e8": spot // 5},
        "FLOOR_OUT_OF_BOUNDS:low": {"floor_price_usd_e8": 1},
        "DURATION_OUT_OF_BOUNDS:short": {"duration_blocks": 17},
        "AMOUNT_OUT_OF_RANGE:huge": {"protected_amount_sats": 2**62},
    }
    stub = stage.holder.services.policy
    creation = await stage.creation("bad", stage.terms())
    async with stage.nothing_moves():
        for case, changes in cases.items():
            terms = stage.terms(**changes)
            request = pb.CreatePolicyRequest(request_id="bad", terms=terms, max_premium=creation.max_premium)
            for call in (stub.GetQuote(pb.GetQuoteRequest(terms=terms)), stub.CreatePolicy(request)):
                assert (case, await _reason(call)) == (case, f"INVALID_ARGUMENT {case.partition(':')[0]}")
        for token, units, expected in (
            (SBTC, 1, "FAILED_PRECONDITION PREMIUM_ABOVE_MAX"),
            (SBTC, 0, "INVALID_ARGUMENT INVALID_TERMS"),
            (SBTC, -1, "INVALID_ARGUMENT INVALID_TERMS"),
            (STX, 10**9, "INVALID_ARGUMENT INVALID_TERMS"),
        ):
            creation.max_premium.CopyFrom(money_pb2.TokenAmount(token=token, base_units=units))
            assert await _reason(stub.CreatePolicy(creation)) == expected


async def test_bad_amounts_are_refused_before_a_wallet_signs(stage: Stage) -> None:
    """Deposits and withdrawals of nothing, of less, of an unknown token or tier."""
    gateway, pool = stage.provider.services.gateway, stage.provider.services.pool
    bad: list[dict[str, int]] = [{"units": 0}, {"units": -5}, {"token": 0}, {"token": 9}, {"tier": 0}, {"tier": 9}]
    async with stage.nothing_moves():
        for case in bad:
            amount = money_pb2.TokenAmount(token=case.get("token", 2), base_units=case.get("units", 5))  # type: ignore[arg-type]
            deposit = gateway_pb2.DepositCall(amount=amount, tier=case.get("tier", 1))  # type: ignore[arg-type]
            request = gateway_pb2.PrepareTransactionRequest(request_id="bad", deposit=deposit)
            assert await _reason(gateway.PrepareTransaction(request)) == "INVALID_ARGUMENT INVALID_FIELD", case
        for changes in ({"shares": 0}, {"shares": -1}, {"token": 9}, {"tier": 9}, {"public_key": b"x"}):
            fields: dict[str, Any] = {"shares": 1, **changes}
            withdrawal = stage.withdrawal_request("bad", **fields)
            assert await _reason(pool.CreateWithdrawal(withdrawal)) == "INVALID_ARGUMENT INVALID_FIELD", changes


async def test_the_contracts_refuse_bad_terms_that_the_backend_signed(stage: Stage) -> None:
    """Whoever holds the backend key still sells nothing out of bounds, for nothing, or for another time."""
    quote = attempts.message_of(stage.quoted.prepared_transaction)
    made, spot = attempts.number(quote, "quote-burn-height"), attempts.number(quote, "btc-price-e8")
    cases: dict[str, dict[str, Any]] = {
        "(err u1012)": {"strike-price-e8": 2 * spot, "floor-price-e8": spot},
        "(err u1013)": {"floor-price-e8": 1},
        "(err u1014)": {"expiration-burn-height": made + 17},
        "(err u1004)": {"tier": 4},
        "(err u3003)": {"token": 3},
        "(err u3004)": {"amount-sats": 0},
        "(err u3006)": {"quote-burn-height": made + 1},
        "(err u3007)": {"quote-burn-height": made - 3, "quote-expiry-burn-height": made - 1},
        "(err u3008)": {"quote-expiry-burn-height": made + 7},
        "(err u3012)": {"premium": 1},
        "(err u2010)": {"btc-price-e8": 2 * spot},
    }
    await _refused(stage, {key: _forged(stage, changes) for key, changes in cases.items()})
    bad = {"token": 3, "tier": 4}
    deposits = {
        "(err u4004)": attempts.deposits(stage.provider, bad["token"], 1, UInt(5)),
        "(err u4005)": attempts.deposits(stage.provider, 2, bad["tier"], UInt(5)),
        "(err u4006)": attempts.deposits(stage.provider, 2, 1, UInt(0)),
        "(err u4007)": attempts.deposits(stage.provider, 2, 1, UInt(10**15)),
    }
    await _refused(stage, deposits)
    with pytest.raises(TransactionRejected) as caught:
        await stage.send(attempts.deposits(stage.provider, 2, 1, Int(-1)))
    assert caught.value.reason == "BadFunctionArgument"


async def test_a_late_quote_is_not_paid(stage: Stage) -> None:
    """Its reservation is gone, the gateway prepares nothing for it, and the contract takes no premium."""
    prepared = stage.late.prepared_transaction
    assert (stage.late.state, stage.late.reason) == (policy_pb2.POLICY_STATE_FAILED_CREATION, "QUOTE_NOT_PAID")
    genuine = attempts.pays(stage.holder, attempts.message_of(prepared), attempts.signature_of(prepared))
    await _refused(stage, {"(err u3007)": genuine})
    async with stage.nothing_moves():
        txid = await stage.holder.submit_through_us(prepared)
        assert await stage.outcome(txid) == "(err u3007)"


async def test_a_quote_is_paid_by_its_holder_and_in_full(stage: Stage) -> None:
    """Another wallet, another amount, another chain, another policy's id, one bit of the signature."""
    prepared = stage.quoted.prepared_transaction
    quote, signature = attempts.message_of(prepared), attempts.signature_of(prepared)
    cheaper = attempts.changed(quote, {"premium": attempts.number(quote, "premium") - 1})
    (condition,) = prepared.post_conditions
    less = condition[:-8] + (int.from_bytes(condition[-8:], "big") - 1).to_bytes(8, "big")
    used = attempts.message_of(stage.settled.prepared_transaction)
    await _refused(
        stage,
        {
            "(err u3002)": attempts.pays(stage.stranger, quote, signature),
            "(err u3009):amount": attempts.pays(stage.holder, cheaper, signature),
            "(err u3009):bit": attempts.pays(stage.holder, quote, attempts.flipped(signature, 9)),
            "(err u3009):chain": _forged(stage, {}, chain_id=1),
            "abort_by_post_condition": attempts.pays(stage.holder, quote, signature, less),
            "(err u3005)": attempts.pays(stage.holder, used, attempts.signature_of(stage.settled.prepared_transaction)),
        },
    )


async def _signed(stage: Stage, who: Person, prepared: transaction_pb2.PreparedTransaction, **changes: Any) -> bytes:
    arguments = changes.pop("arguments", list(prepared.arguments))
    fields = {"post_conditions": [one.hex() for one in prepared.post_conditions], "fee": FEE_USTX, **changes}
    signed = await stage.wallet.call(
        who.account.seed, prepared.contract, prepared.function, [one.hex() for one in arguments], **fields
    )
    return bytes.fromhex(signed.raw)


async def test_signed_bytes_that_are_not_what_was_prepared(stage: Stage) -> None:
    """Malformed, tampered, of another wallet, amount or chain: the gateway says which; a node takes none either."""
    prepared = stage.quoted.prepared_transaction
    good = await _signed(stage, stage.holder, prepared)
    other_chain = await _signed(stage, stage.holder, prepared, chain_id=1)
    tampered = attempts.flipped(good, _SIGNATURE_AT + 20)
    other_terms = [stage.active.prepared_transaction.arguments[0], prepared.arguments[1]]
    cases = {
        "MALFORMED_TRANSACTION": good[:-1],
        "WRONG_CHAIN_ID": other_chain,
        "INVALID_SIGNATURE": tampered,
        "WRONG_SENDER": await _signed(stage, stage.stranger, prepared),
        "ARGUMENTS_MISMATCH": await _signed(stage, stage.holder, prepared, arguments=other_terms),
        "POST_CONDITIONS_MISMATCH": await _signed(stage, stage.holder, prepared, post_conditions=[]),
        "FEE_OUT_OF_BOUNDS": await _signed(stage, stage.holder, prepared, fee=10**9),
    }
    submit = stage.holder.services.gateway.SubmitSignedTransaction
    async with stage.nothing_moves():
        for reason, raw in cases.items():
            request = gateway_pb2.SubmitSignedTransactionRequest(
                prepared_transaction=prepared.name, signed_transaction=raw
            )
            assert await _reason(submit(request)) == f"INVALID_ARGUMENT {reason}"
        for raw, reason in (
            (good[:-1], "Deserialization"),
            (tampered, "SignatureValidation"),
            (other_chain, "SignatureValidation"),
        ):
            with pytest.raises(TransactionRejected) as caught:
                await stage.wallet.broadcast(raw.hex())
            assert caught.value.reason == reason


async def test_a_receipt_settles_its_own_policy_once(stage: Stage) -> None:
    """A receipt of another policy, height, key or price; a second settlement; a stranger with a good one."""
    genuine, signature = attempts.receipt_of(stage.settled), stage.settled.activation_receipt.signature
    with remote_errors():
        asked = gateway_pb2.GetPublishedPriceRequest(feed=price_pb2.FEED_BTC_USD)
        published = (await stage.operator.services.gateway.GetPublishedPrice(asked)).round
    own = attempts.identifier(stage.active.name)
    now = {"policy-id": own, "burn-height": stage.moment.burn_height, "btc-price-e8": published.price_usd_e8}

    def forged(policy: policy_pb2.Policy, who: Person, changes: dict[str, Any], key: str = "oracle") -> Attempt:
        receipt = attempts.changed(genuine, {**now, **changes})
        signed = stage.sign(getattr(stage, key), "bithedge-activation-receipt", attempts.REGISTRY, receipt)
        return attempts.settles(who, policy, receipt, signed, published.round)

    late = {
        "policy-id": attempts.identifier(stage.overdue.name),
        "burn-height": stage.overdue.expiration_burn_height + 1,
    }
    await _refused(
        stage,
        {
            "(err u3016)": attempts.settles(stage.holder, stage.active, genuine, signature, published.round),
            "(err u3021):moved": attempts.settles(
                stage.holder, stage.active, attempts.changed(genuine, now), signature, published.round
            ),
            "(err u3021):backend": forged(stage.active, stage.holder, {}, "backend"),
            "(err u3014)": attempts.settles(stage.holder, stage.settled, genuine, signature, published.round),
            "(err u3015)": forged(stage.active, stage.stranger, {}),
            "(err u3017)": forged(stage.active, stage.holder, {"activation": 0}),
            "(err u3018)": forged(stage.overdue, stage.holder, late),
            "(err u3019)": forged(stage.active, stage.holder, {"burn-height": stage.moment.burn_height + 9}),
            "(err u2013)": forged(stage.active, stage.holder, {"btc-price-e8": published.price_usd_e8 // 2}),
        },
    )
