"""What activation would pay now, in figures and in one sentence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from kernel.units import SATS_PER_BTC, USD_E8, USTX_PER_STX, Token, stx_cap_price_e8
from services.policy.domain.policy import Policy
from services.policy.domain.transitions import TERMINAL, PolicyState

_CENT_E8: Final = USD_E8 // 100

# Errors of the contracts after which the same receipt may still settle: settlement is paused (u3001), the policy is
# no longer active, so that its end is on its way to us (u3014), the receipt's block is not there yet on this fork
# (u3019), and a round that is to be published first or anew (u2011, u2012).
_RETRIED: Final = frozenset({3001, 3014, 3019, 2011, 2012})


def is_retried(contract_error: int) -> bool:
    """True if a refused settlement is tried again inside SETTLING."""
    return contract_error in _RETRIED


@dataclass(frozen=True)
class Preview:
    """A settlement at given prices; `cap_binds_below_stx_price_usd_e8` is zero for sBTC."""

    payout_base_units: int
    in_the_money: bool
    explanation: str
    cap_binds_below_stx_price_usd_e8: int


def preview(
    policy: Policy, btc_price_usd_e8: int, stx_price_usd_e8: int, haircut_bps: int, burn_height: int | None
) -> Preview:
    """What the policy would pay at these prices, and why; nothing where no activation is possible any more.

    `burn_height` is that of the tip, None while it is not known.
    """
    is_stx = policy.token is Token.STX
    cap = stx_cap_price_e8(policy.stx_price_usd_e8, haircut_bps) if is_stx else 0
    over = _over(policy, burn_height)
    if over:
        return Preview(0, False, f"Pays nothing: {over}.", cap)
    paid = policy.payout_at(btc_price_usd_e8, stx_price_usd_e8)
    return Preview(paid, paid > 0, _explain(policy, btc_price_usd_e8, stx_price_usd_e8, paid), cap)


def _over(policy: Policy, burn_height: int | None) -> str:
    if policy.state in TERMINAL:
        return f"the policy is {policy.state}"
    last = policy.expiration_burn_height
    # A request in time is decided after expiration too: its policy is not ACTIVE.
    if burn_height is None or burn_height <= last or policy.state not in (PolicyState.ACTIVE, PolicyState.EXPIRING):
        return ""
    end = (
        "it is settled at the average price of that height" if policy.auto_settle else "it expires as its holder chose"
    )
    return f"it could be activated up to burn height {last}; {end}"


def _explain(policy: Policy, btc: int, stx: int, paid: int) -> str:
    strike = usd(policy.strike_price_usd_e8)
    if btc >= policy.strike_price_usd_e8:
        return f"Pays nothing: BTC at {usd(btc)} is not below the strike of {strike}."
    if paid == 0:
        return f"Pays nothing: the difference to the strike of {strike} is less than one base unit."
    amount = amount_text(policy.token, paid)
    sentence = f"Pays {amount}: BTC at {usd(btc)} is below the strike of {strike}"
    if btc <= policy.floor_price_usd_e8:
        sentence += f"; a lower price pays no more, as the floor of {usd(policy.floor_price_usd_e8)} is reached"
    if policy.token is Token.STX:
        sentence += f"; at {usd(stx)} per STX"
        if paid == policy.max_payout_base_units:
            sentence += " that is the largest payout of this policy"
    return sentence + "."


def usd(price_e8: int) -> str:
    """A price in dollars for people, rounded down to cents (STX: to hundredths of a cent)."""
    if price_e8 < 100 * USD_E8:
        return f"${price_e8 // USD_E8}.{price_e8 % USD_E8 // (_CENT_E8 // 100):04d}"
    return f"${price_e8 // USD_E8:,}.{price_e8 % USD_E8 // _CENT_E8:02d}"


def amount_text(token: Token, base_units: int) -> str:
    """An amount for people, exact."""
    if token is Token.SBTC:
        return f"{base_units // SATS_PER_BTC}.{base_units % SATS_PER_BTC:08d} sBTC"
    return f"{base_units // USTX_PER_STX:,}.{base_units % USTX_PER_STX:06d} STX"
