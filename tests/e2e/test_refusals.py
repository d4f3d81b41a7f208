"""Bad input on the whole stack, through our services and around them: refused with its reason, and nothing moves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import pytest
from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as gateway_pb2
from bithedge.policy.v1 import policy_pb2
from bithedge.policy.v1 import policy_service_pb2 as pb
from bithedge.pool.v1 import pool_service_pb2 as pool_pb2
from bithedge.type.v1 import money_pb2, price_pb2

from deploy.demo.invariants import read_books
from deploy.demo.people import SessionToken
from deploy.demo.plan import SBTC, STX
from deploy.wallet.driver import TransactionRejected
from kernel.rpc.channels import open_channel, remote_errors
from services.chain_gateway.stacks.clarity import Int
from tests.e2e import refusal_attempts as attempts
from tests.e2e import refusal_cases as cases
from tests.e2e.refusal_callers import called, closed_methods, failures, service_tokens, session_token
from tests.e2e.refusal_scene import read_positions, refusal
from tests.e2e.refusal_stage import Stage, running_stage

# Of the origin, in a signed transaction of one key: after version, chain id, kind, hash mode, account, nonce, fee.
_SIGNATURE_AT: Final = 44


@pytest.fixture(scope="module")
async def stage(open_folder: Path) -> AsyncIterator[Stage]:
    """The stack with its policies; every test but the last leaves it as it is."""
    async with running_stage(open_folder) as stage:
        yield stage


async def _refused_on_chain(stage: Stage, expected: cases.Cases) -> None:
    """Each attempt ends as its key says, and nothing moves."""
    async with stage.nothing_moves():
        outcomes = await stage.send(*expected.values())
    assert dict(zip(expected, outcomes, strict=True)) == {key: key.partition(":")[0] for key in expected}


async def _reason(call: Any) -> str:
    error = await refusal(call)
    return f"{error.code} {error.reason}"


async def test_bad_terms_are_refused_by_the_policy_service(stage: Stage) -> None:
    """Bounds, zero and negative amounts and unknown tokens, for a quote and for a creation; each has its reason."""
    stub = stage.holder.services.policy
    creation = await stage.creation("bad", stage.terms())
    async with stage.nothing_moves():
        for case, changes in cases.TERMS.items():
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
    bad: list[dict[str, Any]] = [{"base_units": 0}, {"base_units": -5}, {"token": 0}, {"token": 9}]
    async with stage.nothing_moves():
        for case in ({"tier": 0}, {"tier": 9}, *bad):
            amount = money_pb2.TokenAmount(**{"token": SBTC, "base_units": 5, **case} if case in bad else {})
            deposit = gateway_pb2.DepositCall(amount=amount, tier=case.get("tier", money_pb2.TIER_BALANCED))
            request = gateway_pb2.PrepareTransactionRequest(request_id="bad", deposit=deposit)
            assert await _reason(gateway.PrepareTransaction(request)) == "INVALID_ARGUMENT INVALID_FIELD", case
        for changes in ({"shares": 0}, {"shares": -1}, {"token": 9}, {"tier": 9}, {"public_key": b"x"}):
            fields: dict[str, Any] = {"shares": 1, **changes}
            withdrawal = stage.withdrawal_request("bad", **fields)
            assert await _reason(pool.CreateWithdrawal(withdrawal)) == "INVALID_ARGUMENT INVALID_FIELD", changes


async def test_the_contracts_refuse_bad_terms_that_the_backend_signed(stage: Stage) -> None:
    """Whoever holds the backend key still sells nothing out of bounds, for nothing, or for another time."""
    await _refused_on_chain(stage, cases.bad_terms(stage))
    await _refused_on_chain(stage, cases.bad_deposits(stage))
    with pytest.raises(TransactionRejected) as caught:
        await stage.send(attempts.deposits(stage.provider, 2, 1, Int(-1)))
    assert caught.value.reason == "BadFunctionArgument"


async def test_a_late_quote_is_not_paid(stage: Stage) -> None:
    """Its reservation is gone; the contract takes no premium, whether the bytes come through us or not."""
    assert (stage.late.state, stage.late.reason) == (policy_pb2.POLICY_STATE_FAILED_CREATION, "QUOTE_NOT_PAID")
    await _refused_on_chain(stage, cases.late_payment(stage))
    async with stage.nothing_moves():
        txid = await stage.holder.submit_through_us(stage.late.prepared_transaction)
        assert await stage.outcome(txid) == "(err u3007)"


async def test_a_quote_is_paid_by_its_holder_and_in_full(stage: Stage) -> None:
    """Another wallet, another amount, another chain, one bit of the signature, a policy id that is used."""
    await _refused_on_chain(stage, cases.bad_payments(stage))
    terms, signature = stage.quoted.quote_terms, attempts.signature_of(stage.quoted.prepared_transaction)
    other = gateway_pb2.CreatePolicyCall(terms=terms, signature=signature)
    other.terms.premium_base_units -= 1
    tampered = gateway_pb2.CreatePolicyCall(terms=terms, signature=attempts.flipped(signature, 9))
    for call, expected in ((other, "ALREADY_EXISTS QUOTE_SIGNED"), (tampered, "FAILED_PRECONDITION NOT_SIGNED")):
        request = gateway_pb2.PrepareTransactionRequest(request_id="bad", create_policy=call)
        assert await _reason(stage.holder.services.gateway.PrepareTransaction(request)) == expected


async def test_signed_bytes_that_are_not_what_was_prepared(stage: Stage) -> None:
    """Malformed, tampered, of another wallet, amount or chain: the gateway says which; a node takes none either."""
    prepared, holder = stage.quoted.prepared_transaction, stage.holder
    good = await stage.signed(holder, prepared)
    other_chain = await stage.signed(holder, prepared, chain_id=1)
    tampered = attempts.flipped(good, _SIGNATURE_AT + 20)
    other_terms = [stage.active.prepared_transaction.arguments[0], prepared.arguments[1]]
    bad = {
        "MALFORMED_TRANSACTION": good[:-1],
        "WRONG_CHAIN_ID": other_chain,
        "INVALID_SIGNATURE": tampered,
        "WRONG_SENDER": await stage.signed(stage.stranger, prepared),
        "ARGUMENTS_MISMATCH": await stage.signed(holder, prepared, arguments=other_terms),
        "POST_CONDITIONS_MISMATCH": await stage.signed(holder, prepared, post_conditions=[]),
        "FEE_OUT_OF_BOUNDS": await stage.signed(holder, prepared, fee=10**9),
    }
    request = gateway_pb2.SubmitSignedTransactionRequest(prepared_transaction=prepared.name)
    async with stage.nothing_moves():
        for reason, request.signed_transaction in bad.items():
            submission = holder.services.gateway.SubmitSignedTransaction(request)
            assert await _reason(submission) == f"INVALID_ARGUMENT {reason}"
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
    asked = gateway_pb2.GetPublishedPriceRequest(feed=price_pb2.FEED_BTC_USD)
    with remote_errors():
        published = (await stage.operator.services.gateway.GetPublishedPrice(asked)).round
    await _refused_on_chain(stage, cases.bad_receipts(stage, published))


async def test_a_policy_is_activated_once_and_in_time(stage: Stage) -> None:
    """After its settlement, after its expiration, before its payment, after its lapse: none is recorded."""
    async with stage.nothing_moves():
        for policy, expected in (
            (stage.settled, "FAILED_PRECONDITION NOT_ACTIVE"),
            (stage.overdue, "FAILED_PRECONDITION EXPIRED"),
            (stage.quoted, "FAILED_PRECONDITION NOT_ACTIVE"),
            (stage.late, "FAILED_PRECONDITION NOT_ACTIVE"),
        ):
            request = pb.ActivatePolicyRequest(request_id="activate/again", name=policy.name)
            assert await _reason(stage.holder.services.policy.ActivatePolicy(request)) == expected
    await _refused_on_chain(stage, cases.bad_activations(stage))


async def test_vouchers_pay_once_and_only_free_capital(stage: Stage) -> None:
    """Not on a used voucher, through us either; not to another; not beyond what is free, whoever signed it."""
    books = (await read_books(stage.operator.services))["sBTC"]
    free = books.vault_accounted - books.vault_fees - books.chain_locked
    await _refused_on_chain(stage, cases.bad_vouchers(stage, free))
    async with stage.nothing_moves():
        txid = await stage.provider.submit_through_us(stage.used.prepared_transaction)
        assert await stage.outcome(txid) == "(err u4015)"
        (position,) = await read_positions(stage.provider)
        request = stage.withdrawal_request("more", position.shares + 1)
        assert await _reason(stage.provider.services.pool.CreateWithdrawal(request)) == (
            "FAILED_PRECONDITION INSUFFICIENT_SHARES"
        )


async def test_what_is_not_a_wallets_is_refused(stage: Stage) -> None:
    """Backend, admin and registry functions refuse a stranger on chain; methods of services and operators refuse a
    holder, and everything that is not open refuses a call without a token or with an altered one."""
    await _refused_on_chain(stage, cases.powers(stage))
    token = await session_token(stage.stack, stage.wallet, "holder")
    altered = SessionToken((await token.token())[:-9] + "AAAAAAAAA")
    async with stage.nothing_moves(), AsyncExitStack() as opened:
        for wallet, source, expected in (
            (True, token, "PERMISSION_DENIED ROLE_MISSING"),
            (False, None, "UNAUTHENTICATED NO_TOKEN"),
            (False, altered, "UNAUTHENTICATED INVALID_TOKEN"),
        ):
            methods = list(closed_methods(to_wallets=wallet))
            assert len(methods) > 20
            for service, method in methods:
                channel = await opened.enter_async_context(open_channel(stage.stack.layout.address(service), source))
                assert (method.full_name, await called(channel, method)) == (method.full_name, expected)


async def test_a_stranger_finds_nothing_of_another(stage: Stage) -> None:
    """Policies, withdrawals and deposits of others are not there; their prepared transactions are not to be sent."""
    name, services = stage.active.name, stage.stranger.services
    request = gateway_pb2.SubmitSignedTransactionRequest(
        prepared_transaction=stage.quoted.prepared_transaction.name, signed_transaction=b"x"
    )
    calls = {
        "NOT_FOUND POLICY_NOT_FOUND": [
            services.policy.GetPolicy(pb.GetPolicyRequest(name=name)),
            services.policy.GetPolicyByOnchainId(pb.GetPolicyByOnchainIdRequest(onchain_id=stage.active.onchain_id)),
            services.policy.ActivatePolicy(pb.ActivatePolicyRequest(request_id="mine", name=name)),
            services.policy.PreviewSettlement(pb.PreviewSettlementRequest(name=name)),
            services.policy.ExplainPremium(pb.ExplainPremiumRequest(name=name)),
            services.policy.WatchPolicy(pb.WatchPolicyRequest(name=name)).read(),
        ],
        "NOT_FOUND WITHDRAWAL_UNKNOWN": [
            services.pool.GetWithdrawal(pool_pb2.GetWithdrawalRequest(name=stage.ready.name))
        ],
        "PERMISSION_DENIED NOT_YOURS": [services.gateway.SubmitSignedTransaction(request)],
    }
    async with stage.nothing_moves():
        for expected, refused in calls.items():
            assert [await _reason(call) for call in refused] == [expected] * len(refused)
    with remote_errors():
        assert not (await services.policy.ListPolicies(pb.ListPoliciesRequest())).policies


async def test_a_principal_is_never_taken_from_a_request(stage: Stage) -> None:
    """Nobody acts or asks in another's name, and an operator cannot have a transaction made for another either."""
    other, services = stage.holder.principal, stage.stranger.services
    deposit = gateway_pb2.DepositCall(amount=money_pb2.TokenAmount(token=SBTC, base_units=5), tier=2)  # type: ignore[arg-type]
    prepare = gateway_pb2.PrepareTransactionRequest(request_id="other", principal=other, deposit=deposit)
    quote = gateway_pb2.CreatePolicyCall(terms=stage.quoted.quote_terms, signature=bytes(65))
    for_another = gateway_pb2.PrepareTransactionRequest(request_id="other", create_policy=quote)
    calls = [
        services.gateway.PrepareTransaction(prepare),
        services.policy.ListPolicies(pb.ListPoliciesRequest(holder_principal=other)),
        services.pool.ListPositions(pool_pb2.ListPositionsRequest(provider_principal=other)),
        services.pool.ListStatementLines(pool_pb2.ListStatementLinesRequest(provider_principal=other)),
        stage.operator.services.gateway.PrepareTransaction(prepare),
    ]
    assert [await _reason(call) for call in calls] == ["PERMISSION_DENIED NOT_YOURS"] * len(calls)
    assert await _reason(services.gateway.PrepareTransaction(for_another)) == "INVALID_ARGUMENT INVALID_FIELD"


async def test_a_request_id_has_one_effect(stage: Stage) -> None:
    """The same request again answers the same; with another body it is refused; neither does anything."""
    policy, pool = stage.holder.services.policy, stage.provider.services.pool
    activation = pb.ActivatePolicyRequest(request_id="activate/settled", name=stage.settled.name)
    withdrawal = stage.withdrawal_request("ready", 1_000_000)
    async with stage.nothing_moves():
        with remote_errors():
            first = [await policy.ActivatePolicy(activation) for _ in range(2)]
            again = (await pool.CreateWithdrawal(withdrawal)).withdrawal
            repeated = (await policy.CreatePolicy(stage.requests["quoted"])).policy
        assert first[0] == first[1]
        assert (again.name, repeated.name) == (stage.ready.name, stage.quoted.name)
        activation.name, withdrawal.shares = stage.active.name, 7
        stage.requests["quoted"].terms.protected_amount_sats += 1
        calls = (
            policy.ActivatePolicy(activation),
            pool.CreateWithdrawal(withdrawal),
            policy.CreatePolicy(stage.requests["quoted"]),
        )
        assert [await _reason(call) for call in calls] == ["ALREADY_EXISTS REQUEST_ID_REUSED"] * 3


async def test_no_field_makes_a_service_fail(stage: Stage) -> None:
    """Every field of every request at the extremes of its type is answered or refused, for operators and services."""
    operator = await session_token(stage.stack, stage.wallet, "operator")
    async with stage.nothing_moves(), open_channel(stage.stack.layout.address("identity")) as identity:
        assert await failures(stage.stack, operator) == []
        assert await failures(stage.stack, await service_tokens(stage.stack, identity)) == []


async def test_a_withdrawal_above_the_free_capital_waits(stage: Stage) -> None:
    """All shares, while policies and a quote count on the capital: what is free is paid at most, the rest given up."""
    (position,) = await read_positions(stage.provider)
    before = await stage.still()
    asked = await stage.withdraw("above", position.shares)
    await stage.step()
    part, rest = await stage.cancelled_after_a_part(asked)
    assert (rest.state, rest.filled_shares) == (pool_pb2.WITHDRAWAL_STATE_CANCELLED, part.shares)
    assert 0 < part.amount_base_units < position.value_base_units
    after = await stage.still()
    assert (after.reserved, after.sats) == (before.reserved, before.sats)
    assert [held.shares for held in after.positions] == [position.shares - part.shares]


async def test_after_all_refusals_the_right_things_still_work(stage: Stage) -> None:
    """The quote is paid and the voucher collected as they were signed: no attempt has used anything up."""
    await stage.mined(await stage.holder.submit_through_us(stage.quoted.prepared_transaction))
    await stage.mined(await stage.provider.submit_through_us(stage.ready.prepared_transaction))
    await stage.still()
