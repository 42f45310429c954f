"""Releases: what was made of which commit, how far it came, and what people said of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from deployd.domain.artifact import Provenance
from deployd.domain.ids import AppName, ArtifactName, BuildId, EnvironmentName, ReleaseId, RuntimeName
from deployd.domain.release import Mark, Release, ReleaseState
from deployd.errors import NotFoundError
from deployd.store.moments import now
from deployd.store.tables import marks
from deployd.store.tables import releases as table

if TYPE_CHECKING:
    from deployd.store.database import Database


class Releases:
    """Releases by id."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, release: Release, *, provenance: Provenance) -> None:
        """Keep a new release; doing it twice does no harm."""
        fields = {
            "id": str(release.id),
            "app": str(release.app),
            "environment": str(release.environment),
            "artifact": str(release.artifact),
            "build_id": str(release.build_id),
            "runtime": str(release.runtime),
            "commit": release.commit,
            "branch": release.branch,
            "subject": release.subject,
            "dirty": release.dirty,
            "who": release.who,
            "message": release.message,
            "created": release.created,
            "state": str(release.state),
            "live_at": release.live_at,
            "provenance": {name: getattr(provenance, name) for name in Provenance.__slots__},
        }
        with self._database.write() as connection:
            connection.execute(insert(table).values(**fields).on_conflict_do_nothing())

    def get(self, release: ReleaseId) -> Release:
        """One release; raises NotFoundError."""
        with self._database.read() as connection:
            row = connection.execute(_query().where(table.c.id == str(release))).mappings().first()
        if row is None:
            raise _unknown(release)
        return _release(row)

    def find(self, release: ReleaseId) -> Release | None:
        """One release, or None."""
        with self._database.read() as connection:
            row = connection.execute(_query().where(table.c.id == str(release))).mappings().first()
        return _release(row) if row is not None else None

    def provenance(self, release: ReleaseId) -> Provenance:
        """Where a release comes from; raises NotFoundError."""
        with self._database.read() as connection:
            found = connection.execute(sa.select(table.c.provenance).where(table.c.id == str(release))).scalar()
        if found is None:
            raise _unknown(release)
        return Provenance(**found)

    def of(self, app: AppName, environment: EnvironmentName, *, limit: int | None = None) -> tuple[Release, ...]:
        """All releases of an app and environment, newest first."""
        query = (
            _query()
            .where(table.c.app == str(app), table.c.environment == str(environment))
            .order_by(table.c.created.desc(), table.c.id.desc())
            .limit(limit)
        )
        with self._database.read() as connection:
            return tuple(_release(row) for row in connection.execute(query).mappings())

    def built(self, app: AppName, environment: EnvironmentName, build_id: BuildId) -> Release | None:
        """The newest release that was made by this very build, whose artifact can serve again."""
        query = (
            _query()
            .where(table.c.app == str(app), table.c.environment == str(environment), table.c.build_id == str(build_id))
            .order_by(table.c.created.desc())
            .limit(1)
        )
        with self._database.read() as connection:
            row = connection.execute(query).mappings().first()
        return _release(row) if row is not None else None

    def of_artifact(self, artifact: ArtifactName, *, limit: int) -> tuple[Release, ...]:
        """The releases that have an artifact, of any environment; what is or was live first, then the newest."""
        query = (
            _query()
            .where(table.c.artifact == str(artifact))
            .order_by(table.c.live_at.is_(None), table.c.created.desc(), table.c.id.desc())
            .limit(limit)
        )
        with self._database.read() as connection:
            return tuple(_release(row) for row in connection.execute(query).mappings())

    def set_state(self, release: ReleaseId, state: ReleaseState) -> None:
        """Keep how far a release came; becoming live is remembered for ever."""
        changes: dict[str, Any] = {"state": str(state)}
        if state is ReleaseState.LIVE:
            changes["live_at"] = now()
        with self._database.write() as connection:
            if state is ReleaseState.LIVE:
                row = connection.execute(
                    sa.select(table.c.app, table.c.environment).where(table.c.id == str(release))
                ).first()
                if row is not None:
                    connection.execute(
                        sa.update(table)
                        .where(
                            table.c.app == row.app,
                            table.c.environment == row.environment,
                            table.c.state == str(ReleaseState.LIVE),
                        )
                        .values(state=str(ReleaseState.RETIRED))
                    )
            connection.execute(sa.update(table).where(table.c.id == str(release)).values(**changes))


def _query() -> sa.Select[Any]:
    return sa.select(table, marks.c.mark).select_from(table.outerjoin(marks, marks.c.release == table.c.id))


def _unknown(release: ReleaseId) -> NotFoundError:
    return NotFoundError(
        f"there is no release {release}", code="release-unknown", fix="deployd releases lists those there are"
    )


def _release(row: Any) -> Release:
    return Release(
        id=ReleaseId(row["id"]),
        app=AppName(row["app"]),
        environment=EnvironmentName(row["environment"]),
        artifact=ArtifactName(row["artifact"]),
        build_id=BuildId(row["build_id"]),
        runtime=RuntimeName(row["runtime"]),
        commit=row["commit"],
        branch=row["branch"],
        subject=row["subject"],
        dirty=row["dirty"],
        who=row["who"],
        message=row["message"],
        created=row["created"],
        state=ReleaseState(row["state"]),
        mark=Mark(row["mark"]) if row["mark"] else None,
        live_at=row["live_at"],
    )
