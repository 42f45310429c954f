"""`deployd database`: which one is in force and who uses it, and the way from SQLite to PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployd.cli.verbs import Noun
from deployd.errors import UsageError

if TYPE_CHECKING:
    from deployd.cli.context import Cli

databases = Noun("database", "Where deployd keeps what it knows: SQLite in the state folder, or PostgreSQL.")


@databases.verb("show", example="deployd database show")
def show(cli: Cli) -> None:
    """Say which database this machine's settings name, and which processes share it."""
    store = cli.client.store
    store.hosts.all()
    presence = store.presence
    living = presence.living() if presence else ()
    if cli.options.json:
        cli.out.document({"database": store.database.told, "shared": store.database.shared, "processes": list(living)})
        return
    cli.out.line(store.database.told)
    if living:
        rows = [(str(one["machine"]), str(one["name"]).partition(":")[0], str(one["since"])) for one in living]
        cli.out.table(("MACHINE", "PROCESS", "SINCE"), rows)


@databases.verb("copy", example="deployd database copy")
def copy(cli: Cli) -> None:
    """Copy the state folder's SQLite file into the PostgreSQL database that `database_url` names.

    Stop the daemon first. The database must be empty; the file stays as it is.
    """
    from deployd.rollouts import locks
    from deployd.settings import database_url
    from deployd.store import Store
    from deployd.store.copying import copy as copy_all

    url = database_url(cli.settings)
    if url is None or not cli.paths.database.exists():
        raise UsageError(
            "there is nothing to copy: " + ("database_url is not set" if url is None else f"no {cli.paths.database}"),
            code="nothing-to-copy",
            fix="set database_url (or DEPLOYD_DATABASE_URL), and name the state folder: --state-dir",
        )
    source, target = Store(cli.paths), Store(cli.paths, url)
    with locks.folder_lock(cli.paths) as folder:
        if not folder.take(locks.held_by(who=cli.who, command=cli.command)):
            raise folder.busy("this state folder")
        try:
            copied = copy_all(source, target)
        finally:
            source.close()
            target.close()
    rows = sum(copied.values())
    cli.out.result({"database": target.database.told, "rows": copied}, f"{rows} rows are in {target.database.told} now")
    cli.out.next("systemctl start deployd", "deployd status")
