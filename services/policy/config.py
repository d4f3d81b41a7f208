"""Settings of the policy service."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from kernel.settings import read_settings


@dataclass(frozen=True)
class Settings:
    """What the environment says."""

    listen: str
    database_url: str
    identity_address: str
    chain_gateway_address: str
    oracle_address: str
    pool_address: str
    temporal_address: str
    service_secret_file: Path
    contract_deployer: str
    metrics_port: int = 0
    temporal_namespace: str = "default"

    @property
    def vault(self) -> str:
        """The pool vault, which writes every policy."""
        return f"{self.contract_deployer}.liquidity-pool-vault"


def settings() -> Settings:
    """Reads the environment; SettingsError names what is missing."""
    return read_settings(Settings, os.environ)
