"""The identity process as it is deployed: starts, serves, exchanges keys, says what is wrong with its settings."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from bithedge.identity.v1 import identity_service_pb2 as pb
from bithedge.identity.v1 import identity_service_pb2_grpc as pb_grpc
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from kernel.rpc.channels import open_channel, wait_until_serving
from kernel.rpc.tokens import JwksVerifier
from tests.integration.identity.service import User, bearer

_START_SECONDS = 60.0


def _pem(path: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    path.chmod(0o600)
    return path


@pytest.fixture
def environment(database_url: str, tmp_path: Path) -> dict[str, str]:
    """The settings of a process on a free port."""
    folder = tmp_path / "clients"
    folder.mkdir()
    secret = folder / "pool"
    secret.write_text(secrets.token_urlsafe(32))
    secret.chmod(0o600)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return {
        "LISTEN": f"127.0.0.1:{port}",
        "METRICS_PORT": "0",
        "DATABASE_URL": database_url,
        "CHAIN_ID": "2147483648",
        "JWT_KEY_FILE": str(_pem(tmp_path / "token.pem")),
        "SERVICE_SECRETS_FOLDER": str(folder),
    }


async def _start(environment: dict[str, str]) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.identity", env={**os.environ, **environment}, stderr=asyncio.subprocess.PIPE
    )


@asynccontextmanager
async def _running(environment: dict[str, str]) -> AsyncIterator[pb_grpc.IdentityServiceAsyncStub]:
    process = await _start(environment)
    try:
        await wait_until_serving(environment["LISTEN"], "bithedge.identity.v1.IdentityService", _START_SECONDS)
        async with open_channel(environment["LISTEN"]) as channel:
            yield pb_grpc.IdentityServiceStub(channel)
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(60):
            await process.communicate()
        assert process.returncode == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def _sign_in(stub: pb_grpc.IdentityServiceAsyncStub, user: User) -> pb.CreateSessionResponse:
    challenge = await stub.CreateChallenge(pb.CreateChallengeRequest(principal=user.principal))
    signature = user.sign(challenge.message)
    return await stub.CreateSession(pb.CreateSessionRequest(challenge=challenge.challenge, signature=signature))


async def test_sessions_and_tokens_outlive_an_exchange_of_the_key(environment: dict[str, str], tmp_path: Path) -> None:
    """After a restart on a new key, with the old one beside it, old tokens verify and new ones carry the new key."""
    user = User.new()
    async with _running(environment) as stub:
        opened = await _sign_in(stub, user)
    old, new = environment["JWT_KEY_FILE"], str(_pem(tmp_path / "new.pem"))
    async with _running({**environment, "JWT_KEY_FILE": new, "JWT_OTHER_KEY_FILES": old}) as stub:
        request = pb.GetSessionRequest()
        answer = await stub.GetSession(request, metadata=bearer(opened.access_token))
        assert answer.session.name == opened.session.name
        refreshed = await stub.RefreshSession(pb.RefreshSessionRequest(refresh_token=opened.refresh_token))
        async with open_channel(environment["LISTEN"]) as channel:
            verifier = JwksVerifier(channel)
            for token in (opened.access_token, refreshed.access_token):
                assert (await verifier.verify(token)).principal == user.principal


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"CHAIN_ID": "1"}, "SIGN_IN_DOMAIN is not set"),
        ({"SIGN_IN_DOMAIN": "a host"}, "SIGN_IN_DOMAIN: not a host name"),
        ({"OPERATOR_PRINCIPALS": "ST000"}, "OPERATOR_PRINCIPALS: ST000"),
        ({"JWT_KEY_FILE": "missing.pem"}, "JWT_KEY_FILE: cannot open missing.pem"),
        ({"SERVICE_SECRETS_FOLDER": "missing"}, "SERVICE_SECRETS_FOLDER: missing is not a folder"),
    ],
)
async def test_a_wrong_setting_ends_the_start_with_one_line(
    environment: dict[str, str], changes: dict[str, str], complaint: str
) -> None:
    """Exit code 2 and one line that names the setting."""
    process = await _start({**environment, **changes})
    async with asyncio.timeout(_START_SECONDS):
        _, said = await process.communicate()
    lines = said.decode().splitlines()
    assert process.returncode == 2
    assert len(lines) == 1
    assert lines[0].startswith(f"identity: {complaint}")


async def test_a_key_that_others_may_read_is_refused(environment: dict[str, str]) -> None:
    """The file's mode is named; its content is not."""
    os.chmod(environment["JWT_KEY_FILE"], 0o644)
    process = await _start(environment)
    async with asyncio.timeout(_START_SECONDS):
        _, said = await process.communicate()
    assert process.returncode == 2
    assert said.decode().strip().endswith("must be a regular file of mode 0600 or 0400")
