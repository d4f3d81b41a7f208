"""Settings from the environment into one frozen dataclass per process; the only reader is each `config`."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

SettingsT = TypeVar("SettingsT", bound="DataclassInstance")


class SettingsError(ValueError):
    """A setting is missing or malformed; the message names the variable."""


def read_settings(kind: type[SettingsT], environment: Mapping[str, str]) -> SettingsT:
    """An instance of the dataclass `kind`: field `database_url` is read from `DATABASE_URL`.

    Fields are str, int, float, bool (`true`/`false`), Path, tuple[str, ...] (comma-separated) or an optional
    of these; a field with a default may be absent.
    """
    hints = typing.get_type_hints(kind)
    values: dict[str, Any] = {}
    for field in dataclasses.fields(kind):
        variable = field.name.upper()
        if variable in environment:
            values[field.name] = _convert(variable, environment[variable], hints[field.name])
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise SettingsError(f"{variable} is not set")
    return kind(**values)


def _convert(variable: str, text: str, kind: Any) -> Any:
    arguments = typing.get_args(kind)
    if type(None) in arguments:
        kind = next(argument for argument in arguments if argument is not type(None))
    if typing.get_origin(kind) is tuple:
        return tuple(part.strip() for part in text.split(",") if part.strip())
    try:
        if kind is bool:
            return {"true": True, "false": False}[text.lower()]
        return {str: str, int: int, float: float, Path: Path}[kind](text)
    except (KeyError, ValueError) as error:
        raise SettingsError(f"{variable} is not a valid {getattr(kind, '__name__', kind)}: {text!r}") from error
