"""A challenge: text for the wallet to sign, bound to domain, chain, address, nonce and five minutes.

The text follows EIP-4361 in Stacks words, so that a person can read in the wallet what is signed and for whom.
"""

from __future__ import annotations

import datetime as dt
import re
import secrets
from dataclasses import dataclass
from typing import Final

from kernel.ids import new_id, resource_name
from services.identity.domain.wallet import Network, check_address

LIFETIME: Final = dt.timedelta(minutes=5)
# Wrong signatures that one challenge bears. A wrong one does not consume it, so nobody burns it by accident.
MAX_ATTEMPTS: Final = 10
# Challenges per principal and window: from one peer, so that nobody locks another person out from one machine;
# and from all together, so that one principal cannot fill the table.
RATE_WINDOW: Final = dt.timedelta(minutes=1)
MAX_PER_PEER: Final = 10
MAX_PER_PRINCIPAL: Final = 60

_DOMAIN: Final = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?(:[0-9]{1,5})?")


@dataclass(frozen=True)
class SignInDomain:
    """Who asks for the signature: the front end's host (with port), and the chain."""

    host: str
    chain_id: int

    def __post_init__(self) -> None:
        if not _DOMAIN.fullmatch(self.host):
            raise ValueError(f"not a host name: {self.host!r}")

    @property
    def network(self) -> Network:
        """The network whose addresses may sign in."""
        return Network.of_chain(self.chain_id)


@dataclass(frozen=True)
class Challenge:
    """One challenge as issued; times in UTC."""

    id: str
    principal: str
    nonce: str
    message: str
    issue_time: dt.datetime
    expire_time: dt.datetime


def issue_challenge(domain: SignInDomain, principal: str, now: dt.datetime) -> Challenge:
    """A new challenge for `principal`; MalformedAddress unless it is an address of one key on the domain's network."""
    check_address(principal, domain.network)
    identifier, nonce = new_id(), secrets.token_hex(16)
    issue_time = now.replace(microsecond=0)
    expire_time = issue_time + LIFETIME
    message = _message(domain, principal, identifier, nonce, issue_time, expire_time)
    return Challenge(identifier, principal, nonce, message, issue_time, expire_time)


def _message(
    domain: SignInDomain,
    principal: str,
    identifier: str,
    nonce: str,
    issue_time: dt.datetime,
    expire_time: dt.datetime,
) -> str:
    return "\n".join(
        (
            f"{domain.host} wants you to sign in with your Stacks account:",
            principal,
            "",
            "Sign in to BitHedge. This moves no funds and costs no fee.",
            "",
            "Version: 1",
            f"Chain ID: {domain.chain_id}",
            f"Nonce: {nonce}",
            f"Issued At: {_iso(issue_time)}",
            f"Expiration Time: {_iso(expire_time)}",
            f"Request ID: {resource_name('challenges', identifier)}",
        )
    )


def _iso(time: dt.datetime) -> str:
    return time.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
