"""What is watched on identity besides the calls that it serves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import Counter, Gauge

from kernel.errors import BitHedgeError

SESSIONS_OPENED = Counter("bithedge_identity_sessions_opened_total", "Sessions opened by a signature")
SESSIONS_OPEN = Gauge("bithedge_identity_sessions_open", "Sessions neither ended nor expired, at the last purge")
SESSIONS_REVOKED = Counter(
    "bithedge_identity_sessions_revoked_total", "Sessions revoked because a spent refresh token was shown"
)
CHALLENGES_ISSUED = Counter("bithedge_identity_challenges_issued_total", "Challenges issued")
CHALLENGES_REFUSED = Counter(
    "bithedge_identity_challenges_refused_total", "Challenges not issued, or not accepted", ["reason"]
)
CLIENTS_REFUSED = Counter("bithedge_identity_clients_refused_total", "Wrong secrets of our own processes")


@contextmanager
def counting_refusals() -> Iterator[None]:
    """Inside: a refusal of a challenge is counted by its reason."""
    try:
        yield
    except BitHedgeError as error:
        CHALLENGES_REFUSED.labels(error.reason).inc()
        raise
