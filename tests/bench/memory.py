"""The memory of processes while a row runs: how much at the start, in the middle, at the end, and whether it grows."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np

_SECONDS_PER_MINUTE: Final = 60.0


@dataclass
class Memory:
    """Samples of the resident memory of named processes, MB."""

    _seconds: list[float] = field(default_factory=list)
    _samples: list[Mapping[str, float]] = field(default_factory=list)

    def add(self, megabytes: Mapping[str, float], seconds: float | None = None) -> None:
        """One more sample, of now unless `seconds` says when."""
        self._seconds.append(time.monotonic() if seconds is None else seconds)
        self._samples.append(megabytes)

    def summary(self) -> dict[str, str]:
        """Per process at the start, in the middle, at the end, at the most, and its growth over the second half."""
        return {name: self._summary([sample[name] for sample in self._samples]) for name in self._samples[0]}

    def _summary(self, values: list[float]) -> str:
        first, middle, last = values[0], values[len(values) // 2], values[-1]
        growth = self._growth(values)
        return f"{first:.0f}, {middle:.0f}, {last:.0f}; at most {max(values):.0f}; {growth:+.1f} a minute at last"

    def _growth(self, values: list[float]) -> float:
        """The slope of the straight line that is closest to the second half, MB a minute; 0 for fewer than two."""
        half = len(values) // 2
        seconds, tail = np.array(self._seconds[half:]), np.array(values[half:])
        seconds = seconds - seconds.mean()
        spread = float(seconds @ seconds)
        return float(seconds @ tail) / spread * _SECONDS_PER_MINUTE if spread else 0.0
