"""The daemon's queue: asks come in, each once; the dispatcher takes them out in their order.

An ask's id is the id of the rollout that it becomes, so that whoever asked can follow it from the first moment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from deployd.domain.ask import Ask
from deployd.domain.daemon import QueuedAsk
from deployd.domain.ids import AppName, EnvironmentName, ReleaseId, RolloutId
from deployd.errors import NotFoundError
from deployd.store.moments import now
from deployd.store.tables import asks as table
from deployd.store.tables import audit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from deployd.store.database import Database


# made once: in a burst, putting a statement together takes longer than doing it
_ADD = insert(table).on_conflict_do_nothing(index_elements=[table.c.key])
_AUDIT = sa.insert(audit)
_REPLACE = (
    sa.update(table)
    .where(
        table.c.state == "waiting",
        table.c.kind == "release",
        table.c.automatic.is_(True),
        table.c.app == sa.bindparam("of_app"),
        table.c.environment == sa.bindparam("of_environment"),
        table.c.branch == sa.bindparam("of_branch"),
        table.c.number < sa.select(table.c.number).where(table.c.id == sa.bindparam("by")).scalar_subquery(),
    )
    .values(state="done", outcome="superseded", reason=sa.bindparam("reason"), finished=sa.bindparam("finished"))
)


class Queue:
    """Asks by id, in the order in which they came."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, ask: Ask, *, wish: Mapping[str, Any] | None = None, origin: str = "daemon") -> tuple[RolloutId, bool]:
        """Keep an ask, and write the audit log; returns its id and True, or the first one's of that key and False.

        A push replaces those of the same app, environment and branch that still wait.
        """
        with self._database.write() as connection:
            return insert_ask(connection, ask, wish=wish, origin=origin)

    def get(self, rollout: RolloutId) -> QueuedAsk:
        """One ask; raises NotFoundError."""
        found = self.find(rollout)
        if found is None:
            raise NotFoundError(
                f"there is no rollout {rollout}", code="rollout-unknown", fix="deployd rollouts lists those there are"
            )
        return found

    def find(self, rollout: RolloutId) -> QueuedAsk | None:
        """One ask, or None."""
        return next(iter(self._several(sa.select(table).where(table.c.id == str(rollout)))), None)

    def by_key(self, key: str) -> QueuedAsk | None:
        """The ask of a key, or None."""
        return next(iter(self._several(sa.select(table).where(table.c.key == key))), None)

    def waiting(self) -> tuple[QueuedAsk, ...]:
        """Those that wait, oldest first."""
        return self._several(sa.select(table).where(table.c.state == "waiting").order_by(table.c.number))

    def running(self) -> tuple[QueuedAsk, ...]:
        """Those that were begun and are not at their end, oldest first."""
        return self._several(sa.select(table).where(table.c.state == "running").order_by(table.c.number))

    def latest(self, app: AppName | None = None, *, limit: int = 50) -> tuple[QueuedAsk, ...]:
        """Asks, newest first."""
        query = sa.select(table).order_by(table.c.number.desc()).limit(limit)
        return self._several(query if app is None else query.where(table.c.app == str(app)))

    def of_push(self, app: AppName, rollout: RolloutId) -> tuple[QueuedAsk, ...]:
        """A push's ask, and those that it became for further environments, oldest first."""
        mine = sa.or_(table.c.id == str(rollout), table.c.key.startswith(f"{rollout}:", autoescape=True))
        return self._several(sa.select(table).where(table.c.app == str(app), mine).order_by(table.c.number))

    def of_branch(self, app: AppName, branch: str, *, cause: str) -> tuple[QueuedAsk, ...]:
        """All asks of a cause for a branch (a pull request's is `pull/12`), newest first."""
        mine = (table.c.app == str(app), table.c.branch == branch, table.c.cause == cause)
        return self._several(sa.select(table).where(*mine).order_by(table.c.number.desc()))

    def live_since(self, queued: QueuedAsk) -> RolloutId | None:
        """The newest rollout to the same place that a person asked for later and that went live; no rollback."""
        place = (table.c.app == str(queued.ask.app), table.c.environment == str(queued.ask.environment))
        mine = (table.c.number > queued.number, table.c.automatic.is_(False), table.c.kind != "rollback")
        query = sa.select(table.c.id).where(*place, *mine, table.c.outcome == "live").order_by(table.c.number.desc())
        with self._database.read() as connection:
            found = connection.execute(query.limit(1)).scalar()
        return RolloutId(found) if found else None

    def start(self, rollout: RolloutId, *, owner: str | None = None, alone: bool = False) -> bool:
        """Take a waiting ask; False when it waits no more, or (`alone`) another one of its place runs."""
        changes = {"state": "running", "started": now(), "reason": None, "owner": owner}
        statement = sa.update(table).where(table.c.id == str(rollout), table.c.state == "waiting").values(**changes)
        if alone:
            other = table.alias()
            here = (other.c.app == table.c.app, other.c.environment == table.c.environment)
            statement = statement.where(~sa.exists().where(other.c.state == "running", *here))
        with self._database.write() as connection:
            return bool(connection.execute(statement).rowcount)

    def owner_of(self, rollout: RolloutId) -> str | None:
        """Which process took it out of the queue."""
        with self._database.read() as connection:
            found: str | None = connection.execute(sa.select(table.c.owner).where(table.c.id == str(rollout))).scalar()
        return found

    def ask_to_stop(self, rollout: RolloutId, *, who: str) -> bool:
        """Ask whoever took it to begin nothing; False when nobody runs it."""
        return self._change(rollout, {"cancelled_by": who}, only="running")

    def cancelled_by(self, rollout: RolloutId) -> str | None:
        """Who asked that it is not begun."""
        with self._database.read() as connection:
            query = sa.select(table.c.cancelled_by).where(table.c.id == str(rollout))
            found: str | None = connection.execute(query).scalar()
        return found

    def keep_wish(self, rollout: RolloutId, wish: Mapping[str, Any]) -> None:
        """Keep the wish that was made of it: it is the same from then on."""
        self._change(rollout, {"wish": dict(wish)}, only=None)

    def hold(self, rollout: RolloutId, reason: str | None) -> None:
        """Keep why it waits."""
        self._change(rollout, {"reason": reason}, only="waiting")

    def place(self, rollout: RolloutId, environment: EnvironmentName, ask: Ask) -> None:
        """Keep the environment that a push's branch was found to be for, and the ask with it."""
        with self._database.write() as connection:
            connection.execute(
                sa.update(table)
                .where(table.c.id == str(rollout), table.c.state == "waiting")
                .values(environment=str(environment), body=ask.to_json())
            )
            _replace_older(connection, rollout, ask)

    def put_back(self, rollout: RolloutId) -> bool:
        """Let it wait again: what ran it died before it became a rollout. False when nobody ran it."""
        return self._change(rollout, {"state": "waiting", "started": None, "owner": None}, only="running")

    def finish(
        self,
        rollout: RolloutId,
        *,
        outcome: str,
        reason: str | None = None,
        error: Mapping[str, Any] | None = None,
        only: str | None = None,
    ) -> bool:
        """Keep how it ended; with `only`, if it is in that state. False when it was not."""
        changes = {
            "state": "done",
            "outcome": outcome,
            "reason": reason,
            "error": dict(error) if error else None,
            "finished": now(),
        }
        return self._change(rollout, changes, only=only)

    def _change(self, rollout: RolloutId, changes: Mapping[str, Any], *, only: str | None) -> bool:
        statement = sa.update(table).where(table.c.id == str(rollout)).values(**changes)
        if only is not None:
            statement = statement.where(table.c.state == only)
        with self._database.write() as connection:
            return bool(connection.execute(statement).rowcount)

    def _several(self, query: sa.Select[Any]) -> tuple[QueuedAsk, ...]:
        with self._database.read() as connection:
            return tuple(_queued(row) for row in connection.execute(query).mappings())


def insert_ask(
    connection: sa.Connection,
    ask: Ask,
    *,
    wish: Mapping[str, Any] | None = None,
    origin: str = "daemon",
    rollout: RolloutId | None = None,
    entries: list[dict[str, Any]] | None = None,
) -> tuple[RolloutId, bool]:
    """`Queue.add` within a transaction of the caller's: a delivery is kept together with what it asks for.

    `rollout` is the id that a new one gets. The audit log's entry goes into `entries`, for `write_audit`, if there is
    such a list.
    """
    rollout, at = rollout or RolloutId.new(), now()
    fields = {
        "id": str(rollout),
        "key": ask.key,
        "kind": ask.kind,
        "app": str(ask.app),
        "environment": str(ask.environment),
        "branch": ask.branch,
        "automatic": ask.automatic,
        "cause": ask.cause,
        "who": ask.who,
        "state": "waiting",
        "body": ask.to_json(),
        "wish": dict(wish) if wish is not None else None,
        "created": at,
    }
    done = connection.execute(_ADD, fields)
    if not done.rowcount:
        found = connection.execute(sa.select(table.c.id).where(table.c.key == ask.key)).scalar_one()
        return RolloutId(found), False
    said = {
        "time": at,
        "who": ask.who,
        "origin": origin,
        "action": ask.kind,
        "app": str(ask.app),
        "environment": str(ask.environment) or None,
        "subject": str(rollout),
        "outcome": "asked",
        "details": {"cause": ask.cause, "branch": ask.branch, "commit": ask.commit, "release": ask.release},
    }
    if entries is None:
        write_audit(connection, [said])
    else:
        entries.append(said)
    _replace_older(connection, rollout, ask)
    return rollout, True


def write_audit(connection: sa.Connection, entries: Sequence[Mapping[str, Any]]) -> None:
    """Write entries of the audit log, all at once."""
    if entries:
        connection.execute(_AUDIT, entries)


def _replace_older(connection: sa.Connection, rollout: RolloutId, ask: Ask) -> None:
    if not (ask.automatic and ask.kind == "release" and ask.branch is not None):
        return
    place = {"of_app": str(ask.app), "of_environment": str(ask.environment), "of_branch": ask.branch}
    changes = {"by": str(rollout), "reason": f"replaced by {rollout}", "finished": now()}
    connection.execute(_REPLACE, place | changes)


def ask_from_json(data: Mapping[str, Any]) -> Ask:
    """Read what `Ask.to_json` wrote."""
    return Ask(
        **{
            **data,
            "app": AppName(data["app"]),
            "environment": EnvironmentName(data["environment"]),
            "release": ReleaseId(data["release"]) if data["release"] else None,
        }
    )


def _queued(row: Any) -> QueuedAsk:
    return QueuedAsk(
        id=RolloutId(row["id"]),
        number=row["number"],
        ask=ask_from_json(row["body"]),
        state=row["state"],
        reason=row["reason"],
        wish=row["wish"],
        created=row["created"],
        started=row["started"],
        finished=row["finished"],
        outcome=row["outcome"],
        error=row["error"],
    )
