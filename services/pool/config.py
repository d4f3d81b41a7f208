"""Settings of the pool; the only reader of its environment."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from kernel.settings import read_settings


@dataclass(frozen=True)
class Settings:
    """One field per environment variable, its name in upper case. Addresses are `host:port`.

    `listen`: where it serves; `metrics_port` 0 serves no metrics over HTTP. `database_url`: Postgres, schema `pool`.
    `identity_address`, `chain_gateway_address`, `oracle_address`: the services that it reads. `temporal_address` and
    `temporal_namespace`: where its workflows run. `service_secret_file`: its client secret, mode 0600.
    `unpaid_quotes_per_principal`, `unpaid_quotes_per_tier`: how many unpaid quotes may hold capacity at once.
    """

    listen: str
    database_url: str
    identity_address: str
    chain_gateway_address: str
    oracle_address: str
    temporal_address: str
    service_secret_file: Path
    metrics_port: int = 0
    temporal_namespace: str = "default"
    unpaid_quotes_per_principal: int = 20
    unpaid_quotes_per_tier: int = 5_000


def load() -> Settings:
    """The process's settings; SettingsError names what is missing."""
    return read_settings(Settings, os.environ)
