"""The calm before: a devnet with the contracts, two backend keys, and policies that are there to be ended."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bithedge.type.v1 import money_pb2, price_pb2, transaction_pb2

from services.chain_gateway import convert_terms
from services.chain_gateway.contracts import ORACLE, REGISTRY, VAULT, Contracts
from services.chain_gateway.stacks.c32 import AddressVersion
from services.chain_gateway.stacks.clarity import (
    ClarityValue,
    TupleValue,
    UInt,
    deserialize,
    parse_principal,
    serialize,
)
from services.chain_gateway.stacks.messages import sign_structured, structured_domain
from services.chain_gateway.stacks.payload import ContractCall
from services.chain_gateway.stacks.post_condition import PostConditionMode
from services.chain_gateway.stacks.signer import KeySigner, Signer
from services.chain_gateway.stacks.transaction import Transaction, serialize_transaction, single_sig
from services.chain_gateway.stacks.transaction_signing import sign_transaction
from tests.chaos.gateway.chain import uint_of
from tests.devnet import Devnet
from tests.integration.chain_gateway.world import USD, World, write_key

CREATION_PRICE_USD_E8: Final = 50_000 * USD
# In the money for strikes of 48,000, and within the oracle's bound on jumps.
FALLEN_PRICE_USD_E8: Final = 47_500 * USD
_FUNDS: Final = 10**12
_DEPOSITS: Final = {money_pb2.TOKEN_STX: 10**12, money_pb2.TOKEN_SBTC: 10**9}
_FEE_USTX: Final = 20_000
_DURATION_BLOCKS: Final = 18
_GRACE_BLOCKS: Final = 6
# A node keeps 25 of one account waiting.
_WAITING: Final = 20
# More than the deepest fork lie on top of everything that the play stands on.
_CALM_BLOCKS: Final = 12
_OBSERVED: Final = 1_600_000_000


@dataclass(frozen=True)
class Policy:
    """An active policy of the contracts."""

    name: str
    onchain_id: int
    token: int
    max_payout: int
    expiration_burn_height: int


@dataclass(frozen=True)
class Scene:
    """What the intents stand on. Everything up to `stacks_height` is deeper than any fork of the play."""

    world: World
    keys: tuple[Path, Path]
    policies: tuple[Policy, ...]
    receipt_burn_height: int
    stacks_height: int

    @property
    def devnet(self) -> Devnet:
        """The node."""
        return self.world.devnet

    @property
    def contracts(self) -> Contracts:
        """Where the contracts are."""
        return self.world.settings("").contracts()

    @property
    def addresses(self) -> tuple[str, ...]:
        """The accounts of the backend keys."""
        return tuple(_address(KeySigner.from_file(path)) for path in self.keys)

    def round(self, feed: int, number: int, price_usd_e8: int) -> price_pb2.PriceRound:
        """A round of a feed, signed by the oracle."""
        return _round(self.world, feed, number, price_usd_e8, self.receipt_burn_height)

    def activation(self, policy: Policy) -> price_pb2.SettlementReceipt:
        """The receipt of the one activation of a policy, in the money."""
        return self.world.receipt(policy.name, self.receipt_burn_height, FALLEN_PRICE_USD_E8, USD)

    def expiry(self, expiration_burn_height: int) -> price_pb2.SettlementReceipt:
        """The receipt of an expiration height, in the money."""
        message = price_pb2.SettlementReceipt(
            expiry=price_pb2.ExpiryPurpose(expiration_burn_height=expiration_burn_height),
            btc_price_usd_e8=FALLEN_PRICE_USD_E8,
            stx_price_usd_e8=USD,
            burn_height=expiration_burn_height,
        )
        message.observe_time.FromSeconds(_OBSERVED)
        clarity = convert_terms.expiry_receipt("receipt", message)
        message.signature = _sign(self.world, self.world.oracle, "bithedge-expiry-receipt", REGISTRY, clarity)
        return message


@asynccontextmanager
async def set_scene(devnet: Devnet, folder: Path, policies: int) -> AsyncIterator[Scene]:
    """Deploys, funds, names both keys, sells `policies` policies and lets the price fall and their time pass."""
    async with World.start(devnet, folder) as world:
        second = write_key(folder / "backend-2", 13)
        await _name_key(world, KeySigner.from_file(second))
        builder = _Builder(world)
        await builder.deposit()
        height = await builder.publish(1, CREATION_PRICE_USD_E8)
        terms = [_terms(world, height, index) for index in range(policies)]
        sold = await builder.sell(terms)
        await devnet.mine_burn_blocks(1)
        receipt_height = await builder.publish(2, FALLEN_PRICE_USD_E8)
        await devnet.mine_burn_blocks(_DURATION_BLOCKS + _GRACE_BLOCKS + _CALM_BLOCKS)
        tip = await devnet.get("/extended/v2/blocks/latest")
        yield Scene(world, (world.backend_key, second), tuple(sold), receipt_height, int(tip["height"]))


def _address(signer: Signer) -> str:
    return signer.address(AddressVersion.TESTNET_SINGLE_SIG).text


def _sign(world: World, signer: Signer, kind: str, contract: str, message: TupleValue) -> bytes:
    contracts = world.settings("").contracts()
    domain = structured_domain(kind, contracts.network.chain_id, contracts.principal(contract))
    return sign_structured(signer, domain, message)


def _round(world: World, feed: int, number: int, price_usd_e8: int, burn_height: int) -> price_pb2.PriceRound:
    message = price_pb2.PriceRound(
        feed=price_pb2.Feed.ValueType(feed),
        round=number,
        price_usd_e8=price_usd_e8,
        confidence_usd_e8=1,
        burn_height=burn_height,
    )
    message.observe_time.FromSeconds(_OBSERVED + number)
    clarity = convert_terms.price_round("round", message)
    message.signature = _sign(world, world.oracle, "bithedge-price-round", ORACLE, clarity)
    return message


def _terms(world: World, height: int, index: int) -> transaction_pb2.QuoteTerms:
    """Alternately settled in STX and in sBTC."""
    terms = world.terms(height)
    terms.expiration_burn_height = height + _DURATION_BLOCKS
    if index % 2:
        terms.token, terms.stx_price_usd_e8 = money_pb2.TOKEN_SBTC, 0
        terms.premium_base_units, terms.fee_base_units = 10_000, 50
    return terms


async def _name_key(world: World, signer: Signer) -> None:
    address = _address(signer)
    await world.devnet.wait_for(await world.devnet.faucet_stx(address, _FUNDS))
    status = await world.admin("parameter", "add-backend-principal", parse_principal(address))
    assert status == "success", f"add-backend-principal: {status}"


class _Builder:
    """Sends what the play stands on, without a gateway."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._contracts = world.settings("").contracts()
        self._backend = KeySigner.from_file(world.backend_key)
        self._backend_nonces = itertools.count()

    async def deposit(self) -> None:
        for token, amount in _DEPOSITS.items():
            arguments = [UInt(token), UInt(money_pb2.TIER_BALANCED), UInt(amount)]
            await self._wallet("provider", VAULT, "deposit-to-pool", [arguments])

    async def publish(self, number: int, btc_price_usd_e8: int) -> int:
        """Publishes a round of both feeds with the first backend key; the burn height that they carry."""
        height = (await self._world.devnet.clock()).burn_height
        for feed, price in ((price_pb2.FEED_BTC_USD, btc_price_usd_e8), (price_pb2.FEED_STX_USD, USD)):
            message = _round(self._world, feed, number, price, height)
            clarity = convert_terms.price_round("round", message)
            signature = convert_terms.signature("signature", message.signature)
            payload = ContractCall(self._contracts.deployer, ORACLE, "publish-price", (clarity, signature))
            origin = single_sig(self._backend.public_key, next(self._backend_nonces), _FEE_USTX)
            unsigned = Transaction(self._contracts.network, origin, payload, (), PostConditionMode.DENY)
            raw = serialize_transaction(sign_transaction(unsigned, self._backend))
            await self._succeeded(await self._world.wallet.broadcast(raw.hex()))
        return height

    async def sell(self, terms: Sequence[transaction_pb2.QuoteTerms]) -> list[Policy]:
        """The holder pays for each of these; the policies as the registry has them."""
        calls: list[Sequence[ClarityValue]] = []
        for one in terms:
            quote = convert_terms.quote("terms", one, self._contracts)
            signature = _sign(self._world, self._backend, "bithedge-quote", REGISTRY, quote)
            calls.append([quote, convert_terms.signature("signature", signature)])
        mined = await self._wallet("holder", REGISTRY, "create-policy-entry", calls)
        return [_policy(one, transaction) for one, transaction in zip(terms, mined, strict=True)]

    async def _wallet(
        self, seed: str, contract: str, function: str, calls: Sequence[Sequence[ClarityValue]]
    ) -> list[dict[str, Any]]:
        """Sends calls of one function with consecutive nonces; the transactions, all of them successful."""
        wallet, devnet = self._world.wallet, self._world.devnet
        account = await wallet.address(seed)
        nonce = int((await devnet.get(f"/v2/accounts/{account.address}"))["nonce"])
        mined: list[dict[str, Any]] = []
        for start in range(0, len(calls), _WAITING):
            txids = []
            for arguments in calls[start : start + _WAITING]:
                hexes = [serialize(one).hex() for one in arguments]
                options = {"nonce": nonce, "fee": _FEE_USTX, "post_condition_mode": "allow"}
                signed = await wallet.call(seed, f"{self._world.deployer}.{contract}", function, hexes, **options)
                txids.append(await wallet.broadcast(signed.raw))
                nonce += 1
            mined += [await self._succeeded(txid) for txid in txids]
        return mined

    async def _succeeded(self, txid: str) -> dict[str, Any]:
        transaction = await self._world.devnet.wait_for(txid)
        assert transaction["tx_status"] == "success", f"{txid}: {transaction['tx_result']['repr']}"
        return transaction


def _policy(terms: transaction_pb2.QuoteTerms, transaction: dict[str, Any]) -> Policy:
    """A policy from the event of its creation."""
    for event in transaction["events"]:
        if event["event_type"] == "smart_contract_log":
            value = deserialize(bytes.fromhex(event["contract_log"]["value"]["hex"].removeprefix("0x")))
            if isinstance(value, TupleValue) and "policy-id" in value.fields:
                number, most = uint_of(value["id"]), uint_of(value["max-payout"])
                return Policy(terms.policy, number, terms.token, most, terms.expiration_burn_height)
    raise AssertionError(f"no policy in {transaction['tx_id']}")
