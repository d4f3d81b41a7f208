"""The pricing library's one error."""

from __future__ import annotations

import math


class PricingError(ValueError):
    """An input outside the model: not finite, not positive, or inconsistent."""


def check_positive(name: str, value: float) -> float:
    """`value` if finite and > 0; else PricingError naming `name`."""
    if not (math.isfinite(value) and value > 0.0):
        raise PricingError(f"{name} must be finite and positive: {value!r}")
    return value


def check_not_negative(name: str, value: float) -> float:
    """`value` if finite and >= 0; else PricingError naming `name`."""
    if not (math.isfinite(value) and value >= 0.0):
        raise PricingError(f"{name} must be finite and not negative: {value!r}")
    return value


def check_finite(name: str, value: float) -> float:
    """`value` if finite; else PricingError naming `name`."""
    if not math.isfinite(value):
        raise PricingError(f"{name} must be finite: {value!r}")
    return value
