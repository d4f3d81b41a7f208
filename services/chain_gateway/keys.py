"""The backend keys of this process. Only their accounts and public keys are ever shown."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from services.chain_gateway.stacks.c32 import AddressVersion
from services.chain_gateway.stacks.signer import KeySigner, Signer


class Keys:
    """Signers by their account. The first one signs quotes and vouchers."""

    def __init__(self, signers: Sequence[Signer], version: AddressVersion) -> None:
        self._signers = {signer.address(version).text: signer for signer in signers}
        self.addresses = tuple(self._signers)

    @classmethod
    def from_files(cls, paths: Sequence[Path], version: AddressVersion) -> Keys:
        """Reads key files that their owner alone can open; SettingsError otherwise."""
        return cls([KeySigner.from_file(path) for path in paths], version)

    def signer(self, address: str) -> Signer:
        """The signer of an account; KeyError when it is not ours."""
        return self._signers[address]

    @property
    def first(self) -> tuple[str, Signer]:
        """The account and signer for messages."""
        address = self.addresses[0]
        return address, self._signers[address]
