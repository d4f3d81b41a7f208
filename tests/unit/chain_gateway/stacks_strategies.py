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
    PoxCode,
    PoxPostCondition,
    StakingPostCondition,
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
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def make_values(keys: st.SearchStrategy[str], text: st.SearchStrategy[str]) -> st.SearchStrategy[ClarityValue]:
    """Clarity values with such tuple keys and such UTF-8 texts."""
    leaves: st.SearchStrategy[ClarityValue] = st.one_of(
        st.builds(Int, st.integers(-(1 << 127), (1 << 127) - 1)),
        st.builds(UInt, st.integers(0, (1 << 128) - 1)),
        st.builds(Bool, st.booleans()),
        st.builds(Buffer, st.binary(max_size=40)),
        st.builds(StringAscii, st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20)),
        st.builds(StringUtf8, text),
        st.just(NoneValue()),
        principals,
    )

    def containers(inner: st.SearchStrategy[ClarityValue]) -> st.SearchStrategy[ClarityValue]:
        return st.one_of(
            st.builds(Some, inner),
            st.builds(ResponseOk, inner),
            st.builds(ResponseErr, inner),
            st.builds(ListValue, st.lists(inner, max_size=4).map(tuple)),
            st.builds(TupleValue, st.dictionaries(keys, inner, min_size=1, max_size=4)),
        )

    return st.recursive(leaves, containers, max_leaves=10)


values = make_values(names, texts)

_assets = st.builds(Asset, addresses, contract_names, names)
_owners = principals | st.just(ORIGIN)


def make_post_conditions(items: st.SearchStrategy[ClarityValue]) -> st.SearchStrategy[PostCondition]:
    """Post-conditions of every kind on such items."""
    return st.one_of(
        st.builds(StxPostCondition, _owners, st.sampled_from(FungibleCode), u64),
        st.builds(FtPostCondition, _owners, _assets, st.sampled_from(FungibleCode), u64),
        st.builds(NftPostCondition, _owners, _assets, items, st.sampled_from(NonFungibleCode)),
        st.builds(StakingPostCondition, _owners, st.sampled_from(FungibleCode), u64),
        st.builds(PoxPostCondition, _owners, st.sampled_from(PoxCode)),
    )


def make_payloads(
    arguments: st.SearchStrategy[ClarityValue], codes: st.SearchStrategy[str], memos: st.SearchStrategy[bytes]
) -> st.SearchStrategy[Payload]:
    """Payloads of every kind that users send."""
    return st.one_of(
        st.builds(TokenTransfer, principals, u64, memos),
        st.builds(ContractCall, addresses, contract_names, names, st.lists(arguments, max_size=4).map(tuple)),
        st.builds(ContractDeploy, contract_names, codes, st.none() | st.integers(1, 6)),
    )


post_conditions = make_post_conditions(values)
payloads = make_payloads(values, texts, st.binary(max_size=34))
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
