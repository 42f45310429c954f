"""The tables. `migrations/versions` makes the same ones step by step; a test compares the two."""

from __future__ import annotations

import sqlalchemy as sa

REVISION = "0008"  # the newest migration: what a fresh database is stamped with

metadata = sa.MetaData()

hosts = sa.Table(
    "hosts",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("address", sa.Text, nullable=False),
    sa.Column("port", sa.Integer, nullable=False),
    sa.Column("admin_user", sa.Text, nullable=False),
    sa.Column("identity", sa.Text),
    sa.Column("host_key", sa.Text, nullable=False),
    sa.Column("added", sa.Text, nullable=False),
    sa.Column("who", sa.Text, nullable=False),
)

releases = sa.Table(
    "releases",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("app", sa.Text, nullable=False),
    sa.Column("environment", sa.Text, nullable=False),
    sa.Column("artifact", sa.Text, nullable=False),
    sa.Column("build_id", sa.Text, nullable=False),
    sa.Column("runtime", sa.Text, nullable=False),
    sa.Column("commit", sa.Text),
    sa.Column("branch", sa.Text),
    sa.Column("subject", sa.Text),
    sa.Column("dirty", sa.Boolean, nullable=False),
    sa.Column("who", sa.Text, nullable=False),
    sa.Column("message", sa.Text),
    sa.Column("created", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("live_at", sa.Text),
    sa.Column("provenance", sa.JSON, nullable=False),
    sa.Index("releases_by_place", "app", "environment", "created"),
    sa.Index("releases_by_build", "build_id"),
)

release_variables = sa.Table(
    "release_variables",
    metadata,
    sa.Column("release", sa.Text, sa.ForeignKey("releases.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("key_id", sa.Text, nullable=False),
    sa.Column("sealed", sa.LargeBinary, nullable=False),
)

variables = sa.Table(
    "variables",
    metadata,
    sa.Column("app", sa.Text, primary_key=True),
    sa.Column("environment", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("build", sa.Boolean, nullable=False),
    sa.Column("managed", sa.Boolean, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("key_id", sa.Text, nullable=False),
    sa.Column("sealed", sa.LargeBinary, nullable=False),
    sa.Column("updated", sa.Text, nullable=False),
    sa.Column("who", sa.Text, nullable=False),
    sa.Column("both", sa.Boolean, nullable=False, server_default=sa.false()),  # for builds and for servers (0008)
)

rollouts = sa.Table(
    "rollouts",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("app", sa.Text, nullable=False),
    sa.Column("environment", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("release", sa.Text),
    sa.Column("who", sa.Text, nullable=False),
    sa.Column("created", sa.Text, nullable=False),
    sa.Column("finished", sa.Text),
    sa.Column("outcome", sa.Text),
    sa.Column("owner", sa.Text),
    sa.Column("cancel_requested", sa.Text),
    sa.Column("superseded_by", sa.Text),
    sa.Column("touched", sa.Boolean, nullable=False),
    sa.Column("intent", sa.JSON),
    sa.Column("error", sa.JSON),
    sa.Column("result", sa.JSON),
    sa.Column("wish", sa.JSON, nullable=False),
    sa.UniqueConstraint("number", name="rollouts_number"),
    sa.Index("rollouts_by_place", "app", "environment", "number"),
    sa.Index("rollouts_by_state", "state"),
)

events = sa.Table(
    "events",
    metadata,
    sa.Column("rollout", sa.Text, sa.ForeignKey("rollouts.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("seq", sa.Integer, primary_key=True),
    sa.Column("time", sa.Text, nullable=False),
    sa.Column("event", sa.Text, nullable=False),
    sa.Column("fields", sa.JSON, nullable=False),
)

marks = sa.Table(
    "marks",
    metadata,
    sa.Column("release", sa.Text, sa.ForeignKey("releases.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("mark", sa.Text, nullable=False),
    sa.Column("who", sa.Text, nullable=False),
    sa.Column("at", sa.Text, nullable=False),
)

pins = sa.Table(
    "pins",
    metadata,
    sa.Column("app", sa.Text, primary_key=True),
    sa.Column("environment", sa.Text, primary_key=True),
    sa.Column("release", sa.Text),
    sa.Column("automatic", sa.Boolean, nullable=False),
    sa.Column("who", sa.Text, nullable=False),
    sa.Column("at", sa.Text, nullable=False),
)

live_log = sa.Table(
    "live_log",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("app", sa.Text, nullable=False),
    sa.Column("environment", sa.Text, nullable=False),
    sa.Column("release", sa.Text, nullable=False),
    sa.Column("rollout", sa.Text, nullable=False),
    sa.Column("at", sa.Text, nullable=False),
    sa.UniqueConstraint("rollout", name="live_log_rollout"),
    sa.Index("live_log_by_place", "app", "environment", "id"),
)

asks = sa.Table(
    "asks",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("id", sa.Text, nullable=False),
    sa.Column("key", sa.Text),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("app", sa.Text, nullable=False),
    sa.Column("environment", sa.Text, nullable=False),
    sa.Column("branch", sa.Text),
    sa.Column("automatic", sa.Boolean, nullable=False),
    sa.Column("cause", sa.Text, nullable=False),
    sa.Column("who", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("reason", sa.Text),
    sa.Column("body", sa.JSON, nullable=False),
    sa.Column("wish", sa.JSON),
    sa.Column("created", sa.Text, nullable=False),
    sa.Column("started", sa.Text),
    sa.Column("finished", sa.Text),
    sa.Column("outcome", sa.Text),
    sa.Column("error", sa.JSON),
    sa.Column("owner", sa.Text),
    sa.Column("cancelled_by", sa.Text),
    sa.UniqueConstraint("id", name="asks_id"),
    sa.UniqueConstraint("key", name="asks_key"),
    sa.Index("asks_by_state", "state", "number"),
)

apps = sa.Table(
    "apps",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("repository", sa.Text, nullable=False),
    sa.Column("subdir", sa.Text, nullable=False),
    sa.Column("created", sa.Text, nullable=False),
    sa.Column("who", sa.Text, nullable=False),
)

tokens = sa.Table(
    "tokens",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("sha256", sa.Text, nullable=False),
    sa.Column("scope", sa.Text, nullable=False),
    sa.Column("apps", sa.JSON, nullable=False),
    sa.Column("note", sa.Text),
    sa.Column("created", sa.Text, nullable=False),
    sa.Column("who", sa.Text, nullable=False),
    sa.Column("expires", sa.Text),
    sa.Column("revoked", sa.Text),
    sa.Column("used", sa.Text),
)

audit = sa.Table(
    "audit",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("time", sa.Text, nullable=False),
    sa.Column("who", sa.Text, nullable=False),
    sa.Column("origin", sa.Text, nullable=False),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("app", sa.Text),
    sa.Column("environment", sa.Text),
    sa.Column("subject", sa.Text),
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Column("details", sa.JSON),
    sa.Index("audit_by_app", "app", "id"),
)

for _statement in (  # append-only, for every program that opens the database
    *(
        sa.DDL(  # type: ignore[no-untyped-call]
            f"CREATE TRIGGER audit_no_{_verb.lower()} BEFORE {_verb} ON audit "
            "BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END"
        ).execute_if(dialect="sqlite")
        for _verb in ("UPDATE", "DELETE")
    ),
    sa.DDL(  # type: ignore[no-untyped-call]
        "CREATE FUNCTION audit_stays() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'the audit log is append-only'; END $$"
    ).execute_if(dialect="postgresql"),
    sa.DDL(  # type: ignore[no-untyped-call]
        "CREATE TRIGGER audit_stays BEFORE UPDATE OR DELETE OR TRUNCATE ON audit "
        "FOR EACH STATEMENT EXECUTE FUNCTION audit_stays()"
    ).execute_if(dialect="postgresql"),
):
    sa.event.listen(audit, "after_create", _statement)

schedules = sa.Table(
    "schedules",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("app", sa.Text, nullable=False),
    sa.Column("environment", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("purpose", sa.Text, nullable=False),
    sa.Column("ref", sa.Text),
    sa.Column("release", sa.Text),
    sa.Column("at", sa.Text),
    sa.Column("cron", sa.Text),
    sa.Column("timezone", sa.Text, nullable=False),
    sa.Column("if_missed", sa.Text, nullable=False),
    sa.Column("message", sa.Text),
    sa.Column("rollout", sa.Text),
    sa.Column("wish", sa.JSON),
    sa.Column("who", sa.Text, nullable=False),
    sa.Column("created", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("next_at", sa.Text),
    sa.Column("firing", sa.Text),
    sa.Column("ended_by", sa.Text),
    sa.Index("schedules_by_state", "state", "next_at"),
    sa.Index("schedules_by_place", "app", "environment", "state"),
)

schedule_runs = sa.Table(
    "schedule_runs",
    metadata,
    sa.Column("schedule", sa.Text, sa.ForeignKey("schedules.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("planned", sa.Text, primary_key=True),
    sa.Column("fired", sa.Text, nullable=False),
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Column("key", sa.Text),
    sa.Column("why", sa.Text),
)

freezes = sa.Table(
    "freezes",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("app", sa.Text, nullable=False),
    sa.Column("environment", sa.Text, nullable=False),
    sa.Column("until", sa.Text, nullable=False),
    sa.Column("reason", sa.Text),
    sa.Column("who", sa.Text, nullable=False),
    sa.Column("created", sa.Text, nullable=False),
    sa.Column("ended", sa.Text),
    sa.Column("ended_by", sa.Text),
    sa.Index("freezes_by_place", "app", "environment", "until"),
)

approvals = sa.Table(
    "approvals",
    metadata,
    sa.Column("rollout", sa.Text, sa.ForeignKey("rollouts.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("app", sa.Text, nullable=False),
    sa.Column("environment", sa.Text, nullable=False),
    sa.Column("release", sa.Text, nullable=False),
    sa.Column("asked_by", sa.Text, nullable=False),
    sa.Column("by_another", sa.Boolean, nullable=False),
    sa.Column("created", sa.Text, nullable=False),
    sa.Column("until", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("decided_by", sa.Text),
    sa.Column("decided", sa.Text),
    sa.Column("reason", sa.Text),
    sa.Column("activation", sa.Text),
    sa.Index("approvals_by_place", "app", "environment", "state"),
)

# pushes (0003)

deliveries = sa.Table(
    "deliveries",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("app", sa.Text, nullable=False),
    sa.Column("delivery", sa.Text, nullable=False),
    sa.Column("forge", sa.Text, nullable=False),
    sa.Column("received", sa.Text, nullable=False),
    sa.Column("what", sa.JSON, nullable=False),
    sa.Column("asked", sa.JSON, nullable=False),
    sa.Column("reason", sa.Text),
    sa.UniqueConstraint("app", "delivery", name="deliveries_once"),
)

secrets = sa.Table(
    "secrets",
    metadata,
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("app", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("extra", sa.JSON, nullable=False),
    sa.Column("key_id", sa.Text, nullable=False),
    sa.Column("sealed", sa.LargeBinary, nullable=False),
    sa.Column("updated", sa.Text, nullable=False),
    sa.Column("who", sa.Text, nullable=False),
)

previews = sa.Table(
    "previews",
    metadata,
    sa.Column("app", sa.Text, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("forge", sa.Text, nullable=False),
    sa.Column("pull", sa.JSON, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("approved", sa.Text),
    sa.Column("rollout", sa.Text),
    sa.Column("release", sa.Text),
    sa.Column("address", sa.Text),
    sa.Column("comment", sa.Text),
    sa.Column("opened", sa.Text, nullable=False),
    sa.Column("updated", sa.Text, nullable=False),
    sa.Index("previews_by_state", "state", "updated"),
)

git_keys = sa.Table(
    "git_keys",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("fingerprint", sa.Text, nullable=False),
    sa.Column("line", sa.Text, nullable=False),
    sa.Column("apps", sa.JSON, nullable=False),
    sa.Column("created", sa.Text, nullable=False),
    sa.Column("who", sa.Text, nullable=False),
    sa.UniqueConstraint("fingerprint", name="git_keys_fingerprint"),
)

apscheduler_jobs = sa.Table(
    "apscheduler_jobs",  # the timer's own, made again from `schedules` at each start
    metadata,
    sa.Column("id", sa.Unicode(191), primary_key=True),
    sa.Column("next_run_time", sa.Float(25), index=True),
    sa.Column("job_state", sa.LargeBinary, nullable=False),
)

# several daemons on one database (0006)

owners = sa.Table(
    "owners",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("machine", sa.Text, nullable=False),
    sa.Column("folder", sa.Text, nullable=False),
    sa.Column("command", sa.Text, nullable=False),
    sa.Column("since", sa.Text, nullable=False),
    sa.Column("until", sa.Float(53), nullable=False),
)

holders = sa.Table(
    "holders",
    metadata,
    sa.Column("lock", sa.Text, primary_key=True),
    sa.Column("held", sa.JSON, nullable=False),
)

traffic = sa.Table(
    "traffic",  # one host's minute or hour of requests (0007)
    metadata,
    sa.Column("app", sa.Text, primary_key=True),
    sa.Column("environment", sa.Text, primary_key=True),
    sa.Column("host", sa.Text, primary_key=True),
    sa.Column("start", sa.Float(53), primary_key=True),
    sa.Column("width", sa.Integer, nullable=False),
    sa.Column("seconds", sa.Float(53), nullable=False),
    sa.Column("cursor", sa.Float(53), nullable=False),
    sa.Column("counts", sa.LargeBinary, nullable=False),
    sa.Index("traffic_by_start", "start"),
)

facts = sa.Table(
    "facts",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)
