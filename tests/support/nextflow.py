"""A cell of the matrix -> its app from an empty folder to a second release on a host, asked at each point.

What a person does: `deployd init`, `deployd release`, a restart, a change, `deployd release`, `deployd rollback`.
"""

from __future__ import annotations

import json
import re
import traceback
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from deployd.domain.artifact import FileEntry
from deployd.stages import package
from tests.support import nextcells, nextchecks
from tests.support.nextchecks import Visitor
from tests.support.workbench import Workbench, snapshot

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from deployd.domain.artifact import Manifest
    from tests.support.nextcells import Cell
    from tests.support.nextstrangers import Stranger
    from tests.support.world import World

_TROUBLE = re.compile(r"error|unhandled|failed|warn|\u2a2f|EACCES|EROFS|ENOENT", re.IGNORECASE)
_FINE = re.compile(
    r"Custom cache|DEP0\d+|trace-deprecation|experimental|For production Image Optimization|Experiments|NoFallbackError"
    r"|sharp|middleware.*deprecated|AbortError|Invalid Server Actions request|forwarded Server Actions|ResponseAborted"
)
_SECRET = (b"never-travels-1", b"never-travels-2")


@dataclass
class Row:
    """What came out of one cell: the features that were asked, and those that failed with why."""

    cell: Cell
    passed: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)

    def tried(self, name: str, run: Callable[[], object]) -> object:
        """Run one part; a failure is kept, and the others still run."""
        try:
            result = run()
        except Exception as error:  # noqa: BLE001 - kept, and told at the end
            where = traceback.extract_tb(error.__traceback__)[-1]
            self.failed[name] = f"{type(error).__name__} at {where.name}:{where.lineno}: {str(error)[:700]}"
            return None
        self.passed.append(name)
        return result


@dataclass
class App:
    """An app of one cell in a person's folder, on the first host of a world."""

    world: World
    cell: Cell

    @property
    def folder(self) -> Path:
        """The repository."""
        return self.world.app

    @property
    def visitor(self) -> Visitor:
        """Somebody who asks the host's web server."""
        return Visitor(address=self.world.hosts[0].address, cell=self.cell)

    def make(self) -> None:
        """Files, a lock file, a commit, and `deployd init`."""
        (self.folder / "deployd.toml").unlink(missing_ok=True)
        nextcells.write(self.cell, self.folder)
        Workbench(self.world.state).lock(self.folder, manager=self.cell.manager)
        nextcells.commit(self.folder)
        self.world.run("init", "--yes", "--name", self.world.name, "--hosts", self.world.hosts[0].name)
        self.before = snapshot(self.folder)

    def release(self) -> str:
        """`deployd release`; its id."""
        told = self.world.run("release", "--json", timeout=900)
        return str(told.last["release"])

    def manifest(self, release: str) -> Manifest:
        """What is in a release."""
        shown = self.world.run("show", release, "--json").document
        return package.load(self.world.state / "artifacts", shown["artifact"])


def run(world: World, cell: Cell, *, rebuild: bool = True) -> Row:
    """Everything; the row says what failed. Without `rebuild` the second release is of the same artifact, in seconds."""
    row, app = Row(cell), App(world, cell)
    app.make()
    first = app.release()
    visitor = app.visitor
    row.tried("tree untouched", lambda: untouched(app))
    row.tried("nothing secret", lambda: nothing_secret(app, first))
    for check in nextchecks.checks(cell):
        row.tried(check.__name__, lambda check=check: check(visitor))
    shown: dict[str, int] = {}
    if cell.server:
        row.tried("on_demand", lambda: shown.update(nextchecks.on_demand(visitor)))
        row.tried("restart", lambda: restart(app, shown))
    row.tried("second release", lambda: second(app, first, shown, rebuild=rebuild))
    if cell.server:
        row.tried("no errors in the log", lambda: quiet(app))
    return row


def visit(world: World, stranger: Stranger, *, port: int = 80) -> dict[str, str]:
    """A stranger's app, from its files to its answers; what did not answer as it should, by path."""
    (world.app / "deployd.toml").unlink(missing_ok=True)
    stranger.write(world.app)
    Workbench(world.state).lock(world.app, manager=stranger.manager)
    nextcells.commit(world.app)
    where = ("-C", stranger.folder) if stranger.folder else ()
    world.run("init", "--yes", "--name", world.name, "--hosts", world.hosts[0].name, *where)
    address = world.hosts[0].address
    if port != 80:  # beside another app on the same host
        toml = world.app / stranger.folder / "deployd.toml"
        table = "[environments.production]\n"
        toml.write_text(toml.read_text().replace(table, f"{table}port = {port}\n"))
        address = f"{address}:{port}"
    world.run("release", "--json", *where, timeout=900)
    visitor = Visitor(address=address, cell=nextcells.PLAIN)
    wrong = {}
    for path, text in stranger.answers.items():
        answer = visitor.ask(path)
        if answer.status != 200 or text not in answer.text:
            wrong[path] = f"{answer.status}: {answer.text[:500]}"
    for path, to in stranger.redirects.items():
        answer = visitor.ask(path)
        if to not in answer.header("location"):
            wrong[path] = f"{answer.status}: {answer.header('location')}"
    wrong |= {
        path: str(found) for path, status in stranger.statuses.items() if (found := visitor.ask(path).status) != status
    }
    bad = trouble(world, *where)
    return wrong | ({"log": "\n".join(bad[:10])} if bad else {})


def untouched(app: App) -> None:
    """The person's folder is as before."""
    now = snapshot(app.folder)
    assert {name for name in now if now[name] != app.before.get(name)} == set()


def nothing_secret(app: App, release: str) -> None:
    """No file of the artifact holds what stands in .env, is one of those, or a source map."""
    manifest = app.manifest(release)
    names = [entry.path for entry in manifest.files]
    assert not [name for name in names if name.rpartition("/")[2].startswith((".env", ".npmrc", ".git"))]
    assert not [name for name in names if name.endswith((".js.map", ".css.map"))]
    objects = app.world.state / "artifacts" / "objects"
    for entry in manifest.files:
        if isinstance(entry, FileEntry) and entry.size < 3_000_000:
            data = (objects / entry.sha256[:2] / entry.sha256).read_bytes()
            assert not any(secret in data for secret in _SECRET), entry.path


def restart(app: App, shown: dict[str, int]) -> None:
    """What was made anew on demand survives a restart of the process."""
    app.world.run("restart", "--yes")
    for path, at in shown.items():
        assert app.visitor.at(path) == at, path


def second(app: App, first: str, shown: dict[str, int], *, rebuild: bool) -> None:
    """The next release keeps the old chunks and takes over none of the pages made anew; going back has them again."""
    visitor = app.visitor
    old = list(nextchecks.hashed(visitor, visitor.page("/").text))
    if rebuild:
        place = "src/lib/version.js" if app.cell.src else "lib/version.js"
        (app.folder / place).write_text("export const version = 'version two';\n")
        nextcells.commit(app.folder)
    assert app.release() != first
    home = visitor.page("/").text
    if rebuild:
        assert "version two" in home, home[:400]
        assert set(old) != set(nextchecks.hashed(visitor, home))
    for path in old:
        answer = visitor.ask(path)
        assert answer.status == 200, path
        assert "immutable" in answer.header("cache-control"), path
    for path, at in shown.items():
        assert visitor.at(path) != at, f"{path} in the next release"
    app.world.run("rollback", first, "--yes")
    for path, at in shown.items():
        assert visitor.at(path) == at, f"{path} after going back"


def quiet(app: App) -> None:
    """The app has logged no trouble of its own."""
    bad = trouble(app.world)
    assert not bad, "\n".join(bad[:10])


def trouble(world: World, *where: str) -> list[str]:
    """What the app has logged of errors and warnings."""
    told = world.run("logs", "-n", "1000", "--json", *where, check=None)
    lines = [str(json.loads(line).get("message", "")) for line in told.out.splitlines() if line.startswith("{")]
    assert lines, told.err
    return [line for line in lines if _TROUBLE.search(line) and not _FINE.search(line)]
