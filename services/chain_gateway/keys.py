"""The backend keys of this process. Only their accounts and public keys are ever shown."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

from kernel.errors import Unavailable
from kernel.settings import SettingsError
from services.chain_gateway.stacks.c32 import AddressVersion
from services.chain_gateway.stacks.signer import AWS_KMS, ENVIRONMENT, KeySigner, Signer
from services.chain_gateway.stacks.signer_kms import KmsSigner

AnswerT = TypeVar("AnswerT")
_REMOTE_AT_ONCE: Final = 8


class Keys:
    """Signers by their account.

    `sponsor` is the account that pays the fees of users' transactions and does nothing else; None where nobody does.
    `backend` are the accounts that the contracts know or will know; `addresses` are all, the sponsor's too.
    """

    def __init__(self, signers: Sequence[Signer], version: AddressVersion, sponsor: Signer | None = None) -> None:
        every = [*signers, sponsor] if sponsor is not None else signers
        self._signers = {signer.address(version).text: signer for signer in every}
        if len(self._signers) != len(every):
            raise SettingsError("BACKEND_SIGNERS and SPONSOR_SIGNER name one key twice")
        self.sponsor = None if sponsor is None else sponsor.address(version).text
        self._threads = ThreadPoolExecutor(_REMOTE_AT_ONCE, thread_name_prefix="signer")
        self.addresses = tuple(self._signers)
        self.backend = tuple(address for address in self.addresses if address != self.sponsor)

    @classmethod
    def open(
        cls, uris: Sequence[str], version: AddressVersion, variables: Mapping[str, str], sponsor: str = ""
    ) -> Keys:
        """The signers of the settings; SettingsError when one cannot be had. `variables` hold what `env:` names.

        Asks a key vault for public keys, so it may take some seconds.
        """
        paying = open_signer(sponsor, variables) if sponsor else None
        return cls([open_signer(uri, variables) for uri in uris], version, paying)

    def signer(self, address: str) -> Signer:
        """The signer of an account; Unavailable when this process has none, as another replica may."""
        try:
            return self._signers[address]
        except KeyError:
            raise Unavailable("SIGNER_ABSENT", f"this process does not hold the key of {address}") from None

    async def use(self, address: str, work: Callable[[Signer], AnswerT]) -> AnswerT:
        """What `work` does with the signer of an account, off the event loop when that takes a network round trip."""
        signer = self.signer(address)
        if not signer.is_remote:
            return work(signer)
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, signer)

    def __reduce__(self) -> str:
        raise TypeError("keys are not copied to another process")


def open_signer(uri: str, variables: Mapping[str, str]) -> Signer:
    """The signer of `file:/path`, `env:NAME` or `awskms:key`; SettingsError names what is wrong, never a secret."""
    scheme, _, rest = uri.partition(":")
    if scheme == AWS_KMS:
        return KmsSigner.open(rest)
    if scheme == ENVIRONMENT:
        return KeySigner.from_secret(variables[rest].encode(), f"the variable {rest}")
    return KeySigner.from_file(Path(rest))
