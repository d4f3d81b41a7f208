"""Our own processes as clients: each proves itself with a secret that a file of its name holds."""

from __future__ import annotations

import hashlib
import hmac
import re
from pathlib import Path
from typing import Final

from kernel.log import get_logger
from kernel.secret_file import read_secret_file
from kernel.settings import SettingsError
from services.identity.domain.errors import WrongClientSecret

_CLIENT: Final = re.compile(r"[a-z][a-z0-9_]{0,31}")
_SHORTEST_SECRET: Final = 32
_SETTING: Final = "SERVICE_SECRETS_FOLDER"


class ServiceClients:
    """The secrets of one folder. A file is read at each use, so that a secret is exchanged without a restart."""

    def __init__(self, folder: Path) -> None:
        """SettingsError if a file of the folder is not a secret that only we can read."""
        self._folder = folder
        if not folder.is_dir():
            raise SettingsError(f"{_SETTING}: {folder} is not a folder")
        for path in folder.iterdir():
            if _CLIENT.fullmatch(path.name):
                self._secret(path)

    def check(self, client: str, secret: str) -> None:
        """Returns if `secret` is the client's; WrongClientSecret otherwise, in the same time for any wrong secret."""
        if not _CLIENT.fullmatch(client):
            raise WrongClientSecret
        try:
            expected = self._secret(self._folder / client)
        except SettingsError as error:
            get_logger().warning("no secret of a client", client=client, error=str(error))
            raise WrongClientSecret from None
        # Digests have one length, so that not even the secret's length shows.
        given = hashlib.sha256(secret.encode()).digest()
        if not hmac.compare_digest(hashlib.sha256(expected).digest(), given):
            raise WrongClientSecret

    def _secret(self, path: Path) -> bytes:
        secret = read_secret_file(path, _SETTING).strip()
        if len(secret) < _SHORTEST_SECRET:
            raise SettingsError(f"{_SETTING}: {path} is shorter than {_SHORTEST_SECRET} characters")
        return secret
