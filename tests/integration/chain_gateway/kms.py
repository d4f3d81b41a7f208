"""AWS KMS as tests see it: moto's server over real HTTP, and a way there that fails on command."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp
import botocore.session
from aiohttp import web
from botocore.config import Config

from deploy.local.processes import free_ports, wait_for_port

_REGION: Final = "eu-central-1"
_START_SECONDS: Final = 60.0
_REPOSITORY: Final = Path(__file__).resolve().parents[3]
ENVIRONMENT: Final = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": _REGION,
    "AWS_EC2_METADATA_DISABLED": "true",
}
"""What AWS's own configuration needs to be; the endpoint comes on top."""


def kms_client(url: str, read_timeout_seconds: float = 60.0) -> Any:
    """A client of botocore's for the KMS at `url`, which retries as the signer's does."""
    return botocore.session.get_session().create_client(
        "kms",
        region_name=_REGION,
        endpoint_url=url,
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(read_timeout=read_timeout_seconds, retries={"mode": "standard", "total_max_attempts": 3}),
    )


@dataclass(frozen=True)
class Kms:
    """A running KMS."""

    url: str

    def create_key(self, spec: str = "ECC_SECG_P256K1", usage: str = "SIGN_VERIFY") -> str:
        """A new key's ARN."""
        answer = kms_client(self.url).create_key(KeySpec=spec, KeyUsage=usage)
        return str(answer["KeyMetadata"]["Arn"])


@contextmanager
def running_kms() -> Iterator[Kms]:
    """Moto's server in a process of its own; it ends with this one."""
    port = free_ports(1)[0]
    command = [sys.executable, "-m", "tests.integration.chain_gateway.kms_server", str(port)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, cwd=_REPOSITORY)
    try:
        assert wait_for_port(port, _START_SECONDS, lambda: process.poll() is None), "the KMS server does not start"
        yield Kms(f"http://127.0.0.1:{port}")
    finally:
        process.terminate()
        process.wait()


@dataclass
class FaultyWay:
    """A way to a KMS on which the next signatures fail as `faults` say: an error's name, `silence`, or an answer."""

    url: str = ""
    faults: list[str | dict[str, Any]] = field(default_factory=list)
    calls: int = 0


@asynccontextmanager
async def faulty_way(kms: Kms) -> AsyncIterator[FaultyWay]:
    """Forwards everything but what shall fail."""
    way = FaultyWay()
    async with aiohttp.ClientSession() as session:

        async def forward(request: web.Request) -> web.Response:
            if request.headers.get("X-Amz-Target") == "TrentService.Sign":
                way.calls += 1
                if way.faults:
                    return await _fail(way.faults.pop(0))
            headers = {name: value for name, value in request.headers.items() if name != "Host"}
            async with session.post(kms.url, data=await request.read(), headers=headers) as answer:
                return web.Response(status=answer.status, body=await answer.read(), content_type=_TYPE)

        app = web.Application()
        app.router.add_post("/", forward)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        port = free_ports(1)[0]
        await web.TCPSite(runner, "127.0.0.1", port).start()
        way.url = f"http://127.0.0.1:{port}"
        try:
            yield way
        finally:
            await runner.cleanup()


_TYPE: Final = "application/x-amz-json-1.1"


async def _fail(fault: str | dict[str, Any]) -> web.Response:
    if fault == "silence":
        await asyncio.Event().wait()
    if isinstance(fault, dict):
        return web.Response(body=json.dumps(fault).encode(), content_type=_TYPE)
    status = 500 if fault.startswith("KMSInternal") else 400
    return web.Response(status=status, body=json.dumps({"__type": fault}).encode(), content_type=_TYPE)
