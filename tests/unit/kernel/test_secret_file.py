"""Secrets in files are read only when nobody else can read them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kernel.secret_file import read_secret_file
from kernel.settings import SettingsError


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file with a secret, mode 0600."""
    path = tmp_path / "secret"
    path.write_text("hidden words")
    path.chmod(0o600)
    return path


def test_a_private_file_is_read(secret: Path) -> None:
    """Also when it is read-only, and through a link, as mounted secrets are."""
    assert read_secret_file(secret, "KEY_FILE") == b"hidden words"
    secret.chmod(0o400)
    link = secret.with_name("link")
    link.symlink_to(secret)
    assert read_secret_file(link, "KEY_FILE") == b"hidden words"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o644, 0o610])
def test_a_file_open_to_others_is_refused(secret: Path, mode: int) -> None:
    """The setting and the path are named, the content is not."""
    secret.chmod(mode)
    with pytest.raises(SettingsError, match=f"KEY_FILE: {secret} must be") as refused:
        read_secret_file(secret, "KEY_FILE")
    assert "hidden" not in str(refused.value)


def test_what_is_no_secret_is_refused(tmp_path: Path, secret: Path) -> None:
    """Missing, a folder, a pipe (without waiting for a writer), empty."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o600)
    secret.write_text(" \n")
    for path in (tmp_path / "missing", tmp_path, pipe, secret):
        with pytest.raises(SettingsError, match="KEY_FILE"):
            read_secret_file(path, "KEY_FILE")
