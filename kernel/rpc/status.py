"""Domain errors to gRPC statuses and back: a code, and one `google.rpc.ErrorInfo` with a stable reason."""

from __future__ import annotations

from typing import Final, NoReturn

import grpc
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2

from kernel import errors
from kernel.errors import BitHedgeError, FieldViolation, InvalidArgument, ResourceExhausted

_DETAILS_KEY: Final = "grpc-status-details-bin"
_DOMAIN: Final = "bithedge"
_CODES: Final = {code.name: code for code in grpc.StatusCode}
_ERRORS: Final[dict[grpc.StatusCode, type[BitHedgeError]]] = {
    _CODES[kind.code]: kind
    for kind in (
        errors.InvalidArgument,
        errors.Unauthenticated,
        errors.PermissionDenied,
        errors.NotFound,
        errors.AlreadyExists,
        errors.FailedPrecondition,
        errors.ResourceExhausted,
        errors.Aborted,
        errors.Unavailable,
    )
}


async def abort(context: grpc.aio.ServicerContext[object, object], error: BitHedgeError) -> NoReturn:
    """Ends the call with the error's code and details."""
    code = _CODES[error.code]
    info = error_details_pb2.ErrorInfo(reason=error.reason, domain=_DOMAIN, metadata=dict(error.metadata))
    details = [_packed(info)]
    if isinstance(error, InvalidArgument) and error.violations:
        details.append(_packed(_bad_request(error)))
    if isinstance(error, ResourceExhausted) and error.retry_after_seconds:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromNanoseconds(int(error.retry_after_seconds * 1e9))
        details.append(_packed(retry))
    status = status_pb2.Status(code=code.value[0], message=error.message, details=details)
    await context.abort(code, error.message, ((_DETAILS_KEY, status.SerializeToString()),))


def _packed(
    message: error_details_pb2.ErrorInfo | error_details_pb2.BadRequest | error_details_pb2.RetryInfo,
) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(message)
    return packed


def _bad_request(error: InvalidArgument) -> error_details_pb2.BadRequest:
    bad_request = error_details_pb2.BadRequest()
    for violation in error.violations:
        bad_request.field_violations.add(field=violation.field, description=violation.description)
    return bad_request


def error_from_call(error: grpc.aio.AioRpcError) -> BitHedgeError:
    """The domain error that a service answered; Unavailable for a transport error or a missed deadline."""
    kind = _ERRORS.get(error.code())
    info, violations = _details(error)
    reason = info.reason or error.code().name
    message = error.details() or reason
    metadata = dict(info.metadata)
    if kind is None:
        return errors.Unavailable(reason, message, code=error.code().name, **metadata)
    if issubclass(kind, InvalidArgument):
        return InvalidArgument(reason, message, *violations, **metadata)
    return kind(reason, message, **metadata)


def _details(error: grpc.aio.AioRpcError) -> tuple[error_details_pb2.ErrorInfo, list[FieldViolation]]:
    info, bad_request = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    for key, value in error.trailing_metadata() or ():
        if key == _DETAILS_KEY and isinstance(value, bytes):
            for detail in status_pb2.Status.FromString(value).details:
                if not detail.Unpack(info):
                    detail.Unpack(bad_request)
    violations = [FieldViolation(violation.field, violation.description) for violation in bad_request.field_violations]
    return info, violations
