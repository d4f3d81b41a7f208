"""Servers of a row, each a process as in production: our services with a real identity service, and yardsticks."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import grpc

from deploy.local.keys import LocalKeys, make_keys
from deploy.local.processes import free_ports
from kernel.rpc.channels import wait_until_serving
from kernel.rpc.tokens import ServiceTokens

# A machine that still writes a million policies to its disk starts a server slowly.
_START_SECONDS: Final = 300.0
_STOP_SECONDS: Final = 15.0
_TAIL: Final = 2_000
_SERVICES: Final = {
    "identity": "bithedge.identity.v1.IdentityService",
    "chain_gateway": "bithedge.chain_gateway.v1.ChainGatewayService",
    "oracle": "bithedge.oracle.v1.OracleService",
    "policy": "bithedge.policy.v1.PolicyService",
    "pool": "bithedge.pool.v1.PoolService",
}
Metadata = tuple[tuple[str, str], ...]


class NotStarted(Exception):
    """A server ended before it served; the message is the end of its log."""


@asynccontextmanager
async def running_service(name: str, folder: Path, settings: Mapping[str, str]) -> AsyncIterator[str]:
    """`host:port` of one of our services, started with these settings, once its health is SERVING."""
    address = f"127.0.0.1:{free_ports(1)[0]}"
    environment = {**os.environ, "LOG_LEVEL": "WARNING", "METRICS_PORT": "0", **settings, "LISTEN": address}
    log = folder / f"{name}.log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", f"services.{name}", env=environment, stdout=output, stderr=output
        )
    serving = asyncio.ensure_future(wait_until_serving(address, _SERVICES[name], _START_SECONDS))
    ended = asyncio.ensure_future(process.wait())
    try:
        await asyncio.wait([serving, ended], return_when=asyncio.FIRST_COMPLETED)
        if ended.done():
            raise NotStarted(f"{name}: {log.read_text(errors='replace')[-_TAIL:]}")
        serving.result()
        yield address
    finally:
        serving.cancel()
        await _stop(process)


@asynccontextmanager
async def running_yardstick(module: str, *arguments: str) -> AsyncIterator[str]:
    """`host:port` of a yardstick that prints `listening PORT`."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", f"tests.bench.yardsticks.{module}", *arguments, stdout=PIPE
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(_START_SECONDS):
            line = (await process.stdout.readline()).decode()
        if not line.startswith("listening "):
            raise NotStarted(f"{module}: see above")
        yield f"127.0.0.1:{line.split()[1]}"
    finally:
        await _stop(process)


async def _stop(process: Process) -> None:
    if process.returncode is None:
        process.terminate()
    try:
        async with asyncio.timeout(_STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


@dataclass(frozen=True)
class Identity:
    """The identity service and the secrets that it knows."""

    address: str
    keys: LocalKeys

    async def metadata(self, client: str) -> Metadata:
        """Call metadata of one of our processes, with a real token."""
        async with grpc.aio.insecure_channel(self.address) as channel:
            token = await ServiceTokens.from_file(channel, client, self.keys.secret(client)).token()
        return (("authorization", f"Bearer {token}"),)


@asynccontextmanager
async def running_identity(folder: Path, database_url: str) -> AsyncIterator[Identity]:
    """The real identity service, so that tokens cost what they cost in production."""
    keys = make_keys(folder / "keys")
    settings = {
        "DATABASE_URL": database_url,
        "CHAIN_ID": "2147483648",
        "JWT_KEY_FILE": str(keys.token_key),
        "SERVICE_SECRETS_FOLDER": str(keys.secrets_folder),
    }
    async with running_service("identity", folder, settings) as address:
        yield Identity(address, keys)
