"""Moto's KMS on a port, as a process: `python -m tests.integration.chain_gateway.kms_server PORT`.

Moto (5.2) leaves out two things that the real service does and that matter here; they are added below: a message of
the type DIGEST is signed as it is instead of being hashed once more, and a disabled key signs nothing.
"""

from __future__ import annotations

import base64
import json
import sys
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from moto.core.exceptions import JsonRESTError
from moto.kms.responses import KmsResponse
from moto.moto_server.threaded_moto_server import ThreadedMotoServer

_SHA256_BYTES = 32
_moto_sign = KmsResponse.sign


def _sign(self: KmsResponse) -> str:
    key = self.kms_backend.describe_key(self._get_param("KeyId"))
    if not key.enabled:
        raise JsonRESTError("DisabledException", f"{key.arn} is disabled.")
    if self._get_param("MessageType") != "DIGEST":
        return str(_moto_sign(self))
    digest: bytes = self._get_param("Message")
    if len(digest) != _SHA256_BYTES:
        raise JsonRESTError("ValidationException", "Digest is invalid length for algorithm ECDSA_SHA_256.")
    private_key: Any = key.private_key
    signature = private_key.private_key.sign(digest, ec.ECDSA(Prehashed(hashes.SHA256())))
    answer = {"KeyId": key.arn, "Signature": base64.b64encode(signature).decode(), "SigningAlgorithm": "ECDSA_SHA_256"}
    return json.dumps(answer)


if __name__ == "__main__":
    # The one place to step in: moto has no setting for it, and this process is moto's alone.
    KmsResponse.sign = _sign
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=int(sys.argv[1]), verbose=False)
    server.start()
    # Its parent's end is this one's: it waits for the end of its input.
    sys.stdin.read()
    server.stop()
