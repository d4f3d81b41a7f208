"""Settings of the identity service; the only reader of its environment."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kernel.errors import InvalidArgument
from kernel.settings import SettingsError, read_settings
from services.identity.domain.challenge import SignInDomain
from services.identity.domain.wallet import Network, check_address

_LOCAL: Final = "localhost"


@dataclass(frozen=True)
class Settings:
    """One field per environment variable, its name in upper case.

    `listen`: where it serves, `host:port`; `metrics_port` 0 serves no metrics over HTTP. `database_url`: Postgres,
    schema `identity`. `chain_id` 1 is the main network, 2147483648 the test network and the devnet.
    `sign_in_domain` is the host that the wallet shows (with port, if any) and must be named on the main network.
    `jwt_key_file` is a P-256 private key in PEM, mode 0600; `jwt_other_key_files` are P-256 keys (public or private)
    that verify besides, while keys are being exchanged. `service_secrets_folder` holds one file of mode 0600 per
    client process, named as the client. `operator_principals` are addresses that also run the system.
    """

    listen: str
    metrics_port: int
    database_url: str
    chain_id: int
    jwt_key_file: Path
    service_secrets_folder: Path
    sign_in_domain: str = _LOCAL
    jwt_other_key_files: tuple[str, ...] = ()
    operator_principals: tuple[str, ...] = ()

    @property
    def domain(self) -> SignInDomain:
        """Who asks for signatures, and on which chain."""
        return SignInDomain(self.sign_in_domain, self.chain_id)


def load_settings() -> Settings:
    """From the environment; SettingsError naming the variable that is wrong."""
    settings = read_settings(Settings, os.environ)
    check_settings(settings)
    return settings


def check_settings(settings: Settings) -> None:
    """SettingsError if a setting contradicts another."""
    try:
        network = settings.domain.network
    except ValueError as error:
        raise SettingsError(f"SIGN_IN_DOMAIN: {error}") from error
    if network is Network.MAINNET and settings.sign_in_domain == _LOCAL:
        raise SettingsError("SIGN_IN_DOMAIN is not set")
    for principal in settings.operator_principals:
        try:
            check_address(principal, network)
        except InvalidArgument as error:
            raise SettingsError(f"OPERATOR_PRINCIPALS: {principal}: {error.message}") from error
