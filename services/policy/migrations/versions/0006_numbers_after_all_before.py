"""Numbers of the feed go on above all that an earlier schema of this name can have given.

So a cursor of before a rebuild is below every line, and its reader is told everything once more. Numbers have gaps
anyway, and are given by one at a time: the release still running goes on from here.
"""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

# A million for each second since 1970: no feed gets so many lines, and the next schema's are above this one's.
_RESTART = """DO $$ BEGIN
    EXECUTE format('ALTER SEQUENCE policy.feed_number RESTART WITH %s', (extract(epoch FROM now()) * 1e6)::bigint);
END $$"""


def upgrade() -> None:
    """Moves the sequence; lines that have a number keep it."""
    op.execute(_RESTART)


def downgrade() -> None:
    """Leaves the sequence where it is: numbers never fall."""
