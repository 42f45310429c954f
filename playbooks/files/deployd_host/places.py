"""An app and an environment come in, their folders, state and units' names on this host go out."""

from __future__ import annotations

import os

from deployd_host.files import make_folder, names_in, read_bytes, read_json, to_json, write_file
from deployd_host.paths import BASE, MAX_INSTANCES, RUN
from deployd_host.replies import RefusedError
from deployd_host.words import matches

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from deployd_host.locks import Lock
    from deployd_host.replies import Json


class Place:
    """An app in an environment on this host: its folders, its state, its units' names."""

    __slots__ = (
        "app",
        "base",
        "begun",
        "canary",
        "current",
        "env",
        "environment",
        "hashed",
        "maintenance",
        "name",
        "names",
        "pins",
        "releases",
        "run",
        "seeded",
        "shares",
        "state_path",
        "static",
    )

    def __init__(self, app: str, environment: str) -> None:
        self.app = app
        self.environment = environment
        self.name = f"{app}-{environment}"
        self.base = f"{BASE}/apps/{app}/{environment}"
        self.releases = self.base + "/releases"
        self.current = self.base + "/current"
        self.static = self.base + "/static"
        self.hashed = self.base + "/hashed"
        self.env = self.base + "/env"
        self.begun = self.base + "/begun"
        self.seeded = self.base + "/seeded"
        self.state_path = self.base + "/state.json"
        self.pins = self.base + "/pins"
        self.names = self.base + "/names"
        self.shares = self.base + "/shares"
        self.maintenance = self.base + "/maintenance"
        self.canary = self.base + "/canary"
        self.run = f"{RUN}/{self.name}"

    def make(self) -> None:
        """Make the folders; all are root's."""
        make_folder(f"{BASE}/apps/{self.app}")
        for path in (self.base, self.releases, self.static, self.pins, self.names):
            make_folder(path)
        for path in (self.env, self.begun, self.seeded):
            make_folder(path, mode=0o700)

    def release(self, release: str) -> str:
        """The release's folder."""
        return f"{self.releases}/{release}"

    def incoming(self, release: str) -> str:
        """Where the deploy user puts the release's files."""
        return f"{BASE}/incoming/{self.name}/{release}"

    def socket(self, release: str) -> str:
        """The path of the release's socket."""
        return f"{self.run}/{release}.sock"

    def socket_unit(self, release: str) -> str:
        """The unit that holds the socket."""
        return f"deployd-{self.name}@{release}.socket"

    def service_unit(self, number: int, release: str) -> str:
        """The unit of one instance."""
        return f"deployd-{self.name}-{number}@{release}.service"

    def service_units(self, release: str) -> list[str]:
        """The units of all instances that the configuration asks for."""
        return [self.service_unit(number, release) for number in range(1, self.instances() + 1)]

    def any_service(self, release: str = "*") -> str:
        """A pattern for the units of every instance, also of one that is no longer configured.

        An environment begins with a letter, so the digit keeps out `<app>-<environment>` of an app with a longer name.
        """
        return f"deployd-{self.name}-[0-9]*@{release}.service"

    def kept(self) -> list[str]:
        """The sealed releases, newest first."""
        found = [name for name in names_in(self.releases) if matches("release", name)]
        return [name for name in reversed(found) if self.is_sealed(name)]

    def is_sealed(self, release: str) -> bool:
        """Whether the release is complete."""
        return read_bytes(f"{self.release(release)}/.deployd/id") == release.encode()

    def is_static(self, release: str) -> bool:
        """Whether the release is a site without a process: the web server answers from its files alone."""
        return os.path.islink(f"{self.release(release)}/.deployd/static/site")

    def is_started(self, release: str) -> bool:
        """Whether systemd holds the release's socket (it removes the file when it lets go); a static one needs none."""
        import stat

        if self.is_static(release):
            return True

        try:
            return stat.S_ISSOCK(os.lstat(self.socket(release)).st_mode)
        except OSError:
            return False

    def live(self) -> str | None:
        """The current release, or None; never raises."""
        try:
            return self.read_current()
        except RefusedError:
            return None

    def read_current(self) -> str | None:
        """The current release, or None before the first; refuses when `current` is not our link."""
        try:
            target = os.readlink(self.current)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise RefusedError(
                "current-not-link",
                f"{self.current} is not a symbolic link, so it cannot be replaced atomically",
                fix=f"look at what it is, then move it away: mv {self.current} {self.current}.old",
            ) from error
        release = target.removeprefix("releases/")
        if release == target or not matches("release", release):
            raise RefusedError(
                "current-not-link",
                f"{self.current} leads to {target!r}, which is not a release",
                fix=f"look at what it is, then remove the link: rm {self.current}",
            )
        return release

    def state(self) -> Json:
        """The host's own record: epoch, what was live when, and the configuration."""
        state = read_json(self.state_path)
        if not isinstance(state, dict):
            state = {}
        return {"epoch": 0, "live_log": [], "config": None, **state}

    def save(self, state: Json) -> None:
        """Write the record."""
        there = set(self.kept())
        log = state["live_log"]
        state["live_log"] = [one for one in log[:-50] if one["release"] in there] + log[-50:]
        write_file(self.state_path, to_json(state), mode=0o600)

    def was_live(self, release: str) -> bool:
        """Whether the release is or was current."""
        return release == self.live() or any(one["release"] == release for one in self.state()["live_log"])

    def config(self) -> Json:
        """The configuration; refuses when there is none."""
        config = self.state()["config"]
        if not isinstance(config, dict):
            raise RefusedError(
                "not-configured",
                f"{self.app} {self.environment} is not configured on this host",
                fix="release it again: `deployd release` configures hosts",
            )
        return config

    def instances(self) -> int:
        """How many server processes the configuration asks for."""
        config = self.state()["config"] or {}
        return instances_of(config)

    def locked(self, what: str) -> Lock:
        """Wait for one of this app's short locks: `state` or `files`."""
        from deployd_host.locks import Lock

        return Lock(f"{RUN}/locks/{self.name}.{what}")


def places() -> Iterator[Place]:
    """Every app and environment on this host."""
    for app in names_in(f"{BASE}/apps"):
        for environment in names_in(f"{BASE}/apps/{app}"):
            if matches("app", app) and matches("environment", environment):
                yield Place(app, environment)


def instances_of(config: Json) -> int:
    """The number of instances: what was asked for, or one for each core."""
    wanted = config.get("instances", 1)
    return min(len(os.sched_getaffinity(0)), MAX_INSTANCES) if wanted == "cores" else int(wanted)


def require_sealed(place: Place, release: str) -> None:
    """Refuse a release that is not complete on this host."""
    if not place.is_sealed(release):
        raise RefusedError(
            "not-sealed",
            f"release {release} of {place.app} {place.environment} is not on this host",
            fix="release the commit again; `deployd releases` shows which releases are kept",
        )


def not_started(release: str) -> RefusedError:
    """The refusal of what only a started release can do."""
    return RefusedError(
        "not-started", f"release {release} has no socket: it is not started", fix="start it first; release again"
    )


def refuse_current(place: Place, release: str, what: str) -> None:
    """Refuse to do this to the release that is live."""
    if place.read_current() == release:
        raise RefusedError(
            "is-current", f"release {release} is live and cannot be {what}", fix="make another release live first"
        )


def require_process(place: Place, release: str | None, what: str, fix: str) -> None:
    """Refuse what only a release with a process can do."""
    if release is not None and place.is_static(release):
        raise RefusedError(
            "no-process",
            f"release {release} of {place.app} {place.environment} is a static site: {what}",
            fix=fix,
        )
