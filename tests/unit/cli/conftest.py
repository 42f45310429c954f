"""A command line to drive: argv goes in, exit code and both streams come out; behind it a client in memory."""

from __future__ import annotations

import io
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

import pytest

from deployd import process
from deployd.cli import main
from deployd.cli.render import Screen
from deployd.domain.events import Event, Report
from deployd.domain.host import Host
from deployd.domain.ids import (
    AppName,
    ArtifactName,
    BuildId,
    EnvironmentName,
    HostName,
    ReleaseId,
    RolloutId,
    RuntimeName,
)
from deployd.domain.release import Mark, Release, ReleaseState
from deployd.domain.secret import Secret
from deployd.errors import DeploydError, NotFoundError
from deployd.paths import StatePaths
from deployd.rollouts.wishes import (
    Action,
    HostState,
    LockState,
    LogLine,
    Pin,
    Plan,
    PruneResult,
    RolloutRecord,
    RolloutResult,
    Status,
    Variable,
)
from tests.unit.cli.fakes import R1, FakeDoors, FakeServers

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from deployd.servers import Servers

APP_FILE = """\
name = "shop"
[environments.production]
branch = "main"
hosts = ["web1", "web2"]
[environments.staging]
hosts = ["web1"]
"""
R2 = ReleaseId("20261121-101530-3fa9c01-k2x7")
ROLLOUT = RolloutId("r-20261121-101530-k2x7ab")


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@dataclass
class Outcome:
    """How a command ended."""

    exit: int
    out: str
    err: str


def a_host(name: str = "web1") -> Host:
    return Host(name=HostName(name), address=f"192.0.2.{name[-1]}", host_key="ssh-ed25519 " + "A" * 67 + "=")


def a_release(release: ReleaseId, **changes: Any) -> Release:
    made = Release(
        id=release,
        app=AppName("shop"),
        environment=EnvironmentName("production"),
        artifact=ArtifactName("a" + "0" * 32),
        build_id=BuildId("b" + "0" * 20),
        runtime=RuntimeName("node-22.22.3-linux-x64-glibc"),
        commit="3fa9c01" + "0" * 33,
        branch="main",
        subject="Fix the price",
        dirty=False,
        who="ada",
        message=None,
        created="2026-11-21T10:15:30+00:00",
        state=ReleaseState.RETIRED,
        live_at="2026-11-21T10:16:00+00:00",
    )
    return replace(made, **changes)


@dataclass
class FakeClient:
    """The client's nouns in memory. `fail` is raised by whatever rolls out or asks hosts."""

    known: dict[str, Host] = field(default_factory=lambda: {name: a_host(name) for name in ("web1", "web2")})
    kept: dict[tuple[str, str, str], tuple[str, bool]] = field(default_factory=dict)
    both: set[str] = field(default_factory=set)
    made: list[Release] = field(
        default_factory=lambda: [a_release(R2, state=ReleaseState.LIVE), a_release(R1, mark=Mark.GOOD)]
    )
    fail: DeploydError | None = None
    outcome: str = "live"
    wishes: list[Any] = field(default_factory=list)
    lines: list[LogLine] = field(default_factory=list)
    held: list[LockState] = field(default_factory=list)
    unlocked: list[str] = field(default_factory=list)
    mixed: bool = False
    restarts: int = 0
    under_way: dict[str, Any] | None = None
    uncommitted: list[str] = field(default_factory=list)
    pinned: Pin | None = None
    in_queue: list[dict[str, Any]] = field(default_factory=list)
    told: dict[str, Any] = field(default_factory=dict)
    waits: threading.Event | None = None
    used_engine: bool = False
    paths: Any = None
    doors: FakeDoors = field(default_factory=FakeDoors)
    destroyed: list[tuple[tuple[str, ...], bool, bool]] = field(default_factory=list)
    drains: list[Any] = field(default_factory=list)
    drained_by: dict[str, str] = field(default_factory=dict)

    @property
    def servers(self) -> Servers:
        return FakeServers(self)  # type: ignore[arg-type]

    def add_host(self, host: Host) -> None:
        self.known[host.name] = host

    def hosts(self) -> tuple[Host, ...]:
        return tuple(self.known[name] for name in sorted(self.known))

    def certificates(self, *_where: object) -> tuple[object, ...]:
        return ()

    def host(self, name: HostName) -> Host:
        if name not in self.known:
            raise NotFoundError(f"there is no host {name}", code="host-not-found", fix="see `deployd host list`")
        return self.known[name]

    def remove_host(self, name: HostName) -> None:
        del self.known[name]

    def set_variable(
        self, app: str, environment: str, key: str, value: Secret, *, build: bool = False, both: bool = False
    ) -> None:
        self.kept[app, environment, key] = (value.reveal(), build)
        self.both = {*self.both, key} if both else self.both - {key}

    def unset_variable(self, app: str, environment: str, key: str) -> None:
        del self.kept[app, environment, key]

    def variables(self, app: str, environment: str) -> tuple[Variable, ...]:
        return tuple(
            Variable(key=key, build=build, both=key in self.both, updated="2026-11-21T10:15:30+00:00", who="ada")
            for (one, two, key), (_, build) in sorted(self.kept.items())
            if (one, two) == (app, environment)
        )

    def reveal_variables(self, app: str, environment: str) -> dict[str, Secret]:
        return {
            key: Secret(value) for (one, two, key), (value, _) in self.kept.items() if (one, two) == (app, environment)
        }

    def plan(self, wish: Any) -> Plan:
        self._check()
        actions = tuple(
            Action(stage="flip", host=host, what=f"to {R2}", reason="it is prepared") for host in wish.hosts
        )
        first = Action(stage="build", host=None, what="npm run build", reason="the tree is new")
        return Plan(app=wish.app, environment=wish.environment, actions=(first, *actions))

    def release(self, wish: Any, *, report: Report, cancel: threading.Event) -> RolloutResult:
        return self._roll(wish, report, cancel, kind="release")

    def promote(self, wish: Any, *, report: Report, cancel: threading.Event) -> RolloutResult:
        return self._roll(wish, report, cancel, kind="promote")

    def rollback(self, wish: Any, *, report: Report, cancel: threading.Event) -> RolloutResult:
        return self._roll(wish, report, cancel, kind="rollback")

    def activate(self, wish: Any, *, report: Report, cancel: threading.Event) -> RolloutResult:
        return self._roll(wish, report, cancel, kind="activate")

    def _roll(self, wish: Any, report: Report, cancel: threading.Event, *, kind: str) -> RolloutResult:
        self.wishes.append(wish)
        names = [str(host) for host in wish.hosts]
        report(Event.ROLLOUT_STARTED, rollout=ROLLOUT, kind=kind, app="shop", environment="production", hosts=names)
        if self.uncommitted:
            report(Event.WORK_NOT_SHIPPED, files=self.uncommitted)
        report(Event.STAGE_STARTED, stage="ship")
        for name in names:
            report(Event.HOST_COMPARED, host=name, missing=3, bytes_missing=4096)
            report(Event.RELEASE_SEALED, host=name, files=10, linked=7, bytes_sent=4096, seconds=0.2)
        report(Event.STAGE_FINISHED, stage="ship", seconds=0.4)
        if self.waits and not cancel.wait(20):
            raise AssertionError("nobody cancelled")
        self._check()
        for name in names:
            report(Event.RELEASE_FLIPPED, host=name, previous=R1, flip_us=180)
        return RolloutResult(
            rollout=ROLLOUT,
            release=R2,
            outcome=self.outcome,  # type: ignore[arg-type]
            previous=R1,
            duration_s=14.2,
            flip_s=0.009,
            hosts=tuple({"name": name, "release": R2, "state": "live"} for name in names),
        )

    def resume(self, *, report: Report, cancel: threading.Event) -> list[RolloutResult]:
        self._check()
        return []

    def cancel(self, rollout: Any, app: Any = None, environment: Any = None) -> RolloutId:
        self._check()
        return rollout or ROLLOUT

    def prune(self, app: str, environment: str, *, hosts: Any, options: Any, report: Report) -> tuple[PruneResult, ...]:
        self._check()
        return tuple(PruneResult(host=host, removed=(R1,), freed_bytes=2048) for host in hosts)

    def restart(self, app: str, environment: str, *, hosts: Any, report: Report) -> None:
        self._check()

    def mark(self, release: ReleaseId, mark: Mark) -> None:
        self.made = [replace(one, mark=mark) if one.id == release else one for one in self.made]

    def pin(self, app: str, environment: str, *, release: ReleaseId | None = None) -> Pin:
        self.pinned = Pin(release=release, automatic=False, who="ada", at="2026-11-21T10:15:30+00:00")
        return self.pinned

    def unpin(self, app: str, environment: str) -> bool:
        was, self.pinned = self.pinned is not None, None
        return was

    def status(self, app: str, environment: str, hosts: Sequence[HostName]) -> Status:
        self._check()
        states = tuple(
            HostState(
                name=name,
                address=f"192.0.2.{name[-1]}",
                release=R1 if self.mixed and number else R2,
                state="live",
                instances=2,
                wanted=2,
                url=f"http://192.0.2.{name[-1]}/",
                restarts=self.restarts if number else 0,
            )
            for number, name in enumerate(hosts)
        )
        return Status(
            app=AppName(app),
            environment=EnvironmentName(environment),
            release=None if self.mixed else R2,
            commit=None if self.mixed else "3fa9c01" + "0" * 33,
            since="2026-11-21T10:16:00+00:00",
            hosts=states,
            previous=R1,
            rollout=self.under_way,
            mixed=self.mixed,
            pin=self.pinned,
        )

    def releases(self, app: str, environment: str) -> tuple[Release, ...]:
        return tuple(release for release in self.made if release.environment == environment)

    def release_by_id(self, release: ReleaseId) -> Release:
        return next(one for one in self.made if one.id == release)

    def story(self, rollout: str) -> dict[str, Any]:
        del rollout
        return self.told

    def waiting(self, app: Any = None, environment: Any = None) -> list[dict[str, Any]]:
        return self.in_queue

    def rollouts(self, app: Any = None, environment: Any = None, *, limit: int = 20) -> tuple[RolloutRecord, ...]:
        shown = {
            "id": ROLLOUT,
            "kind": "release",
            "app": app,
            "environment": environment,
            "state": "finished",
            "release": R2,
            "who": "ada",
            "created": "2026-11-21T10:15:30+00:00",
            "finished": "2026-11-21T10:16:30+00:00",
            "outcome": "live",
        }
        others = dict.fromkeys(one.name for one in fields(RolloutRecord))
        return (RolloutRecord(**others | shown),)[:limit]

    def logs(self, app: str, environment: str, **arguments: Any) -> Iterator[LogLine]:
        self._check()
        self.wishes.append(arguments)
        yield from self.lines

    def exec(self, app: str, environment: str, *, host: HostName, argv: Sequence[str], **streams: Any) -> int:
        self.wishes.append((host, argv))
        return 3

    def locks(self, app: str, environment: str, *, hosts: Any) -> tuple[LockState, ...]:
        return tuple(self.held)

    def unlock(self, app: str, environment: str, *, hosts: Any) -> None:
        self.unlocked += hosts

    def close(self) -> None:
        return

    def _check(self) -> None:
        if self.fail:
            raise self.fail


@pytest.fixture
def client(tmp_path: Path) -> FakeClient:
    return FakeClient(paths=StatePaths(tmp_path / "state"))


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An app's folder, in a git repository of one commit, which is the current folder."""
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "deployd.toml").write_text(APP_FILE)
    for name in ("DEPLOYD_STATE_DIR", "DEPLOYD_CONFIG", "DEPLOYD_URL", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    git = ["git", "-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-C", str(folder)]
    process.run([*git, "init", "-q", "-b", "main"])
    process.run([*git, "add", "."])
    process.run([*git, "commit", "-q", "-m", "Begin"])
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def deployd(client: FakeClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Outcome]:
    """Run one command. `terminal` makes all three streams terminals; `stdin` is what is typed."""
    monkeypatch.setenv("COLUMNS", "160")

    def run(*argv: str, stdin: str = "", terminal: bool = False) -> Outcome:
        stream = Terminal if terminal else io.StringIO
        screen = Screen(stdin=stream(stdin), stdout=stream(), stderr=stream())
        code = main.run(
            [*argv],
            make_client=lambda _paths, _who, _command: client,  # type: ignore[arg-type,return-value]
            screen=screen,
        )
        return Outcome(exit=code, out=screen.stdout.getvalue(), err=screen.stderr.getvalue())  # type: ignore[attr-defined]

    return run
