"""Between requests of lists and what the store looks for: filters, page tokens, read masks."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from dataclasses import dataclass
from typing import Any, Final

from bithedge.policy.v1 import policy_pb2
from bithedge.policy.v1 import policy_service_pb2 as pb
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from kernel.errors import InvalidArgument
from kernel.ids import is_id
from services.policy import convert
from services.policy.domain.errors import Reason
from services.policy.domain.policy import Policy
from services.policy.store_queries import Order, Parts, PolicyFilter

# Ours have half of it.
_PAGE_TOKEN_LENGTH: Final = 256
_DIGEST: Final = 8
_ORDERS: Final = {
    pb.POLICY_ORDER_UNSPECIFIED: Order.NEWEST_FIRST,
    pb.POLICY_ORDER_NEWEST_FIRST: Order.NEWEST_FIRST,
    pb.POLICY_ORDER_OLDEST_FIRST: Order.OLDEST_FIRST,
    pb.POLICY_ORDER_EXPIRATION: Order.EXPIRATION,
}


def filter_from(request: pb.ListPoliciesRequest, holder: str | None) -> PolicyFilter:
    """What to list of `holder`, or of everybody for None; InvalidArgument for what no index answers."""
    from_height, to_height = request.from_expiration_burn_height, request.to_expiration_burn_height
    if from_height < 0 or to_height < 0 or 0 < to_height < from_height:
        raise InvalidArgument.of("to_expiration_burn_height", "must not be below from_expiration_burn_height")
    if request.order not in _ORDERS:
        raise InvalidArgument.of("order", "unknown order")
    if request.settlement_token and convert.optional_token(request.settlement_token) is None:
        raise InvalidArgument.of("settlement_token", "unknown token")
    wanted = PolicyFilter(
        holder_principal=holder,
        states=tuple(sorted(set(convert.states_from(request.states)))),
        tier=convert.optional_tier(request.tier),
        token=convert.optional_token(request.settlement_token),
        from_height=from_height,
        to_height=to_height or None,
        order=_ORDERS[request.order],
    )
    _check_indexed(wanted)
    return wanted


def _check_indexed(wanted: PolicyFilter) -> None:
    """Only lists that an index answers; any other would read all that the holder has, or every policy there is."""
    over_all, by_expiration = wanted.holder_principal is None, wanted.order is Order.EXPIRATION
    for field, is_refused, description in (
        ("settlement_token", over_all and wanted.token is not None, "needs a holder"),
        ("tier", over_all and by_expiration and wanted.tier is not None, "needs a holder in the order of expiration"),
        ("from_expiration_burn_height", wanted.has_heights and not by_expiration, "needs the order of expiration"),
    ):
        if is_refused:
            raise InvalidArgument.of(field, description, Reason.UNSUPPORTED_LIST)


def page_token(request: Message, *key: object) -> str:
    """An opaque token for what follows `key` in the list of `request`."""
    return base64.urlsafe_b64encode(json.dumps([_digest(request), *key]).encode()).decode()


def from_page_token(request: pb.ListPoliciesRequest | pb.ListExpiringPoliciesRequest, *kinds: type) -> list[Any] | None:
    """The key in the token of a request, None for the first page; InvalidArgument for anything that we did not make
    for the same list."""
    token = request.page_token
    if not token:
        return None
    if len(token) > _PAGE_TOKEN_LENGTH:
        raise InvalidArgument.of("page_token", "not a token of ours", Reason.INVALID_PAGE_TOKEN)
    try:
        found = json.loads(base64.urlsafe_b64decode(token.encode()))
    except (binascii.Error, ValueError) as error:
        raise InvalidArgument.of("page_token", "not a token of ours", Reason.INVALID_PAGE_TOKEN) from error
    if not isinstance(found, list) or not found or found[0] != _digest(request):
        raise InvalidArgument.of("page_token", "not a token of this list", Reason.INVALID_PAGE_TOKEN)
    key = found[1:]
    if [type(part) for part in key] != list(kinds) or not all(map(_is_key, key)):
        raise InvalidArgument.of("page_token", "not a token of this list", Reason.INVALID_PAGE_TOKEN)
    return key


def _is_key(part: int | str) -> bool:
    """Whether the database can look for it: a height, or a policy's id."""
    return 0 <= part < 1 << 63 if isinstance(part, int) else is_id(part)


def _digest(request: Message) -> str:
    """Which list it is: everything in the request that decides which policies follow each other."""
    same = type(request)()
    same.CopyFrom(request)
    for name in ("page_token", "page_size", "read_mask"):
        same.ClearField(name)
    text = type(request).DESCRIPTOR.name.encode() + same.SerializeToString(deterministic=True)
    return hashlib.sha256(text).hexdigest()[:_DIGEST]


def key_of(policy: Policy, order: Order) -> tuple[Any, ...]:
    """Where a policy stands in a list."""
    return (policy.expiration_burn_height, policy.id) if order is Order.EXPIRATION else (policy.id,)


@dataclass(frozen=True)
class ReadMask:
    """Which fields of a policy are answered; None: all (AIP-157)."""

    mask: FieldMask | None

    @property
    def parts(self) -> Parts:
        """What has to be read besides the policies."""
        if self.mask is None:
            return Parts()
        roots = {path.partition(".")[0] for path in self.mask.paths}
        return Parts("history" in roots, "activation_receipt" in roots)

    def reduced(self, policy: policy_pb2.Policy) -> policy_pb2.Policy:
        """The policy with the fields of the mask alone."""
        if self.mask is None:
            return policy
        reduced = policy_pb2.Policy()
        self.mask.MergeMessage(policy, reduced)
        return reduced


def read_mask_from(mask: FieldMask) -> ReadMask:
    """The mask of a request; InvalidArgument for a field that a policy does not have."""
    if not mask.paths or list(mask.paths) == ["*"]:
        return ReadMask(None)
    if not mask.IsValidForDescriptor(policy_pb2.Policy.DESCRIPTOR):
        raise InvalidArgument.of("read_mask", "names a field that a policy does not have", Reason.INVALID_READ_MASK)
    return ReadMask(mask)
