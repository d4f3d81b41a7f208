"""Hypothesis strategies for what the codec handles."""

from __future__ import annotations

from hypothesis import strategies as st

from services.chain_gateway.stacks.c32 import Address, AddressVersion
from services.chain_gateway.stacks.clarity import (
    Bool,
    Buffer,
    ClarityValue,
    ContractPrincipal,
    Int,
    ListValue,
    NoneValue,
    Principal,
    ResponseErr,
    ResponseOk,
    Some,
    StandardPrincipal,
    StringAscii,
    StringUtf8,
    TupleValue,
    UInt,
)
from services.chain_gateway.stacks.payload import ContractCall, ContractDeploy, Payload, TokenTransfer
from services.chain_gateway.stacks.post_condition import (
    ORIGIN,
    Asset,
    FtPostCondition,
    FungibleCode,
    NftPostCondition,
    NonFungibleCode,
    PostCondition,
    PostConditionMode,
    StxPostCondition,
)
from services.chain_gateway.stacks.signer import KeySigner
from services.chain_gateway.stacks.transaction import (
    MAINNET,
    TESTNET,
    AnchorMode,
    Transaction,
    pending_sponsor,
    single_sig,
)

u64 = st.integers(0, (1 << 64) - 1)
names = st.from_regex(r"[a-zA-Z][a-zA-Z0-9\-_!?+<>=/*]{0,20}", fullmatch=True) | st.sampled_from(
    ["+", "-", "*", "/", "<", "<=", ">", ">=", "="]
)
contract_names = st.from_regex(r"[a-zA-Z][a-zA-Z0-9\-_]{0,39}", fullmatch=True)
addresses = st.builds(Address, st.sampled_from(AddressVersion), st.binary(min_size=20, max_size=20))
principals: st.SearchStrategy[Principal] = st.builds(StandardPrincipal, addresses) | st.builds(
    ContractPrincipal, addresses, contract_names
)
_leaves: st.SearchStrategy[ClarityValue] = st.one_of(
    st.builds(Int, st.integers(-(1 << 127), (1 << 127) - 1)),
    st.builds(UInt, st.integers(0, (1 << 128) - 1)),
    st.builds(Bool, st.booleans()),
    st.builds(Buffer, st.binary(max_size=40)),
    st.builds(StringAscii, st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20)),
    st.builds(StringUtf8, st.text(st.characters(exclude_categories=["Cs"]), max_size=20)),
    st.just(NoneValue()),
    principals,
)


def _containers(inner: st.SearchStrategy[ClarityValue]) -> st.SearchStrategy[ClarityValue]:
    return st.one_of(
        st.builds(Some, inner),
        st.builds(ResponseOk, inner),
        st.builds(ResponseErr, inner),
        st.builds(ListValue, st.lists(inner, max_size=4).map(tuple)),
        st.builds(TupleValue, st.dictionaries(names, inner, min_size=1, max_size=4)),
    )


values: st.SearchStrategy[ClarityValue] = st.recursive(_leaves, _containers, max_leaves=10)

_assets = st.builds(Asset, addresses, contract_names, names)
_owners = principals | st.just(ORIGIN)
post_conditions: st.SearchStrategy[PostCondition] = st.one_of(
    st.builds(StxPostCondition, _owners, st.sampled_from(FungibleCode), u64),
    st.builds(FtPostCondition, _owners, _assets, st.sampled_from(FungibleCode), u64),
    st.builds(NftPostCondition, _owners, _assets, values, st.sampled_from(NonFungibleCode)),
)
payloads: st.SearchStrategy[Payload] = st.one_of(
    st.builds(TokenTransfer, principals, u64, st.binary(max_size=34)),
    st.builds(ContractCall, addresses, contract_names, names, st.lists(values, max_size=4).map(tuple)),
    st.builds(
        ContractDeploy,
        contract_names,
        st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
        st.none() | st.integers(1, 4),
    ),
)
signers = st.builds(
    lambda number, compressed: KeySigner(number.to_bytes(32, "big") + (b"\x01" if compressed else b"")),
    st.integers(1, 1 << 200),
    st.booleans(),
)


@st.composite
def unsigned_transactions(draw: st.DrawFn, signer: KeySigner | None = None) -> Transaction:
    """Transactions of one key that nobody has signed, some of them awaiting a sponsor."""
    key = (signer or draw(signers)).public_key
    return Transaction(
        draw(st.sampled_from([MAINNET, TESTNET])),
        single_sig(key, draw(u64), draw(u64)),
        draw(payloads),
        tuple(draw(st.lists(post_conditions, max_size=3))),
        draw(st.sampled_from(PostConditionMode)),
        draw(st.sampled_from(AnchorMode)),
        draw(st.none() | st.just(pending_sponsor())),
    )
