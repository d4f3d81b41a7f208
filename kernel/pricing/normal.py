"""The normal distribution, for one number (math.erfc) and for arrays (a rational approximation).

The array form is J. F. Hart's approximation (1968, algorithm 5666) in the arrangement of G. West, "Better
approximations to cumulative normal functions" (Wilmott, 2005).
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_SQRT_HALF: Final = math.sqrt(0.5)
_INV_SQRT_2PI: Final = 1.0 / math.sqrt(2.0 * math.pi)
_TAIL_START: Final = 7.07106781186547
# exp(-x*x/2) underflows beyond.
_TAIL_END: Final = 38.5
_NUMERATOR: Final = (
    3.52624965998911e-02,
    0.700383064443688,
    6.37396220353165,
    33.912866078383,
    112.079291497871,
    221.213596169931,
    220.206867912376,
)
_DENOMINATOR: Final = (
    8.83883476483184e-02,
    1.75566716318264,
    16.064177579207,
    86.7807322029461,
    296.564248779674,
    637.333633378831,
    793.826512519948,
    440.413735824752,
)


def normal_cdf(x: float) -> float:
    """P(Z <= x), to full relative precision in the lower tail."""
    return 0.5 * math.erfc(-x * _SQRT_HALF)


def normal_pdf(x: float) -> float:
    """Density of the standard normal at x."""
    return _INV_SQRT_2PI * math.exp(-0.5 * x * x)


def normal_cdf_array(x: Array) -> Array:
    """P(Z <= x) elementwise, infinities included; absolute error below 2e-15."""
    size = np.minimum(np.abs(x), _TAIL_END)
    tail = np.exp(-0.5 * size * size) * np.where(size < _TAIL_START, _body(size), _continued_fraction(size))
    return np.where(x > 0.0, 1.0 - tail, tail)


def _body(size: Array) -> Array:
    numerator = np.full_like(size, _NUMERATOR[0])
    for coefficient in _NUMERATOR[1:]:
        numerator = numerator * size + coefficient
    denominator = np.full_like(size, _DENOMINATOR[0])
    for coefficient in _DENOMINATOR[1:]:
        denominator = denominator * size + coefficient
    return numerator / denominator


def _continued_fraction(size: Array) -> Array:
    fraction = size + 0.65
    for step in (4.0, 3.0, 2.0, 1.0):
        fraction = size + step / fraction
    return _INV_SQRT_2PI / fraction
