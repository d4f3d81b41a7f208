"""Quotes and vouchers: SIP-018 signatures with the backend key, one set of terms per id, ever."""

from __future__ import annotations

from typing import Final

from bithedge.chain_gateway.v1 import chain_gateway_service_pb2 as pb
from bithedge.type.v1 import transaction_pb2

from kernel.database import Database
from kernel.errors import AlreadyExists, FailedPrecondition, PermissionDenied
from kernel.ids import parse_resource_name
from services.chain_gateway import convert_terms, store_signed
from services.chain_gateway.contract_reads import ContractReads
from services.chain_gateway.contracts import REGISTRY, VAULT, Contracts
from services.chain_gateway.domain.signing_policy import Request
from services.chain_gateway.domain.terms import Quote, check_quote, check_voucher
from services.chain_gateway.key_roles import KeyRoles
from services.chain_gateway.keys import Keys
from services.chain_gateway.signing_authority import SigningAuthority
from services.chain_gateway.signing_requests import quote_request, voucher_request
from services.chain_gateway.stacks.clarity import TupleValue, serialize
from services.chain_gateway.stacks.messages import sign_structured, structured_domain
from services.chain_gateway.state import StateFollower
from services.chain_gateway.tables import SignedQuote, SignedVoucher

_QUOTE: Final = "bithedge-quote"
_VOUCHER: Final = "bithedge-voucher"


class MessageSigner:
    """The one way to the backend keys for messages."""

    def __init__(
        self,
        database: Database,
        contracts: Contracts,
        keys: Keys,
        roles: KeyRoles,
        authority: SigningAuthority,
        state: StateFollower,
        reads: ContractReads,
    ) -> None:
        self._database = database
        self._contracts = contracts
        self._keys = keys
        self._roles = roles
        self._authority = authority
        self._state = state
        self._reads = reads

    async def sign_quote(self, terms: transaction_pb2.QuoteTerms) -> bytes:
        """The signature of a policy's quote; the same terms again answer the same one."""
        message = convert_terms.quote("terms", terms, self._contracts)
        policy = parse_resource_name("policies", terms.policy, "terms.policy")
        stored = await self.stored_quote(policy, message)
        if stored is not None:
            return stored
        check_quote(_quote(terms), self._state.snapshot.row.burn_height)
        haircut = await self._reads.tier_haircut_bps(terms.tier)
        request = quote_request(policy, message, terms, haircut)
        account, signature = await self._sign(_QUOTE, REGISTRY, message, request)
        row = SignedQuote(
            policy_id=policy,
            terms=serialize(message),
            signer=account,
            signature=signature,
            expiration_burn_height=terms.quote_expiration_burn_height,
        )
        async with self._database.transaction() as session:
            await store_signed.put_first(session, row)
        # Of two concurrent requests one was stored; only that one's signature ever leaves.
        return await self.stored_quote(policy, message) or signature

    async def stored_quote(self, policy_id: str, message: TupleValue) -> bytes | None:
        """The signature over exactly these terms; None when nothing was signed; AlreadyExists for other terms."""
        async with self._database.transaction() as session:
            row = await store_signed.quote(session, policy_id)
        if row is not None and row.terms != serialize(message):
            raise AlreadyExists("QUOTE_SIGNED", "other terms were signed for this policy", policy=policy_id)
        return None if row is None else row.signature

    async def sign_voucher(self, terms: pb.VoucherTerms) -> bytes:
        """The signature of a withdrawal's voucher; the same terms again answer the same one."""
        message = convert_terms.voucher("terms", terms, self._contracts)
        tier = convert_terms.kept_tier("terms.tier", terms.tier)
        withdrawal = parse_resource_name("withdrawals", terms.withdrawal, "terms.withdrawal")
        stored = await self.stored_voucher(withdrawal, message)
        if stored is not None:
            return stored
        height = self._state.snapshot.row.burn_height
        check_voucher(terms.expiration_burn_height, height)
        request = voucher_request(withdrawal, message, terms, height)
        account, signature = await self._sign(_VOUCHER, VAULT, message, request)
        row = SignedVoucher(
            withdrawal_id=withdrawal,
            terms=serialize(message),
            signer=account,
            signature=signature,
            expiration_burn_height=terms.expiration_burn_height,
            tier=tier,
        )
        async with self._database.transaction() as session:
            await store_signed.put_first(session, row)
        return await self.stored_voucher(withdrawal, message) or signature

    async def stored_voucher(self, withdrawal_id: str, message: TupleValue) -> bytes | None:
        """As `stored_quote`, for vouchers."""
        async with self._database.transaction() as session:
            row = await store_signed.voucher(session, withdrawal_id)
        if row is not None and row.terms != serialize(message):
            raise AlreadyExists("VOUCHER_SIGNED", "other terms were signed for this withdrawal", id=withdrawal_id)
        return None if row is None else row.signature

    async def check_signed(self, request: pb.PrepareTransactionRequest) -> None:
        """Returns if the quote or voucher in a wallet's call is one that was signed; FailedPrecondition otherwise."""
        stored: bytes | None
        match request.WhichOneof("call"):
            case "create_policy":
                terms = request.create_policy.terms
                message = convert_terms.quote("create_policy.terms", terms, self._contracts)
                stored = await self.stored_quote(message["policy-id"].value.hex(), message)  # type: ignore[union-attr]
                given = request.create_policy.signature
            case "withdraw":
                message = convert_terms.voucher("withdraw.terms", request.withdraw.terms, self._contracts)
                stored = await self.stored_voucher(message["voucher-id"].value.hex(), message)  # type: ignore[union-attr]
                given = request.withdraw.signature
            case _:
                return
        if stored is None or stored != given:
            raise FailedPrecondition("NOT_SIGNED", "these terms were not signed with this signature")

    async def _sign(self, kind: str, contract: str, message: TupleValue, request: Request) -> tuple[str, bytes]:
        account = await self._roles.preferred()
        try:
            await self._authority.authorize(request, account)
        except PermissionDenied as error:
            # Nothing is wrong with who asks: these terms are not signed, and asking again does not help.
            raise FailedPrecondition(error.reason, error.message, **error.metadata) from error
        chain_id = self._contracts.network.chain_id
        domain = structured_domain(kind, chain_id, self._contracts.principal(contract))
        return account, await self._keys.use(account, lambda signer: sign_structured(signer, domain, message))


def _quote(terms: transaction_pb2.QuoteTerms) -> Quote:
    return Quote(
        terms.tier,
        terms.token,
        terms.strike_price_usd_e8,
        terms.floor_price_usd_e8,
        terms.btc_price_usd_e8,
        terms.stx_price_usd_e8,
        terms.premium_base_units,
        terms.quote_burn_height,
        terms.quote_expiration_burn_height,
        terms.expiration_burn_height,
    )
