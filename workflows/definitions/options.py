"""How activities are called: which are local, how they are retried, how long they may take."""

from __future__ import annotations

import datetime as dt
from typing import Final, TypedDict

from temporalio.common import RetryPolicy


class LocalOptions(TypedDict):
    """Options of a short local activity."""

    start_to_close_timeout: dt.timedelta
    retry_policy: RetryPolicy


class WaitingOptions(TypedDict):
    """Options of an activity that asks again until something is there."""

    start_to_close_timeout: dt.timedelta
    retry_policy: RetryPolicy


class FollowingOptions(TypedDict):
    """Options of an activity that follows something for long, heartbeating."""

    start_to_close_timeout: dt.timedelta
    heartbeat_timeout: dt.timedelta
    retry_policy: RetryPolicy


# One call or two to our own services; they are idempotent, so a lost answer is asked for again.
SHORT: Final[LocalOptions] = {
    "start_to_close_timeout": dt.timedelta(seconds=15),
    "retry_policy": RetryPolicy(
        initial_interval=dt.timedelta(milliseconds=200), maximum_interval=dt.timedelta(seconds=10)
    ),
}
# A price, a capital, a book that is not there yet: a second between two questions costs little.
WAITING: Final[WaitingOptions] = {
    "start_to_close_timeout": dt.timedelta(seconds=30),
    "retry_policy": RetryPolicy(
        initial_interval=dt.timedelta(milliseconds=200), maximum_interval=dt.timedelta(seconds=1)
    ),
}
# The same of the oracle, where one asker in a worker asks for all; when the worker dies, others ask soon.
AWAITED: Final[FollowingOptions] = {**WAITING, "heartbeat_timeout": dt.timedelta(seconds=10)}
# Blocks can take hours; the worker that follows them can die at any moment.
FOLLOWING: Final[FollowingOptions] = {
    "start_to_close_timeout": dt.timedelta(days=7),
    "heartbeat_timeout": dt.timedelta(seconds=20),
    "retry_policy": RetryPolicy(
        initial_interval=dt.timedelta(milliseconds=200), maximum_interval=dt.timedelta(seconds=5)
    ),
}
_FIRST_PAUSE: Final = dt.timedelta(milliseconds=200)
_LONGEST_PAUSE: Final = dt.timedelta(seconds=20)
_LONGEST_DOUBLING: Final = 10


def refused_pause(attempt: int) -> dt.timedelta:
    """Before attempt 1, 2, ... at something refused for now. Each ends at finality only, so this is a safety net."""
    return min(_FIRST_PAUSE * (1 << min(attempt - 1, _LONGEST_DOUBLING)), _LONGEST_PAUSE)
