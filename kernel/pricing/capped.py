"""Closed forms for the policy's payoff: a put capped at the floor, settled in STX or in sBTC.

Value per BTC in USD of a policy that is exercised at expiry only. With F < K the payoff of a price S is
`K - S` in between, above F; below F it is `K - F` for STX (paid in dollars) and `(K - F)/F * S` for sBTC
(paid in a number of sats fixed by the floor). So the value is `put(K) - w * put(F)`, where w is 1 for STX
and K/F for sBTC.

The functions take float arrays of any shapes that broadcast, and do not check their arguments: the entry
points in `kernel.pricing.policy` do.
"""

from __future__ import annotations

import numpy as np

from kernel.pricing.normal import Array, normal_cdf_array


def payoff(is_sbtc: Array, price: Array, strike: Array, floor: Array) -> Array:
    """What exercise is worth at `price`, in USD per BTC. `is_sbtc` is 1.0 for sBTC and 0.0 for STX."""
    gain = np.maximum(strike - np.maximum(price, floor), 0.0)
    below_floor = np.minimum(price / floor, 1.0)
    return np.asarray(gain * np.where(is_sbtc > 0.0, below_floor, 1.0))


def european_value(
    is_sbtc: Array,
    spot: Array,
    strike: Array,
    floor: Array,
    volatility: Array,
    rate: float,
    time_years: Array,
) -> Array:
    """Value of the payoff at expiry; `time_years` > 0. Good to 1e-14 of spot."""
    weight = np.where(is_sbtc > 0.0, strike / floor, 1.0)
    value = _put(spot, strike, volatility, rate, time_years) - weight * _put(spot, floor, volatility, rate, time_years)
    return np.maximum(value, 0.0)


def touch_value(spot: Array, strike: Array, floor: Array, volatility: Array, rate: float, time_years: Array) -> Array:
    """Value for spot > floor of exercising when the price first touches the floor, or else at expiry.

    A rebate `K - F` paid at the touch (Reiner and Rubinstein, "Breaking down the barriers", 1991) plus the
    put alive only above F, by reflection. The same for both tokens: at F both pay the same dollars.
    """
    deviation = volatility * np.sqrt(time_years)
    distance = np.log(floor / spot)
    # Exponents of the two solutions of the pricing equation: S**-power and S**1.
    power = 2.0 * rate / volatility**2
    drift = 0.5 * (power + 1.0) * volatility * deviation * np.sqrt(time_years)
    mirrored = np.exp(power * distance)
    rebate = mirrored * normal_cdf_array((distance + drift) / deviation) + spot / floor * normal_cdf_array(
        (distance - drift) / deviation
    )
    alive = _truncated_put(spot, strike, floor, volatility, rate, time_years)
    image = _truncated_put(floor * floor / spot, strike, floor, volatility, rate, time_years)
    return np.asarray((strike - floor) * rebate + alive - mirrored * spot / floor * image)


def _put(spot: Array, strike: Array, volatility: Array, rate: float, time_years: Array) -> Array:
    deviation = volatility * np.sqrt(time_years)
    d1 = (np.log(spot / strike) + rate * time_years) / deviation + 0.5 * deviation
    below = normal_cdf_array(deviation - d1)
    return np.asarray(strike * np.exp(-rate * time_years) * below - spot * normal_cdf_array(-d1))


def _truncated_put(
    spot: Array, strike: Array, floor: Array, volatility: Array, rate: float, time_years: Array
) -> Array:
    # Pays K - S if F < S < K at expiry, else nothing.
    deviation = volatility * np.sqrt(time_years)
    growth = rate * time_years
    d1_strike = (np.log(spot / strike) + growth) / deviation + 0.5 * deviation
    d1_floor = (np.log(spot / floor) + growth) / deviation + 0.5 * deviation
    cash = normal_cdf_array(deviation - d1_strike) - normal_cdf_array(deviation - d1_floor)
    asset = normal_cdf_array(-d1_strike) - normal_cdf_array(-d1_floor)
    return np.asarray(strike * np.exp(-growth) * cash - spot * asset)
