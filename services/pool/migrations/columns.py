"""Columns that the revisions write often; a revision that is released never changes what these make."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

SCHEMA: Final = "pool"
TIME: Final = sa.DateTime(timezone=True)


def big(name: str, nullable: bool = False) -> sa.Column[int]:
    """A bigint."""
    return sa.Column(name, sa.BigInteger, nullable=nullable)


def text(name: str, nullable: bool = False) -> sa.Column[str]:
    """A text."""
    return sa.Column(name, sa.Text, nullable=nullable)


def small(name: str) -> sa.Column[int]:
    """A smallint."""
    return sa.Column(name, sa.SmallInteger, nullable=False)


def moment(name: str, nullable: bool = False) -> sa.Column[object]:
    """A time with zone."""
    return sa.Column(name, TIME, nullable=nullable)


def binary(name: str, nullable: bool = False) -> sa.Column[bytes]:
    """A bytea."""
    return sa.Column(name, sa.LargeBinary, nullable=nullable)


def serial() -> sa.Column[int]:
    """The identity `id`."""
    return sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True)


def key(name: str) -> sa.Column[str]:
    """A text in the primary key."""
    return sa.Column(name, sa.Text, primary_key=True)


def tier_and_token(prefix: str) -> list[sa.schema.SchemaItem]:
    """`tier` and `token` with their bounds."""
    return [
        small("tier"),
        small("token"),
        sa.CheckConstraint("tier BETWEEN 1 AND 3", name=f"{prefix}_tier"),
        sa.CheckConstraint("token BETWEEN 1 AND 2", name=f"{prefix}_token"),
    ]
