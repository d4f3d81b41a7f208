"""Ports, folders and addresses of one local stack."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from deploy.local.processes import free_ports

REPOSITORY: Final = Path(__file__).resolve().parents[2]
_DEFAULT_BASE: Final = 7700
SERVICES: Final = ("identity", "chain_gateway", "oracle", "policy", "pool")


@dataclass(frozen=True)
class Ports:
    """Where each process listens, on 127.0.0.1."""

    devnet: int
    temporal: int
    temporal_ui: int
    services: dict[str, int]
    metrics: dict[str, int]
    exchanges: int

    @classmethod
    def fixed(cls, base: int = _DEFAULT_BASE) -> Ports:
        """The ports of `make up`: devnet 7700, services 7701 to 7705, exchanges 7706, metrics 7711 to 7716, Temporal
        7733 and 7734."""
        services = {name: base + 1 + index for index, name in enumerate(SERVICES)}
        metrics = {name: base + 11 + index for index, name in enumerate((*SERVICES, "workflows"))}
        return cls(base, base + 33, base + 34, services, metrics, base + 6)

    @classmethod
    def free(cls) -> Ports:
        """Ports that nothing uses now, for a stack that lives beside another."""
        numbers = free_ports(3 + 2 * len(SERVICES) + 2)
        services = dict(zip(SERVICES, numbers[3:], strict=False))
        metrics = dict(zip((*SERVICES, "workflows"), numbers[3 + len(SERVICES) :], strict=False))
        return cls(numbers[0], numbers[1], numbers[2], services, metrics, numbers[-1])


@dataclass(frozen=True)
class Layout:
    """One stack: its state folder and its ports. Market time starts at `market_start` (ISO 8601).

    `live_prices`: the oracle reads stand-ins of exchanges, as it would read exchanges, instead of the recorded days.
    That takes a market time that runs, not one that jumps.
    """

    state: Path
    ports: Ports
    market_start: str
    # Market seconds per wall second; 0: only on command.
    market_speed: float
    live_prices: bool = False

    @property
    def node_url(self) -> str:
        """The devnet, where a Stacks node would be."""
        return f"http://127.0.0.1:{self.ports.devnet}"

    @property
    def temporal_address(self) -> str:
        """Temporal's gRPC."""
        return f"127.0.0.1:{self.ports.temporal}"

    @property
    def temporal_ui(self) -> str:
        """Temporal's pages."""
        return f"http://127.0.0.1:{self.ports.temporal_ui}"

    def address(self, service: str) -> str:
        """`host:port` of a service."""
        return f"127.0.0.1:{self.ports.services[service]}"

    def metrics_url(self, service: str) -> str:
        """Prometheus metrics of a process."""
        return f"http://127.0.0.1:{self.ports.metrics[service]}/metrics"


def default_layout(live_prices: bool = False) -> Layout:
    """The stack of `make up`: under `.state/`, one market minute a second, from the day before the crash of 2020.

    With live prices market time is as fast as wall time, and the state is another.
    """
    folder, speed = ("live", 1.0) if live_prices else ("local", 60.0)
    return Layout(REPOSITORY / ".state" / folder, Ports.fixed(), "2020-03-11T12:00:00Z", speed, live_prices)
