"""The process itself: starts before the services that it calls, serves, and ends when told to."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path

from kernel.rpc.channels import wait_until_serving

_ROOT = Path(__file__).parents[3]


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


async def test_the_process_starts_alone_and_ends_on_sigterm(empty_database_url: str, tmp_path: Path) -> None:
    """With nothing else running it migrates and serves; SIGTERM ends it with exit code 0."""
    secret = tmp_path / "secret"
    secret.write_text("secret")
    secret.chmod(0o600)
    address, nowhere = f"127.0.0.1:{_free_port()}", f"127.0.0.1:{_free_port()}"
    environment = os.environ | {
        "LISTEN": address,
        "DATABASE_URL": empty_database_url,
        "IDENTITY_ADDRESS": nowhere,
        "CHAIN_GATEWAY_ADDRESS": nowhere,
        "ORACLE_ADDRESS": nowhere,
        "TEMPORAL_ADDRESS": nowhere,
        "SERVICE_SECRET_FILE": str(secret),
        "PYTHONPATH": f"{_ROOT}:{_ROOT / 'gen'}",
    }
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "services.pool", cwd=_ROOT, env=environment)
    try:
        await wait_until_serving(address, "bithedge.pool.v1.PoolService", timeout_seconds=60)
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(60):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_a_missing_setting_is_one_clear_line(tmp_path: Path) -> None:
    """Exit code 2 and the variable's name, no traceback."""
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": f"{_ROOT}:{_ROOT / 'gen'}"}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.pool", cwd=_ROOT, env=environment, stderr=asyncio.subprocess.PIPE
    )
    _, error = await process.communicate()
    assert process.returncode == 2
    assert error.decode().strip().splitlines() == ["pool: LISTEN is not set"]
