"""Pushes: deliveries of forges, secrets (of hooks, forges, notifications), previews of pull requests, git keys."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "deliveries",
        sa.Column("number", sa.Integer(), primary_key=True),
        sa.Column("app", sa.Text(), nullable=False),
        sa.Column("delivery", sa.Text(), nullable=False),
        sa.Column("forge", sa.Text(), nullable=False),
        sa.Column("received", sa.Text(), nullable=False),
        sa.Column("what", sa.JSON(), nullable=False),
        sa.Column("asked", sa.JSON(), nullable=False),
        sa.Column("reason", sa.Text()),
        sa.UniqueConstraint("app", "delivery", name="deliveries_once"),
    )
    op.create_table(
        "secrets",
        sa.Column("kind", sa.Text(), primary_key=True),
        sa.Column("app", sa.Text(), primary_key=True),
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("extra", sa.JSON(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("updated", sa.Text(), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
    )
    op.create_table(
        "previews",
        sa.Column("app", sa.Text(), primary_key=True),
        sa.Column("number", sa.Integer(), primary_key=True),
        sa.Column("forge", sa.Text(), nullable=False),
        sa.Column("pull", sa.JSON(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("approved", sa.Text()),
        sa.Column("rollout", sa.Text()),
        sa.Column("release", sa.Text()),
        sa.Column("address", sa.Text()),
        sa.Column("comment", sa.Text()),
        sa.Column("opened", sa.Text(), nullable=False),
        sa.Column("updated", sa.Text(), nullable=False),
    )
    op.create_index("previews_by_state", "previews", ["state", "updated"])
    op.create_table(
        "git_keys",
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("line", sa.Text(), nullable=False),
        sa.Column("apps", sa.JSON(), nullable=False),
        sa.Column("created", sa.Text(), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.UniqueConstraint("fingerprint", name="git_keys_fingerprint"),
    )
