"""The pool of a back-test: the ledger's real entries, the real rules of reservations and shares, without a database."""

from __future__ import annotations

import datetime as dt
from collections import Counter, defaultdict
from dataclasses import dataclass

from kernel.units import Tier, Token
from services.policy.domain.quote import Quote, Room
from services.pool.domain import ledger, shares
from services.pool.domain.collateral import (
    Refusal,
    ReservationTerms,
    TierBooks,
    TierParameters,
    UnpaidCounts,
    UnpaidLimits,
    judge_reservation,
)
from services.pool.domain.shares import OpenPolicy, Prices

_NO_LIMITS = UnpaidLimits(per_principal=1, per_tier=1)
_NOBODY_WAITS = UnpaidCounts(of_principal=0, in_tier=0)


class Insolvent(Exception):
    """An invariant of the pool does not hold; the message says which and when."""


@dataclass(frozen=True)
class Written:
    """An open policy as it was written; `key` is its number."""

    key: int
    quote: Quote
    created_burn_height: int

    @property
    def tier(self) -> Tier:
        """The tier that wrote it."""
        return self.quote.admission.bounds.tier

    @property
    def expiration_burn_height(self) -> int:
        """The last height at which it can be activated."""
        return self.created_burn_height + self.quote.terms.duration_blocks

    def as_open(self) -> OpenPolicy:
        """As the pool values it."""
        terms = self.quote.terms
        return OpenPolicy(
            terms.token,
            terms.protected_amount_sats,
            terms.strike_price_usd_e8,
            terms.floor_price_usd_e8,
            self.quote.max_payout_base_units,
            self.quote.premium,
            self.created_burn_height,
            self.expiration_burn_height,
        )


class Pool:
    """Books of every tier and token. One step of the back-test writes at one burn height and time."""

    def __init__(self) -> None:
        self._balances: defaultdict[tuple[str, Token], int] = defaultdict(int)
        self._shares: defaultdict[tuple[Tier, Token], int] = defaultdict(int)
        self.open: dict[int, Written] = {}
        self._posted: set[str] = set()
        self._changed = False

    def deposit(self, tier: Tier, token: Token, amount: int, time: dt.datetime) -> None:
        """A provider's deposit before anything was written, priced at once."""
        cause = ledger.Cause(f"deposit/{tier.name}/{token.name}", 0, time)
        self._post(ledger.deposit(cause, tier, token, amount))
        issued = shares.shares_for(amount, self._shares[tier, token], self.books(tier, token).total)
        priced = ledger.Cause(f"{cause.key}/price", 0, time)
        self._post(ledger.shares_issued(priced, tier, token, amount))
        self._shares[tier, token] += issued

    def books(self, tier: Tier, token: Token) -> TierBooks:
        """A tier's books in a token; nothing is reserved, as every quote is paid at once or not at all."""
        return TierBooks(
            tier,
            token,
            free=-self._balances[ledger.free_capital(tier, token), token],
            locked=-self._balances[ledger.locked_collateral(tier, token), token],
            reserved=0,
            shares=self._shares[tier, token],
        )

    def room(self, tier: Tier, token: Token, utilization_max_bps: int) -> Room:
        """What a quote is told of the tier."""
        books = self.books(tier, token)
        committed = books.locked + books.reserved
        return Room(books.available(utilization_max_bps), books.is_closed(utilization_max_bps), committed)

    def judge(self, quote: Quote, height: int, utilization_max_bps: int) -> Refusal:
        """Whether the pool has room for a policy, by the service's own rule."""
        bounds, terms = quote.admission.bounds, quote.terms
        wanted = ReservationTerms(
            policy_id="",
            holder="",
            tier=bounds.tier,
            token=terms.token,
            amount_sats=terms.protected_amount_sats,
            strike_e8=terms.strike_price_usd_e8,
            floor_e8=terms.floor_price_usd_e8,
            stx_price_e8=quote.market.stx_price_usd_e8,
            max_payout=quote.max_payout_base_units,
            quote_expiration_burn_height=height + 1,
            expiration_burn_height=height + terms.duration_blocks,
        )
        parameters = TierParameters(utilization_max_bps, bounds.stx_haircut_bps)
        books = self.books(bounds.tier, terms.token)
        return judge_reservation(wanted, books, _NOBODY_WAITS, _NO_LIMITS, parameters, height)

    def write(self, written: Written, time: dt.datetime) -> None:
        """A policy was paid for."""
        quote, cause = written.quote, ledger.Cause(f"create/{written.key}", written.created_burn_height, time)
        self._post(
            ledger.policy_created(
                cause, written.tier, quote.terms.token, quote.premium, quote.fee, quote.max_payout_base_units
            )
        )
        self.open[written.key] = written

    def end(self, written: Written, payout: int, height: int, time: dt.datetime) -> None:
        """A policy was settled, or expired where `payout` is 0."""
        token, locked = written.quote.terms.token, written.quote.max_payout_base_units
        cause = ledger.Cause(f"end/{written.key}", height, time)
        if payout:
            self._post(ledger.policy_settled(cause, written.tier, token, payout, locked))
        else:
            self._post(ledger.policy_expired(cause, written.tier, token, locked))
        del self.open[written.key]

    def share_price_e6(self, tier: Tier, token: Token, prices: Prices, height: int) -> int:
        """What a million shares are worth in base units, open policies at unearned premium and payout now."""
        own = [one.as_open() for one in self.open.values() if one.tier is tier and one.quote.terms.token is token]
        books = self.books(tier, token)
        claims = shares.claims_when_leaving(own, prices, [0] * len(own), height)
        return shares.share_price_e6(books.shares, shares.net_assets(books.total, claims))

    def check(self, time: dt.datetime) -> None:
        """The invariants of every token; Insolvent where one does not hold."""
        if not self._changed:
            return
        self._changed = False
        largest = Counter[Token]()
        for one in self.open.values():
            largest[one.quote.terms.token] += one.quote.max_payout_base_units
        for token in Token:
            total = sum(amount for (_, other), amount in self._balances.items() if other is token)
            cash = self._balances[ledger.vault_cash(token), token]
            fees = -self._balances[ledger.platform_fees(token), token]
            locked = sum(self.books(tier, token).locked for tier in Tier)
            owed = largest[token]
            if total != 0:
                raise Insolvent(f"{time}: the ledger of {token.name} sums to {total}")
            if locked != owed:
                raise Insolvent(f"{time}: {locked} {token.name} locked for largest payouts of {owed}")
            if locked > cash - fees:
                raise Insolvent(f"{time}: {locked} {token.name} locked, {cash - fees} there")

    def _post(self, entry: ledger.Entry) -> None:
        if entry.cause.unique in self._posted:
            raise Insolvent(f"posted twice: {entry.cause.unique}")
        self._posted.add(entry.cause.unique)
        self._changed = True
        for posting in entry.postings:
            self._balances[posting.account, posting.token] += posting.amount
