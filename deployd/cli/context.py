"""What every command gets: the options that work everywhere, the app's file, the client, the screen, and questions.

Everything heavy is made when first asked for: `deployd --help` reads no file and loads no client.
"""

from __future__ import annotations

import fnmatch
import getpass
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from deployd import paths
from deployd.domain.ids import EnvironmentName, HostName, ReleaseId, RolloutId
from deployd.domain.options import APP_FILE
from deployd.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from deployd.appfile import AppEnvironment, AppFile
    from deployd.cli.render import Screen
    from deployd.client import Client
    from deployd.domain.ids import AppName
    from deployd.remote.client import RemoteClient

T = TypeVar("T")
DEFAULT_ENVIRONMENT = "production"


@dataclass(frozen=True, slots=True, kw_only=True)
class Everywhere:
    """The options that work before and after the verb."""

    app_dir: Path | None = None
    environment: str | None = None
    hosts: tuple[str, ...] = ()
    yes: bool = False
    quiet: bool = False
    verbose: bool = False
    json: bool = False
    state_dir: Path | None = None

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Everywhere:
        """From what typer parsed."""
        hosts = tuple(name for text in values.get("hosts") or () for name in text.split(",") if name)
        return cls(**{key: value for key, value in values.items() if key != "hosts"}, hosts=hosts)

    def then(self, later: Everywhere) -> Everywhere:
        """These options with those given after the verb added; the later ones win."""
        return Everywhere(
            app_dir=later.app_dir or self.app_dir,
            environment=later.environment or self.environment,
            hosts=self.hosts + later.hosts,
            yes=self.yes or later.yes,
            quiet=self.quiet or later.quiet,
            verbose=self.verbose or later.verbose,
            json=self.json or later.json,
            state_dir=later.state_dir or self.state_dir,
        )


class Cli:
    """One run of the command line."""

    context: Any

    def __init__(self, out: Screen, *, make_client: Callable[[paths.StatePaths, str, str | None], Client]) -> None:
        self.out = out
        self.options = Everywhere()
        self._make_client = make_client
        self._client: Client | None = None
        self._app: AppFile | None = None
        self._settings: Mapping[str, Any] | None = None

    def ready(self) -> None:
        """The options are all known: tell the screen."""
        self.out.configure(json=self.options.json, quiet=self.options.quiet, verbose=self.options.verbose)

    @property
    def settings(self) -> Mapping[str, Any]:
        """What the daemon's configuration and DEPLOYD_* variables set, loaded only when there is any of them."""
        if self._settings is None:
            from deployd.settings import in_force

            self._settings = in_force()
        return self._settings

    @property
    def paths(self) -> paths.StatePaths:
        """The state folder: `--state-dir`, `DEPLOYD_STATE_DIR`, the daemon's configuration, or the default."""
        chosen = self.options.state_dir or os.environ.get("DEPLOYD_STATE_DIR") or self.settings.get("state_dir")
        return paths.StatePaths(Path(chosen).absolute() if chosen else paths.default_state_dir())

    @property
    def who(self) -> str:
        """Who is written beside what is done."""
        return self.settings.get("who") or _login()

    @property
    def client(self) -> Client:
        """The one way to everything that deployd keeps or does."""
        if self._client is None:
            from deployd.cli.daemons import find

            daemon = find(self)
            if daemon is None:
                self._client = self._make_client(self.paths, self.who, self.command)
            else:
                from deployd.remote.client import RemoteClient

                self._client = RemoteClient(
                    daemon, self.paths, who=self.who, command=self.command, narrowed=bool(self.options.hosts)
                )
        return self._client

    @property
    def daemon(self) -> RemoteClient:
        """The same, for what only a daemon does; raises UsageError when there is none."""
        from deployd.remote.client import RemoteClient

        client = self.client
        if not isinstance(client, RemoteClient):
            raise UsageError(
                "this needs a daemon, and none serves this state folder",
                code="daemon-needed",
                fix="start one (`deployd serve`), or name one: deployd login URL",
            )
        return client

    @property
    def command(self) -> str:
        """The command without its arguments (they may hold a value): what a lock says is going on."""
        return str(self.context.command_path)

    def close(self) -> None:
        """Close the client, when one was made and its engine does not run."""
        if self._client is None:
            return
        if not self._client.used_engine:
            self._client.close()
        self.paths.hand_over()

    @property
    def app_dir(self) -> Path:
        """The app's folder: `--app-dir`, or where the nearest `deployd.toml` is, upwards."""
        if self.options.app_dir is not None:
            return self.options.app_dir.absolute()
        start = Path.cwd()
        for folder in (start, *start.parents):
            if (folder / APP_FILE).is_file():
                return folder
        raise UsageError(
            f"there is no {APP_FILE} in {start}, nor above it",
            code="app-file-missing",
            fix="run `deployd init` in the app's folder, or name the folder with --app-dir",
        )

    @property
    def app(self) -> AppFile:
        """The app's file, read once."""
        if self._app is None:
            from deployd import appfile

            self._app = appfile.load(self.app_dir / APP_FILE)
        return self._app

    @property
    def environment(self) -> EnvironmentName:
        """`--environment`, or production."""
        return parse_id(EnvironmentName.parse, self.options.environment or DEFAULT_ENVIRONMENT, flag="--environment")

    @property
    def app_environment(self) -> AppEnvironment:
        """The chosen environment of the app, as the app's file has it."""
        return self.app.environment(self.environment)

    @property
    def where(self) -> tuple[AppName, EnvironmentName]:
        """App and environment."""
        return self.app.name, self.environment

    def hosts(self, among: Sequence[HostName] | None = None) -> tuple[HostName, ...]:
        """The environment's hosts (or `among` them), narrowed by `--host`."""
        if among is None:
            among = self.app_environment.hosts
            if not among:
                raise UsageError(
                    f"environment {self.environment} of {self.app.name} has no hosts",
                    code="no-hosts",
                    fix=f'add `hosts = ["web1"]` under [environments.{self.environment}] in {APP_FILE}',
                )
        return select(among, self.options.hosts)

    def release_id(self, text: str) -> ReleaseId:
        """A release id as typed: whole, or any end of it that only one release has (`k2x7`)."""
        app, environment = self.where
        known: list[ReleaseId] = [release.id for release in self.client.releases(app, environment)]
        if text in known:
            return ReleaseId(text)
        matches = [release for release in known if text and (release.endswith(text) or text in release.split("-"))]
        if len(matches) == 1:
            return matches[0]
        if matches:
            raise UsageError(
                f"{text!r} could be any of {', '.join(matches)}",
                code="release-ambiguous",
                fix="give the whole release id",
            )
        nearest = f"; the newest is {max(known)}" if known else ""
        raise NotFoundError(
            f"{app} has no release {text!r} in {environment}{nearest}",
            code="release-not-found",
            fix="see `deployd releases`",
        )

    def rollout_id(self, text: str) -> RolloutId:
        """A rollout id as typed."""
        return parse_id(RolloutId.parse, text, flag="ROLLOUT")

    def confirm(self, question: str, *, flag: str = "--yes") -> None:
        """Ask; raise when the answer is no, or when nobody can be asked."""
        if self.options.yes:
            return
        if not self.out.can_ask:
            raise UsageError(
                f"this needs a yes: {question}",
                code="needs-answer",
                fix=f"pass {flag} when nobody can answer a question",
            )
        if self.out.ask(f"{question} [y/N] ").strip().lower() not in {"y", "yes"}:
            raise UsageError("nothing was done", code="declined", fix=f"answer y, or pass {flag}")


def select(among: Sequence[HostName], patterns: Sequence[str]) -> tuple[HostName, ...]:
    """The names that match any of the patterns, in their order; all of them when there is no pattern."""
    for pattern in patterns:
        if not fnmatch.filter(among, pattern):
            raise NotFoundError(
                f"no host matches {pattern!r}",
                code="host-not-found",
                fix=f"choose among {', '.join(among)}" if among else "add one: `deployd host add NAME ADDRESS`",
            )
    if not patterns:
        return tuple(among)
    return tuple(name for name in among if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns))


def parse_id(parse: Callable[[str], T], text: str, *, flag: str) -> T:
    """Parse an id that a person typed; the rule is the fix."""
    try:
        return parse(text)
    except ValueError as error:
        what, _, rule = str(error).partition(": ")
        raise UsageError(what, code="name-invalid", fix=f"{flag}: {rule}") from error


def _login() -> str:
    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"
