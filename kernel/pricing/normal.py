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
# Numerator and denominator side by side, highest power first: one Horner scheme serves both.
_COEFFICIENTS: Final = np.array(
    (
        (0.0, 8.83883476483184e-02),
        (3.52624965998911e-02, 1.75566716318264),
        (0.700383064443688, 16.064177579207),
        (6.37396220353165, 86.7807322029461),
        (33.912866078383, 296.564248779674),
        (112.079291497871, 637.333633378831),
        (221.213596169931, 793.826512519948),
        (220.206867912376, 440.413735824752),
    )
)


def normal_cdf(x: float) -> float:
    """P(Z <= x), to full relative precision in the lower tail."""
    return 0.5 * math.erfc(-x * _SQRT_HALF)


def normal_pdf(x: float) -> float:
    """Density of the standard normal at x."""
    return _INV_SQRT_2PI * math.exp(-0.5 * x * x)


def normal_cdf_array(x: Array) -> Array:
    """P(Z <= x) elementwise, infinities included; absolute error below 2e-15."""
    return normal_cdf_and_density(x)[0]


def normal_cdf_and_density(x: Array) -> tuple[Array, Array]:
    """P(Z <= x) and the density at x, elementwise, for little more than the price of one."""
    size = np.minimum(np.abs(x), _TAIL_END)
    bell = np.exp(-0.5 * size * size)
    below = bell * _mills_ratio(size)
    return np.where(x > 0.0, 1.0 - below, below), _INV_SQRT_2PI * bell


def _mills_ratio(size: Array) -> Array:
    # P(Z > size) over exp(-size**2 / 2).
    coefficients = _COEFFICIENTS.reshape(_COEFFICIENTS.shape + (1,) * size.ndim)
    parts = np.empty((2, *size.shape))
    parts[:] = coefficients[0]
    for coefficient in coefficients[1:]:
        parts *= size
        parts += coefficient
    ratio: Array = parts[0] / parts[1]
    far = size >= _TAIL_START
    if far.any():
        ratio[far] = _continued_fraction(size[far])
    return ratio


def _continued_fraction(size: Array) -> Array:
    fraction = size + 0.65
    for step in (4.0, 3.0, 2.0, 1.0):
        fraction = size + step / fraction
    return _INV_SQRT_2PI / fraction
