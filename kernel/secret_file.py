"""Secrets in files: read only if nobody else can, and never shown."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from kernel.settings import SettingsError

_LONGEST: Final = 16 * 1024
_MODES: Final = (0o600, 0o400)


def read_secret_file(path: Path, setting: str) -> bytes:
    """The content of a regular file that neither group nor others may open.

    SettingsError, naming `setting` and the path but never the content, otherwise.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError as error:
        raise SettingsError(f"{setting}: cannot open {path}: {error.strerror}") from None
    try:
        # Of what was opened, not of the path, which somebody could exchange in between.
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode) or stat.S_IMODE(mode) not in _MODES:
            raise SettingsError(f"{setting}: {path} must be a regular file of mode 0600 or 0400")
        content = os.read(descriptor, _LONGEST)
    finally:
        os.close(descriptor)
    if not content.strip():
        raise SettingsError(f"{setting}: {path} is empty")
    return content
