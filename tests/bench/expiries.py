"""The densest blocks of our events: batches of 200 policies that expire in one transaction each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as pb
from bithedge.type.v1 import money_pb2, price_pb2, transaction_pb2

from services.chain_gateway import convert_terms
from services.chain_gateway.contract_calls import MAX_EXPIRY_BATCH, Call, backend_call, wallet_call
from services.chain_gateway.contracts import REGISTRY, Contracts
from services.chain_gateway.stacks.c32 import AddressVersion
from services.chain_gateway.stacks.clarity import StandardPrincipal
from services.chain_gateway.stacks.messages import sign_structured, structured_domain
from services.chain_gateway.stacks.signer import KeySigner
from tests.bench.histories import Account, open_account, stacks_height
from tests.integration.chain_gateway.world import USD, World

_FUNDS_USTX: Final = 10**14
_DEPOSIT_USTX: Final = 10**13
_AMOUNT_SATS: Final = 10_000
_GRACE_BLOCKS: Final = 7
_DURATION_BLOCKS: Final = 144
_BTC: Final = 50_000 * USD


async def expire_batches(world: World, batches: int) -> int:
    """Blocks of one `expire-policies` transaction, each with two events for 200 policies out of the money. The height
    of the block before them."""
    contracts = world.settings("").contracts()
    signer, backend_signer = KeySigner(bytes([31]) * 32 + b"\x01"), KeySigner.from_file(world.backend_key)
    holder = signer.address(AddressVersion.TESTNET_SINGLE_SIG)
    await world.devnet.faucet_stx(holder.text, _FUNDS_USTX)
    await world.devnet.mine_block()
    count = batches * MAX_EXPIRY_BATCH
    async with open_account(world, signer) as people, open_account(world, backend_signer) as backend:
        await backend.mine(await _prices(world, contracts))
        height = (await world.devnet.clock()).burn_height
        terms = [_terms(world, holder.text, height) for _ in range(count)]
        principal = StandardPrincipal(holder)
        deposit = pb.DepositCall(amount=_ustx(_DEPOSIT_USTX), tier=money_pb2.TIER_BALANCED)
        asked = pb.PrepareTransactionRequest(deposit=deposit)
        await people.mine([wallet_call(contracts, principal, asked)])
        await people.mine([_create(contracts, principal, one, backend_signer) for one in terms])
        await world.devnet.mine_burn_blocks(_DURATION_BLOCKS + _GRACE_BLOCKS)
        before = await stacks_height(world)
        await _expire(world, contracts, backend, range(1, count + 1), height + _DURATION_BLOCKS)
    return before


async def _prices(world: World, contracts: Contracts) -> list[Call]:
    rounds = [await world.round(price_pb2.FEED_BTC_USD, _BTC), await world.round(price_pb2.FEED_STX_USD, USD)]
    calls = [pb.ContractCall(publish_price=pb.PublishPriceCall(round=one)) for one in rounds]
    return [backend_call(contracts, call)[1] for call in calls]


def _ustx(amount: int) -> money_pb2.TokenAmount:
    return money_pb2.TokenAmount(token=money_pb2.TOKEN_STX, base_units=amount)


def _terms(world: World, holder: str, height: int) -> transaction_pb2.QuoteTerms:
    return world.terms(
        height,
        holder_principal=holder,
        protected_amount_sats=_AMOUNT_SATS,
        expiration_burn_height=height + _DURATION_BLOCKS,
    )


def _create(
    contracts: Contracts, holder: StandardPrincipal, terms: transaction_pb2.QuoteTerms, backend: KeySigner
) -> Call:
    domain = structured_domain("bithedge-quote", contracts.network.chain_id, contracts.principal(REGISTRY))
    signature = sign_structured(backend, domain, convert_terms.quote("terms", terms, contracts))
    call = pb.CreatePolicyCall(terms=terms, signature=signature)
    return wallet_call(contracts, holder, pb.PrepareTransactionRequest(create_policy=call))


async def _expire(world: World, contracts: Contracts, backend: Account, ids: Sequence[int], height: int) -> None:
    receipt = world.expiry_receipt(height, _BTC, USD)
    for start in range(0, len(ids), MAX_EXPIRY_BATCH):
        batch = ids[start : start + MAX_EXPIRY_BATCH]
        call = pb.ExpirePoliciesCall(onchain_ids=batch, receipt=receipt, max_payouts=[_ustx(10**9)])
        await backend.mine([backend_call(contracts, pb.ContractCall(expire_policies=call))[1]])
