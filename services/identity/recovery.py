"""Recovers the signer of a challenge; the elliptic curve is libsecp256k1's."""

from __future__ import annotations

from coincurve import PublicKey

from services.identity.domain.errors import WrongSignature
from services.identity.domain.wallet import Network, address_of, check_signature, plain_message_hash


def check_signed_by(principal: str, message: str, signature: bytes, network: Network) -> None:
    """Returns if the key of `principal` signed `message` as a plain message; WrongSignature otherwise.

    An address names one spelling of the public key, compressed or not; either proves that the key is held.
    """
    digest = plain_message_hash(message)
    try:
        key = PublicKey.from_signature_and_message(check_signature(signature), digest, hasher=None)
    except ValueError as error:
        raise WrongSignature("no key is recovered from the signature") from error
    if principal not in (address_of(key.format(compressed), network) for compressed in (True, False)):
        raise WrongSignature("the signature is not that of the principal's key over the challenge's message")
