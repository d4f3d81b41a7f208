"""Signed transactions of every kind of account, payload and post-condition that both implementations know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from services.chain_gateway.stacks.clarity import ClarityValue
from services.chain_gateway.stacks.payload import Payload
from services.chain_gateway.stacks.post_condition import PostCondition, PostConditionMode
from services.chain_gateway.stacks.signer import KeySigner
from services.chain_gateway.stacks.spending import (
    HashMode,
    MultiSigCondition,
    SingleSigCondition,
    SpendingCondition,
    signer_hash,
)
from services.chain_gateway.stacks.transaction import (
    AnchorMode,
    Network,
    Transaction,
    TransactionVersion,
    multi_sig,
    pending_sponsor,
)
from services.chain_gateway.stacks.transaction_signing import sign_as_sponsor, sign_multisig, sign_transaction
from tests.peer import describe
from tests.unit.chain_gateway.stacks_strategies import make_payloads, make_post_conditions, make_values, u64

_NAMES = st.from_regex(r"[a-z][a-z0-9\-]{0,20}", fullmatch=True)
"""Where the peer orders tuple keys as the chain does."""
_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20).filter(lambda text: text[:1] != "\ufeff")
"""Without a leading byte order mark, which the peer loses."""
clear_values: st.SearchStrategy[ClarityValue] = make_values(_NAMES, _TEXT)
_MEMOS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8).map(lambda text: text.encode().rstrip(b"\0"))
_PAYLOADS = make_payloads(clear_values, _TEXT, _MEMOS.filter(lambda memo: not memo.startswith(b"\xef\xbb\xbf")))
_POST_CONDITIONS = make_post_conditions(clear_values)
_NETWORKS = st.builds(Network, st.sampled_from(TransactionVersion), st.integers(0, (1 << 32) - 1))


def private_key(signer: KeySigner) -> str:
    """The key as the peer takes it: hex, with 01 at its end where the public key is compressed."""
    return signer._key.to_hex().rjust(64, "0") + ("01" if len(signer.public_key) == 33 else "")


@dataclass(frozen=True)
class Account:
    """Whose account: its keys in order, who of them signs, and what it pays."""

    mode: HashMode
    owners: tuple[KeySigner, ...]
    present: tuple[KeySigner, ...]
    nonce: int
    fee: int

    def condition(self) -> SpendingCondition:
        """The unsigned spending condition."""
        keys = [owner.public_key for owner in self.owners]
        if self.mode.is_single:
            compressed = len(keys[0]) == 33
            return SingleSigCondition(self.mode, signer_hash(self.mode, keys), self.nonce, self.fee, compressed)
        return multi_sig(self.mode, keys, len(self.present), self.nonce, self.fee)

    def description(self) -> dict[str, Any]:
        """As the peer is told."""
        told = {
            "hash_mode": self.mode,
            "private_keys": [private_key(owner) for owner in self.owners],
            "signer_indexes": [index for index, owner in enumerate(self.owners) if owner in self.present],
            "nonce": str(self.nonce),
            "fee": str(self.fee),
        }
        return told if self.mode.is_single else {**told, "threshold": len(self.present)}


@dataclass(frozen=True)
class Case:
    """A wish: what to do, as whom, and who pays."""

    network: Network
    origin: Account
    sponsor: Account | None
    payload: Payload
    post_conditions: tuple[PostCondition, ...]
    post_condition_mode: PostConditionMode
    anchor_mode: AnchorMode

    def signed(self) -> Transaction:
        """Ours."""
        transaction = Transaction(
            self.network,
            self.origin.condition(),
            self.payload,
            self.post_conditions,
            self.post_condition_mode,
            self.anchor_mode,
            None if self.sponsor is None else pending_sponsor(),
        )
        if isinstance(transaction.origin, MultiSigCondition):
            keys = [owner.public_key for owner in self.origin.owners]
            signed = sign_multisig(transaction, keys, self.origin.present)
        else:
            signed = sign_transaction(transaction, self.origin.owners[0])
        if self.sponsor is None:
            return signed
        condition = self.sponsor.condition()
        assert isinstance(condition, SingleSigCondition)
        return sign_as_sponsor(signed, condition, self.sponsor.owners[0])

    def description(self) -> dict[str, Any]:
        """As the peer is told."""
        kind, payload = describe.payload(self.payload)
        return {
            "tx_version": self.network.version,
            "chain_id": self.network.chain_id,
            "kind": kind,
            "payload": payload,
            "post_conditions": [describe.post_condition(one) for one in self.post_conditions],
            "post_condition_mode": self.post_condition_mode,
            "anchor_mode": self.anchor_mode,
            "origin": self.origin.description(),
            "sponsor": None if self.sponsor is None else self.sponsor.description(),
        }


@st.composite
def _accounts(draw: st.DrawFn, modes: tuple[HashMode, ...] = tuple(HashMode)) -> Account:
    mode = draw(st.sampled_from(modes))
    most = 1 if mode.is_single else 5
    numbers = draw(st.lists(st.integers(1, 1 << 200), min_size=1, max_size=most, unique=True))
    endings = [b"\x01" if mode.is_segwit or draw(st.booleans()) else b"" for _ in numbers]
    owners = tuple(KeySigner(n.to_bytes(32, "big") + end) for n, end in zip(numbers, endings, strict=True))
    chosen = draw(st.sets(st.sampled_from(owners), min_size=1, max_size=len(owners)))
    return Account(mode, owners, tuple(owner for owner in owners if owner in chosen), draw(u64), draw(u64))


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Wishes of every kind."""
    return Case(
        draw(_NETWORKS),
        draw(_accounts()),
        draw(st.none() | _accounts((HashMode.P2PKH, HashMode.P2WPKH))),
        draw(_PAYLOADS),
        tuple(draw(st.lists(_POST_CONDITIONS, max_size=3))),
        draw(st.sampled_from(PostConditionMode)),
        draw(st.sampled_from(AnchorMode)),
    )
