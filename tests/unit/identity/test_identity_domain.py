"""Rules of challenges, sessions and roles."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.identity.convert import peer_host
from services.identity.domain.challenge import LIFETIME, SignInDomain, issue_challenge
from services.identity.domain.errors import MalformedAddress
from services.identity.domain.roles import Role, wallet_roles
from services.identity.domain.session import (
    REFRESH_LIFETIME,
    SESSION_LIFETIME,
    Refresh,
    RefreshToken,
    Session,
    judge_refresh,
    new_refresh_token,
    open_session,
    refresh_token_hash,
)

_NOW = dt.datetime(2025, 3, 1, 12, 0, 0, 999_999, tzinfo=dt.UTC)
_PRINCIPAL = "ST1MJ0EDN9DKMXJZJT0JF4XNBXR5MMEEGSPCT4T7E"
_MAINNET_PRINCIPAL = "SP1MJ0EDN9DKMXJZJT0JF4XNBXR5MMEEGSN4NJF9C"


def test_a_challenge_is_bound_to_its_chain() -> None:
    """A main-network address gets a challenge on chain 1 only; the text names the chain."""
    challenge = issue_challenge(SignInDomain("bithedge.test", 1), _MAINNET_PRINCIPAL, _NOW)
    assert "\nChain ID: 1\n" in challenge.message
    assert challenge.expire_time - challenge.issue_time == LIFETIME
    with pytest.raises(MalformedAddress):
        issue_challenge(SignInDomain("bithedge.test", 1), _PRINCIPAL, _NOW)


@pytest.mark.parametrize("host", ["", "a b", "host\nURI: other", "-x", "UPPER", "host:port", "https://host"])
def test_a_domain_is_a_host_name(host: str) -> None:
    """Nothing that could change the meaning of the text is taken for a domain."""
    with pytest.raises(ValueError, match="not a host name"):
        SignInDomain(host, 1)


@pytest.mark.parametrize("host", ["localhost", "localhost:3000", "app.bithedge.example", "10.0.0.1:80"])
def test_hosts_with_and_without_port_are_domains(host: str) -> None:
    """As browsers name an origin's host."""
    assert SignInDomain(host, 1).host == host


def test_nonces_differ() -> None:
    """A thousand challenges, a thousand nonces and ids."""
    domain = SignInDomain("bithedge.test", 2147483648)
    challenges = [issue_challenge(domain, _PRINCIPAL, _NOW) for _ in range(1000)]
    assert len({challenge.nonce for challenge in challenges}) == 1000
    assert len({challenge.id for challenge in challenges}) == 1000


@given(
    st.integers(0, 40 * 86_400),
    st.booleans(),
    st.booleans(),
)
def test_a_refresh_is_granted_only_to_an_unspent_token_in_time(age: int, spent: bool, ended: bool) -> None:
    """Granted: session open, token unspent and unexpired. Reused: spent, while the session is open. Else invalid."""
    now = _NOW + dt.timedelta(seconds=age)
    session = Session("s", _PRINCIPAL, _NOW, _NOW + SESSION_LIFETIME, _NOW if ended else None)
    token = RefreshToken(b"", "s", _NOW + REFRESH_LIFETIME, _NOW if spent else None)
    verdict = judge_refresh(token, session, now)
    if ended or age >= SESSION_LIFETIME.total_seconds():
        assert verdict is Refresh.INVALID
    elif spent:
        assert verdict is Refresh.REUSED
    else:
        assert (verdict is Refresh.GRANTED) == (age < REFRESH_LIFETIME.total_seconds())


@given(st.integers(0, 30 * 86_400 - 1))
def test_a_refresh_token_never_outlives_its_session(age: int) -> None:
    """Its end is seven days away or the session's own, whichever comes first; only its hash is kept."""
    session = open_session(_PRINCIPAL, _NOW)
    now = _NOW + dt.timedelta(seconds=age)
    text, token = new_refresh_token(session, now)
    assert token.expire_time == min(now + REFRESH_LIFETIME, session.expire_time)
    assert token.token_sha256 == refresh_token_hash(text)
    assert len(text) >= 43


def test_only_named_principals_are_operators() -> None:
    """Every wallet is holder and provider; nobody is a service by their wallet."""
    assert wallet_roles(_PRINCIPAL, ()) == (Role.HOLDER, Role.PROVIDER)
    assert wallet_roles(_PRINCIPAL, {_PRINCIPAL}) == (Role.HOLDER, Role.PROVIDER, Role.OPERATOR)
    assert wallet_roles(_PRINCIPAL, {_MAINNET_PRINCIPAL}) == (Role.HOLDER, Role.PROVIDER)


@pytest.mark.parametrize(
    ("peer", "host"),
    [("ipv4:10.0.0.7:51234", "10.0.0.7"), ("ipv6:%5B::1%5D:51234", "%5B::1%5D"), ("unix:", "unix:")],
)
def test_the_peer_is_its_host(peer: str, host: str) -> None:
    """The limit counts hosts, not connections."""
    assert peer_host(peer) == host
