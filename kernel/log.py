"""Structured logs: one JSON object a line on standard error, each with the request it belongs to."""

from __future__ import annotations

import logging
import sys
from contextvars import ContextVar

import structlog

from kernel.ids import new_id


class CallLabels:
    """What tells the log lines of one call from others. `principal` is empty until the caller is known."""

    __slots__ = ("_request_id", "method", "principal")

    def __init__(self, method: str, request_id: str = "") -> None:
        self.method = method
        self.principal = ""
        self._request_id = request_id

    @property
    def request_id(self) -> str:
        """As the caller gave it; one of its own, made when it is first asked for, where the caller gave none."""
        self._request_id = self._request_id or new_id()
        return self._request_id


_labels: ContextVar[CallLabels | None] = ContextVar("call_labels", default=None)


def set_call_labels(labels: CallLabels) -> None:
    """For whatever lets calls in, alone."""
    _labels.set(labels)


def name_caller(principal: str) -> None:
    """For whatever lets calls in, alone: the caller of the call being served is known."""
    labels = _labels.get()
    if labels is not None:
        labels.principal = principal


def call_labels() -> CallLabels | None:
    """Of the call being served; None outside of one."""
    return _labels.get()


def _add_call(
    logger: structlog.typing.WrappedLogger, name: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    labels = _labels.get()
    if labels is not None:
        event.setdefault("request_id", labels.request_id)
        event.setdefault("method", labels.method)
        if labels.principal:
            event.setdefault("principal", labels.principal)
    return event


def configure_logging(service: str, level: str = "INFO") -> None:
    """Once per process, by its entry point. `level` is a name of the standard library's."""
    numeric = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            _add_call,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(numeric),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(service=service)
    logging.basicConfig(
        stream=sys.stderr, level=logging.WARNING, format='{"level":"%(levelname)s","event":"%(message)s"}'
    )


def get_logger() -> structlog.typing.FilteringBoundLogger:
    """The process's logger; context is bound by the interceptors."""
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger()
    return logger
