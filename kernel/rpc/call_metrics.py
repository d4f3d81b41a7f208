"""Calls served, by method and code, and how long they took, as Prometheus reads them.

Kept by the event loop alone and read at a scrape: a counter of prometheus_client takes a lock at each step, and three
of them were half of what everything that a call passes through costs.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from typing import Final

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import REGISTRY, Collector

_BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_LABELS: Final = (*map(str, _BOUNDS), "+Inf")


class MethodCalls:
    """Of one method: `codes` counts its calls, `seconds` is their sum; for streams, until they ended."""

    __slots__ = ("_buckets", "codes", "seconds")

    def __init__(self) -> None:
        self.codes: Counter[str] = Counter()
        self.seconds = 0.0
        self._buckets = [0] * len(_LABELS)

    def add(self, code: str, seconds: float) -> None:
        """One call."""
        self.codes[code] += 1
        self.seconds += seconds
        self._buckets[bisect_left(_BOUNDS, seconds)] += 1

    def buckets(self) -> list[tuple[str, float]]:
        """How many calls took at most so long, by the bound in seconds."""
        total, found = 0, []
        for label, count in zip(_LABELS, list(self._buckets), strict=True):
            total += count
            found.append((label, float(total)))
        return found


class CallMetrics(Collector):
    """Of every method of the process."""

    def __init__(self) -> None:
        self._methods: dict[str, MethodCalls] = {}

    def of(self, method: str) -> MethodCalls:
        """Of one method, `/package.Service/Method`."""
        return self._methods.setdefault(method, MethodCalls())

    def collect(self) -> Iterator[Metric]:
        """Two families of metrics."""
        calls = CounterMetricFamily("bithedge_grpc_calls", "Calls served", labels=["method", "code"])
        seconds = HistogramMetricFamily(
            "bithedge_grpc_call_seconds", "Time to serve a call; for streams, until it ended", labels=["method"]
        )
        for name, method in self._methods.items():
            for code, count in method.codes.copy().items():
                calls.add_metric([name, code], count)
            seconds.add_metric([name], method.buckets(), method.seconds)
        yield calls
        yield seconds


CALLS: Final = CallMetrics()
REGISTRY.register(CALLS)
