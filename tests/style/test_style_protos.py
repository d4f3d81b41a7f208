"""Rules of the API that buf does not know."""

from __future__ import annotations

import importlib
from collections.abc import Iterator

from bithedge.type.v1 import access_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor, FileDescriptor, MethodDescriptor

from tests.style.tracked import REPOSITORY, relative, tracked

_READS = ("Get", "List", "Watch", "Preview", "Explain")
_FLOATS = (FieldDescriptor.TYPE_DOUBLE, FieldDescriptor.TYPE_FLOAT)
_MONEY = ("_sats", "_ustx", "_usd_e8", "_bps", "base_units")


def _files() -> Iterator[FileDescriptor]:
    for path in tracked(".proto"):
        name = path.relative_to(REPOSITORY / "proto").with_suffix("").as_posix().replace("/", ".")
        yield importlib.import_module(f"{name}_pb2").DESCRIPTOR


def _methods() -> Iterator[MethodDescriptor]:
    for file in _files():
        for service in file.services_by_name.values():
            yield from service.methods


def _fields() -> Iterator[FieldDescriptor]:
    def inside(message: Descriptor) -> Iterator[FieldDescriptor]:
        yield from message.fields
        for nested in message.nested_types:
            yield from inside(nested)

    for file in _files():
        for message in file.message_types_by_name.values():
            yield from inside(message)


def test_every_proto_is_generated() -> None:
    """Each file has its committed module, which names the same methods as the text."""
    named = {method.name for method in _methods()}
    for path in tracked(".proto"):
        for line in path.read_text().splitlines():
            words = line.split()
            if words[:1] == ["rpc"]:
                assert words[1].partition("(")[0] in named, f"{relative(path)}: {words[1]} is not generated"


def test_every_method_declares_who_may_call_it() -> None:
    """Anyone, or at least one role, and never both."""
    for method in _methods():
        options = method.GetOptions()
        assert options.HasExtension(access_pb2.access), method.full_name
        access = options.Extensions[access_pb2.access]
        assert access.anyone != bool(access.roles), method.full_name
        assert access_pb2.ROLE_UNSPECIFIED not in access.roles, method.full_name


def test_no_write_is_open_to_anyone_but_signing_in() -> None:
    """Without a token one can read what is public, sign in, and nothing else."""
    writes = {
        method.name
        for method in _methods()
        if method.GetOptions().Extensions[access_pb2.access].anyone and not method.name.startswith(_READS)
    }
    assert writes == {"CreateChallenge", "CreateSession", "RefreshSession", "CreateServiceToken"}


def test_people_name_a_request_id_on_every_write() -> None:
    """What a holder, provider or operator asks for once happens once.

    Signing in is once by its nature; so is a signed transaction, which its txid names.
    """
    people = {access_pb2.ROLE_HOLDER, access_pb2.ROLE_PROVIDER, access_pb2.ROLE_OPERATOR}
    missing = [
        method.full_name
        for method in _methods()
        if people & set(method.GetOptions().Extensions[access_pb2.access].roles)
        and not method.name.startswith(_READS)
        and "request_id" not in method.input_type.fields_by_name
        and method.containing_service.name != "IdentityService"
        and method.name != "SubmitSignedTransaction"
    ]
    assert missing == []


def test_requests_and_responses_are_unique() -> None:
    """Each method has its own, named after it, so that either can grow."""
    for method in _methods():
        assert method.input_type.name == f"{method.name}Request", method.full_name
        assert method.output_type.name == f"{method.name}Response", method.full_name


def test_no_amount_is_a_float() -> None:
    """Floats are volatilities and rates, nothing else; money is int64 in named units, changes sint64."""
    for field in _fields():
        if field.type in _FLOATS:
            assert field.name == "rate" or "volatility" in field.full_name.lower(), field.full_name
        if field.name.endswith(_MONEY):
            allowed = FieldDescriptor.TYPE_SINT64 if "_delta_" in field.name else FieldDescriptor.TYPE_INT64
            assert field.type == allowed, field.full_name


def test_heights_say_of_which_chain() -> None:
    """A height is of burn or of Stacks blocks."""
    for field in _fields():
        if field.name.endswith("height"):
            assert field.name.endswith(("burn_height", "stacks_height")), field.full_name
