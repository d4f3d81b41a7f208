"""Signs the backend's transactions: what the signing policy allows, in Deny mode, nothing else."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence

from sqlmodel.ext.asyncio.session import AsyncSession

from kernel.clock import wall_now
from kernel.errors import PermissionDenied, ResourceExhausted
from services.chain_gateway.contract_calls import Call
from services.chain_gateway.contracts import Contracts
from services.chain_gateway.domain.confirmation import TransactionState
from services.chain_gateway.domain.signing_policy import FILLER, Request
from services.chain_gateway.fees import Fees
from services.chain_gateway.keys import Keys
from services.chain_gateway.signing_authority import SigningAuthority
from services.chain_gateway.signing_requests import call_request, filler_request, sponsored_request
from services.chain_gateway.stacks.clarity import StandardPrincipal
from services.chain_gateway.stacks.payload import ContractCall, Payload, TokenTransfer, read_payload
from services.chain_gateway.stacks.post_condition import PostCondition, PostConditionMode, read_post_condition
from services.chain_gateway.stacks.reader import Reader
from services.chain_gateway.stacks.signer import Signer
from services.chain_gateway.stacks.transaction import (
    Transaction,
    deserialize_transaction,
    serialize_transaction,
    single_sig,
)
from services.chain_gateway.stacks.transaction_signing import sign_as_sponsor, sign_transaction
from services.chain_gateway.state import StateFollower
from services.chain_gateway.tables import ChainTransaction, Intent


def stored_call(payload: bytes, post_conditions: list[bytes]) -> Call:
    """A call as it was stored."""
    found = read_payload(Reader(payload))
    if not isinstance(found, ContractCall):
        raise PermissionDenied("CALL_NOT_ALLOWED", "only contract calls are signed")
    return Call(found, tuple(_condition(data) for data in post_conditions))


def _condition(data: bytes) -> PostCondition:
    reader = Reader(data)
    condition = read_post_condition(reader)
    reader.end()
    return condition


class SigningPolicy:
    """The one way to the backend keys for transactions."""

    def __init__(
        self, contracts: Contracts, keys: Keys, fees: Fees, authority: SigningAuthority, state: StateFollower
    ) -> None:
        self._contracts = contracts
        self._keys = keys
        self._authority = authority
        self._state = state
        self.fees = fees

    async def allow(self, intents: Iterable[Intent], address: str) -> None:
        """Has the signing policy allow many at once where it does: `sign` judges the others, each by itself."""
        requests: list[Request] = []
        for intent in intents:
            with contextlib.suppress(PermissionDenied):
                requests.append(self._request(intent))
        await self._authority.allow(requests, address)

    async def sign(
        self, session: AsyncSession, intent: Intent, address: str, nonce: int, fee_ustx: int | None = None
    ) -> ChainTransaction:
        """The signed transaction of an intent as a row to store in `session`; the fee is suggested when not given.

        PermissionDenied, with a stable reason, for what is never signed: nothing of the intent has left, it may end.
        ResourceExhausted for what the signing policy does not allow now. An intent that was allowed once stays so.
        """
        if intent.origin_signed is not None:
            return await self._sign_as_sponsor(session, intent, intent.origin_signed, address, nonce, fee_ustx)
        await self._authority.authorize(self._request(intent), address, session)
        call = stored_call(intent.payload, intent.post_conditions)
        fee = await self.fees.suggest(call) if fee_ustx is None else fee_ustx
        signed = await self._sign(address, nonce, fee, call.payload, call.post_conditions)
        return _row(signed, intent.id, address, nonce, intent.contract, intent.function)

    def _request(self, intent: Intent) -> Request:
        subject = f"intents/{intent.id}"
        if intent.origin_signed is not None:
            return sponsored_request(subject, intent.origin_signed, self.fees.sponsor_cap_ustx)
        call = stored_call(intent.payload, intent.post_conditions)
        return call_request(self._contracts, subject, call, self._state.snapshot.market_time())

    @property
    def sponsor(self) -> str | None:
        """The account that pays for users."""
        return self._keys.sponsor

    async def _sign_as_sponsor(
        self,
        session: AsyncSession,
        intent: Intent,
        origin_signed: bytes,
        address: str,
        nonce: int,
        fee_ustx: int | None,
    ) -> ChainTransaction:
        """A user's transaction with our key for its fee: that key signs nothing else, and no other key this."""
        if address != self.sponsor:
            raise PermissionDenied("CALL_NOT_ALLOWED", "the sponsor's key alone pays for users")
        transaction, cap = deserialize_transaction(origin_signed), self.fees.sponsor_cap_ustx
        try:
            await self._authority.authorize(self._request(intent), address, session)
        except ResourceExhausted as error:
            # The user is told now, and may pay the fee themselves; it shall not leave when they expect it no more.
            raise PermissionDenied(error.reason, error.message) from error
        call = stored_call(intent.payload, intent.post_conditions)
        fee = min(await self.fees.suggest(call), cap) if fee_ustx is None else fee_ustx
        if fee > cap:
            raise ResourceExhausted("FEE_CAP_REACHED", f"a fee of {fee} uSTX is above what is paid for users")
        signed = await self._keys.use(
            address, lambda signer: sign_as_sponsor(transaction, single_sig(signer.public_key, nonce, fee), signer)
        )
        row = _row(signed, intent.id, address, nonce, intent.contract, intent.function)
        row.origin, row.origin_nonce = signed.sender.text, signed.nonce
        return row

    async def sign_filler(self, session: AsyncSession, address: str, nonce: int, fee_ustx: int) -> ChainTransaction:
        """A transaction that does nothing but use a nonce, as a row to store in `session`: the one transfer allowed.

        It pays one uSTX to the contracts' deployer, since nodes refuse a transfer to its sender. Refusals as in `sign`.
        """
        payload = TokenTransfer(StandardPrincipal(self._contracts.deployer), 1)
        await self._authority.authorize(filler_request(address, nonce, payload), address, session)
        signed = await self._sign(address, nonce, fee_ustx, payload)
        return _row(signed, None, address, nonce, "", FILLER)

    async def _sign(
        self, address: str, nonce: int, fee_ustx: int, payload: Payload, conditions: Sequence[PostCondition] = ()
    ) -> Transaction:
        def work(signer: Signer) -> Transaction:
            origin = single_sig(signer.public_key, nonce, fee_ustx)
            unsigned = Transaction(self._contracts.network, origin, payload, tuple(conditions), PostConditionMode.DENY)
            return sign_transaction(unsigned, signer)

        return await self._keys.use(address, work)


def _row(
    signed: Transaction, intent_id: str | None, address: str, nonce: int, contract: str, function: str
) -> ChainTransaction:
    return ChainTransaction(
        txid=signed.txid,
        intent_id=intent_id,
        sender=address,
        nonce=nonce,
        fee_ustx=signed.fee_ustx,
        contract=contract,
        function=function,
        raw=serialize_transaction(signed),
        state=TransactionState.SIGNED,
        sends=1,
        due_time=wall_now(),
    )
