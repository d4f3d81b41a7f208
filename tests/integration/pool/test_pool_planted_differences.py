"""Reconciliation against planted differences: each is found with its cause, healed or asked about, and then gone."""

from __future__ import annotations

import pytest
from bithedge.pool.v1 import pool_service_pb2 as pb

from kernel.errors import InvalidArgument
from kernel.rpc.channels import remote_errors
from kernel.units import Tier, Token
from services.pool.open_policies import OpenPolicies
from services.pool.store_terms import KEPT
from tests.integration.pool import planted
from tests.integration.pool.chain_snapshot import honest_request
from tests.integration.pool.planted import Case
from tests.integration.pool.pool_service import WORKFLOWS, RunningPool

_MISSED, _UNKNOWN = "EVENT_MISSED", "NOT_FROM_EVENTS"
_WRONG, _HAND = "WRONG_ACCOUNT", "DERIVED_BY_HAND"
_CHANGED = "CHANGED_BY_HAND"
_FREE = "free_capital/BALANCED/STX"


def _of(cause: str, *kinds: str) -> frozenset[tuple[str, str]]:
    return frozenset((kind, cause) for kind in kinds)


_ACCOUNTED, _LOCKED, _FEES, _STATE = "ACCOUNTED_DIFFERS", "LOCKED_DIFFERS", "FEES_DIFFER", "STATE_DIFFERS"
_NEW_POLICY = (_ACCOUNTED, _LOCKED, _FEES, "POLICY_MISSING_IN_LEDGER")
_SUSPENSE = _of("UNEXPLAINED_PAYMENT", "SUSPENSE_LEFT")

_HEALED = (
    Case("deposit missed", _of(_MISSED, _ACCOUNTED), True, planted.missed_deposit),
    Case("creation missed", _of(_MISSED, *_NEW_POLICY), True, planted.missed_creation),
    Case("settlement missed", _of(_MISSED, _ACCOUNTED, _LOCKED, _STATE), True, planted.missed_settlement),
    Case("expiry missed", _of(_MISSED, _LOCKED, _STATE), True, planted.missed_expiry),
    Case(
        "creation and settlement missed",
        _of(_MISSED, _ACCOUNTED, _FEES, "POLICY_MISSING_IN_LEDGER"),
        True,
        planted.missed_life,
    ),
    Case("fees missed", _of(_MISSED, _ACCOUNTED, _FEES), True, planted.missed_fees),
    Case("voucher's payment missed", _of(_MISSED, _ACCOUNTED), True, planted.missed_payment),
    Case("payment in suspense", _of(_MISSED, _LOCKED, _STATE) | _SUSPENSE, True, planted.unexplained_payment),
    Case("release missed", _of("RELEASE_MISSED", "RESERVATION_OVERDUE"), True, planted.overdue_reservation),
    Case("commit missed", _of("COMMIT_MISSED", "RESERVATION_NOT_COMMITTED"), True, planted.uncommitted_reservation),
    Case(
        "committed for nothing", _of("COMMITTED_WITHOUT_POLICY", "RESERVATION_EMPTY"), True, planted.empty_reservation
    ),
    Case(
        "terms by hand",
        _of(_CHANGED, "TERMS_DIFFER_IN_LEDGER"),
        True,
        planted.executed("UPDATE pool.coverage SET strike_e8 = strike_e8 + 1, premium = 0, auto_settle = false"),
    ),
    Case(
        "deposit of another",
        _of(_CHANGED, "PROVIDER_DIFFERS"),
        True,
        planted.executed("UPDATE pool.deposit SET provider = 'SP-MALLORY'"),
    ),
    Case(
        "deposit of another amount",
        _of(_CHANGED, "POSITION_DIFFERS"),
        True,
        planted.executed("UPDATE pool.deposit SET amount = amount + 1, tier = 3"),
    ),
    Case("deposit that came back, of another", _of(_CHANGED, "PROVIDER_DIFFERS"), True, planted.returned_deposit),
    Case(
        "largest payout by hand",
        _of(_CHANGED, "MAX_PAYOUT_DIFFERS") | _of(_WRONG, "TIER_COLLATERAL_DIFFERS"),
        True,
        planted.executed("UPDATE pool.coverage SET max_payout = max_payout + 1"),
    ),
    Case("payment of another", _of(_CHANGED, "PROVIDER_DIFFERS"), True, planted.changed_payment),
    Case(
        "payment refused",
        _of(_CHANGED, "PROVIDER_DIFFERS") | _SUSPENSE,
        True,
        planted.refused_payment,
    ),
    Case("lapse missed", _of("LAPSE_MISSED", "VOUCHER_OVERDUE"), True, planted.overdue_voucher),
)
_POSTED = (
    ("cash without event", _of(_UNKNOWN, _ACCOUNTED), "vault_cash/STX", _FREE),
    ("fees without event", _of(_UNKNOWN, _FEES), "platform_fees/STX", _FREE),
    (
        "collateral in another tier",
        _of(_WRONG, "TIER_COLLATERAL_DIFFERS"),
        "locked_collateral/AGGRESSIVE/STX",
        "locked_collateral/BALANCED/STX",
    ),
    ("unpriced without deposit", _of(_WRONG, "UNPRICED_DEPOSITS_DIFFER"), "deposits_unpriced/BALANCED/STX", _FREE),
    (
        "payable without withdrawal",
        _of(_WRONG, "PAYABLE_WITHDRAWALS_DIFFER"),
        "withdrawals_payable/BALANCED/STX",
        _FREE,
    ),
    ("suspense without payment", _SUSPENSE, "suspense/STX", _FREE),
)
_LIES = (
    ("vault short", _of("VAULT_OWNS_LESS", "VAULT_SHORT"), planted.vault_owns(-1)),
    ("vault in excess", _of("SENT_TO_VAULT", "VAULT_EXCESS"), planted.vault_owns(1)),
    (
        "contracts disagree",
        _of(_UNKNOWN, _LOCKED) | _of("CONTRACTS_DISAGREE", "COLLATERAL_DIFFERS"),
        planted.less_locked,
    ),
)
_ASKED = (
    *(
        Case(name, found, False, planted.moved(here, there), correction=planted.moved(there, here))
        for name, found, here, there in _POSTED
    ),
    *(Case(name, found, False, lie=lie) for name, found, lie in _LIES),
    Case(
        "creation withdrawn",
        _of(_UNKNOWN, _ACCOUNTED, _LOCKED, _FEES) | _of("CREATION_WITHDRAWN", "POLICY_NOT_ON_CHAIN"),
        False,
        planted.withdrawn_creation,
        correction=planted.tell_withdrawal,
    ),
    Case(
        "voucher of another",
        _of(_CHANGED, "PROVIDER_DIFFERS"),
        False,
        planted.changed_voucher,
        correction=planted.executed("UPDATE pool.withdrawal SET provider = 'SP-ALICE'"),
    ),
    Case(
        "deposit given back to another",
        _of(_CHANGED, "PROVIDER_DIFFERS"),
        False,
        planted.changed_return,
        correction=planted.executed("UPDATE pool.withdrawal SET provider = 'SP-ALICE'"),
    ),
    Case(
        "request of another",
        _of("NOT_ITS_SHARES", "REQUEST_WITHOUT_SHARES"),
        False,
        planted.changed_request,
        correction=planted.executed("UPDATE pool.withdrawal SET provider = 'SP-ALICE'"),
    ),
    Case(
        "shares issued to another",
        _of("ENTRIES_DISAGREE", "PROVIDER_DIFFERS"),
        False,
        planted.stolen_shares,
        correction=planted.executed(
            "UPDATE pool.deposit SET provider = 'SP-BOB' WHERE provider = 'SP-MALLORY'",
            "UPDATE pool.statement_line SET provider = 'SP-BOB' WHERE provider = 'SP-MALLORY'",
            "UPDATE pool.share_balance SET provider = 'SP-BOB' WHERE provider = 'SP-MALLORY'",
        ),
    ),
    Case(
        "balance by hand",
        _of(_HAND, "BALANCE_NOT_DERIVED"),
        False,
        planted.executed("INSERT INTO pool.account_balance VALUES ('gas_spent/STX', 1, 5)"),
        correction=planted.rebuild_derived,
    ),
    Case(
        "shares by hand",
        _of(_HAND, "SHARES_NOT_DERIVED", "TIER_SHARES_NOT_DERIVED"),
        False,
        planted.executed("UPDATE pool.share_balance SET shares = shares + 1"),
        correction=planted.rebuild_derived,
    ),
    Case(
        "closing by hand",
        _of(_HAND, "CLOSING_NOT_DERIVED"),
        False,
        planted.executed("INSERT INTO pool.account_closing VALUES ('gas_spent/STX', 1, 5, 5)"),
        correction=planted.rebuild_derived,
    ),
)


async def _reconcile(pool: RunningPool, request: pb.CreateReconciliationRequest) -> pb.Reconciliation:
    return (await pool.stub.CreateReconciliation(request, metadata=WORKFLOWS)).reconciliation


@pytest.mark.parametrize("case", [*_HEALED, *_ASKED], ids=lambda case: case.name.replace(" ", "-"))
async def test_a_planted_difference_is_named_and_then_gone(pool: RunningPool, case: Case) -> None:
    """The report has its kinds and causes and what became of them; healed or corrected, no difference is left."""
    scene = await planted.prepare(pool)
    assert list((await _reconcile(pool, honest_request(pool))).differences) == []
    await case.plant(scene)
    request = honest_request(pool)
    case.lie(request)
    report = await _reconcile(pool, request)
    assert {(difference.kind, difference.cause) for difference in report.differences} == case.found
    became = pb.DIFFERENCE_RESOLUTION_HEALED if case.healed else pb.DIFFERENCE_RESOLUTION_PERSON
    assert {difference.resolution for difference in report.differences} == {became}
    await case.correction(scene)
    assert list((await _reconcile(pool, honest_request(pool))).differences) == []


async def test_terms_that_differ_are_named_with_both_values(pool: RunningPool) -> None:
    """Each book's own report names every term that it says differently, and the ledger has the contracts' again, as
    has what is derived from it."""
    scene = await planted.prepare(pool)
    assert len(KEPT) == 9
    changed = ", ".join(
        f"{name} = NOT {name}" if name == "auto_settle" else f"{name} = {name} - 1" for name in KEPT.values()
    )
    before, derived = await _coverage(pool), OpenPolicies()
    await planted.executed(f"UPDATE pool.coverage SET {changed}")(scene)
    assert await _strikes(pool, derived, Tier.CONSERVATIVE) == [scene.terms.strike_price_usd_e8 - 1]
    request = honest_request(pool)
    planted.dearer(request)
    found = (await _reconcile(pool, request)).differences
    service, ledger = (one for one in found if one.kind.startswith("TERMS_DIFFER"))
    policy, terms = request.contracts.policies[0], scene.terms
    told = {"onchain_id": 1, "created_burn_height": policy.created_burn_height}
    values = {name: told.get(name) or getattr(terms, name) for name in KEPT}
    assert (ledger.kind, ledger.subject) == ("TERMS_DIFFER_IN_LEDGER", terms.policy)
    assert ledger.contracts_say == ", ".join(f"{name} {_text(value)}" for name, value in values.items())
    assert ledger.ledger_says == ", ".join(
        f"{name} {_text(not value if value is True else value - 1)}" for name, value in values.items()
    )
    strike = terms.strike_price_usd_e8
    assert service.contracts_say == f"holder_principal {terms.holder_principal}, strike_price_usd_e8 {strike}"
    assert service.policies_say == f"holder_principal SP-NOBODY, strike_price_usd_e8 {strike + 1}"
    assert await _coverage(pool) == before
    assert await _strikes(pool, derived, Tier.CONSERVATIVE) == []
    assert await _strikes(pool, derived, Tier.BALANCED) == [strike]


async def test_what_a_service_of_the_release_before_says_has_no_terms(pool: RunningPool) -> None:
    """Without terms none are compared, and the rest is as it was; terms of another policy are refused."""
    await planted.prepare(pool)
    request = honest_request(pool)
    planted.dearer(request)
    request.contracts.policies[0].ClearField("terms")
    assert list((await _reconcile(pool, request)).differences) == []
    request = honest_request(pool)
    request.policies[0].terms.policy = "policies/other"
    with pytest.raises(InvalidArgument, match=r"policies\.terms\.policy"), remote_errors():
        await _reconcile(pool, request)


async def _strikes(pool: RunningPool, derived: OpenPolicies, tier: Tier) -> list[int]:
    async with pool.database.reading() as session:
        return [int(strike) for strike in (await derived.book(session, tier, Token.STX)).strike_e8]


async def _coverage(pool: RunningPool) -> str:
    return str(await pool.scalar("SELECT row_to_json(c) FROM pool.coverage c"))


def _text(value: int) -> str:
    return str(value).lower()


async def test_what_was_healed_is_in_the_journal_once(pool: RunningPool) -> None:
    """A missed settlement is posted under its event's cause; asked again, by the same name or another, nothing is."""
    scene = await planted.prepare(pool)
    await planted.missed_settlement(scene)
    request = honest_request(pool)
    report = await _reconcile(pool, request)
    posted = await pool.scalar("SELECT count(*) FROM pool.journal_entry")
    settled = pool.gateway.standing_events()[-1]
    assert await pool.scalar(f"SELECT kind FROM pool.journal_entry WHERE event = '{settled.txid}/1'") == (
        "POLICY_SETTLED"
    )
    assert await _reconcile(pool, request) == report
    assert list((await _reconcile(pool, honest_request(pool))).differences) == []
    assert await pool.scalar("SELECT count(*) FROM pool.journal_entry") == posted
