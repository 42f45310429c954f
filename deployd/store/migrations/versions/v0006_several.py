"""Several daemons on one database: signs of life, who holds a lock, which key seals; who runs an ask."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "owners",
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("machine", sa.Text(), nullable=False),
        sa.Column("folder", sa.Text(), nullable=False),
        sa.Column("command", sa.Text(), nullable=False),
        sa.Column("since", sa.Text(), nullable=False),
        sa.Column("until", sa.Float(53), nullable=False),
    )
    op.create_table(
        "holders",
        sa.Column("lock", sa.Text(), primary_key=True),
        sa.Column("held", sa.JSON(), nullable=False),
    )
    op.create_table(
        "facts",
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("value", sa.Text(), nullable=False),
    )
    op.add_column("asks", sa.Column("owner", sa.Text()))
    op.add_column("asks", sa.Column("cancelled_by", sa.Text()))
