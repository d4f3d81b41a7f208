"""Statements by period add up, and all of them together are the tier's."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from services.pool.domain.ledger import EntryKind
from services.pool.domain.statement import Holding, Movement, PeriodStatement, Quiet, period_statement

_PROVIDERS = 3
_amounts = st.integers(1, 10**12)
_events = st.lists(
    st.tuples(
        st.sampled_from(
            (EntryKind.SHARES_ISSUED, EntryKind.WITHDRAWAL_PRICED, EntryKind.POLICY_CREATED, EntryKind.POLICY_SETTLED)
        ),
        st.integers(0, _PROVIDERS - 1),
        _amounts,
        _amounts,
    ),
    max_size=30,
)


def _tell(events: list[tuple[EntryKind, int, int, int]], who: int) -> PeriodStatement:
    """The history as one provider sees it; what cannot be is left out, the same for all."""
    holdings, capital, movements = [0] * _PROVIDERS, 0, []
    for kind, actor, amount, count in events:
        change, issued = amount, 0
        if kind is EntryKind.SHARES_ISSUED:
            issued = count
        elif kind is EntryKind.WITHDRAWAL_PRICED:
            change, issued = -min(amount, capital), -min(count, holdings[actor])
            if not issued:
                continue
        elif kind is EntryKind.POLICY_SETTLED:
            change = -min(amount, capital)
        elif not any(holdings):
            continue
        holdings[actor] += issued
        capital += change
        movements.append(Movement(kind, change, issued, issued if actor == who else 0))
    return period_statement(Holding(0, 0, 0), movements)


@given(events=_events)
def test_every_line_is_there_and_they_add_up(events: list[tuple[EntryKind, int, int, int]]) -> None:
    """Of each provider exactly; of all together each line is the tier's, but for a unit of rounding each."""
    statements = [_tell(events, who) for who in range(_PROVIDERS)]
    for one in statements:
        moved = one.deposits - one.withdrawals + one.premiums - one.payouts + one.rest
        assert one.opening.worth + moved == one.closing.worth
    closing = statements[0].closing
    assert sum(one.closing.shares for one in statements) == closing.all_shares
    if closing.all_shares:
        assert 0 <= closing.capital - sum(one.closing.worth for one in statements) < _PROVIDERS


@given(events=_events, at=st.integers(0, 30))
def test_two_periods_in_a_row_join(events: list[tuple[EntryKind, int, int, int]], at: int) -> None:
    """What closes one opens the next, and their lines are those of the whole, but for a unit of rounding each."""
    movements = [
        Movement(kind, amount if kind is not EntryKind.POLICY_SETTLED else -amount, 0, 0)
        for kind, _, amount, _ in events
        if kind in (EntryKind.POLICY_CREATED, EntryKind.POLICY_SETTLED)
    ]
    opening = Holding(3, 7, 10**14)
    whole = period_statement(opening, movements)
    first = period_statement(opening, movements[:at])
    second = period_statement(first.closing, movements[at:])
    assert second.closing == whole.closing
    for line in ("premiums", "payouts"):
        assert 0 <= getattr(whole, line) - getattr(first, line) - getattr(second, line) <= 1


@given(amounts=st.lists(st.tuples(st.booleans(), _amounts, st.integers(0, 10**12)), max_size=30))
def test_a_run_of_entries_counts_as_its_sums(amounts: list[tuple[bool, int, int]]) -> None:
    """While a provider's shares stay, what each share earned and paid says the same as the entries one by one."""
    opening, movements = Holding(3, 7, 10**14), []
    all_shares, earned, paid = opening.all_shares, Fraction(0), Fraction(0)
    for is_premium, amount, issued in amounts:
        kind = EntryKind.POLICY_CREATED if is_premium else EntryKind.POLICY_SETTLED
        movements += [Movement(kind, amount if is_premium else -amount, 0, 0)]
        movements += [Movement(EntryKind.SHARES_ISSUED, amount, issued, 0)]
        earned += Fraction(amount, all_shares) if is_premium else 0
        paid += 0 if is_premium else Fraction(amount, all_shares)
        all_shares += issued
    capital = sum(one.capital for one in movements)
    run = Quiet(capital, all_shares - opening.all_shares, earned, paid)
    assert period_statement(opening, [run]) == period_statement(opening, movements)
