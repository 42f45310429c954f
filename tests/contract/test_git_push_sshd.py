"""`git push` through a real sshd to a real daemon: progress, refusals, tags, turns, and a pusher who leaves."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest

from deployd.domain.ids import AppName, EnvironmentName
from deployd.paths import StatePaths
from deployd.remote.client import RemoteClient
from deployd.remote.connection import Daemon
from deployd.store import Store
from tests.support.daemons import Served
from tests.support.sshd import Sshd

if TYPE_CHECKING:
    from pathlib import Path

WEB, PRODUCTION = AppName("web"), EnvironmentName("production")
FILE = """
name = "web"
[environments.production]
branch = "main"
hosts = ["web1"]
push = { tags = ["v*"] }
"""


class Team:
    """A control machine with a daemon and an sshd, and people with checkouts who push to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.served = Served(folder, env={"DRIVE_BUILD_FILE": str(folder / "build-waits")})
        self.paths = StatePaths(self.served.state)
        self.client = RemoteClient(Daemon(socket=self.paths.socket), self.paths, who="ada")
        self.sshd = Sshd(folder / "sshd", self.served.state / "git" / "authorized_keys")
        self.client.pushes.add_key("anna", self.sshd.public.strip(), apps=[WEB])
        self.anna = self.person("anna")

    def person(self, name: str) -> Path:
        place = self.folder / name
        if name == "anna":
            self.git(self.folder, "init", "-q", "-b", "main", str(place))
        else:
            self.git(self.folder, "clone", "-q", str(self.anna), str(place))
        return place

    @property
    def environment(self) -> dict[str, str]:
        ours = {key: value for key, value in os.environ.items() if not key.startswith(("GIT_", "DEPLOYD_"))}
        person = {
            f"GIT_{who}_{what}": value
            for who in ("AUTHOR", "COMMITTER")
            for what, value in (("NAME", "t"), ("EMAIL", "t@e.example"))
        }
        return {**ours, **person, "GIT_SSH_COMMAND": self.sshd.ssh if hasattr(self, "sshd") else "false"}

    def git(self, place: Path, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["git", *words], cwd=place, env=self.environment, check=check, capture_output=True, text=True, timeout=120
        )

    def commit(self, place: Path, text: str = FILE, message: str = "more") -> str:
        (place / "deployd.toml").write_text(text)
        (place / "more").write_text(os.urandom(8).hex())
        self.git(place, "add", "--all")
        self.git(place, "commit", "-q", "-m", message)
        return self.git(place, "rev-parse", "HEAD").stdout.strip()

    def push(self, place: Path, *refs: str, app: str = "web") -> subprocess.CompletedProcess[str]:
        return self.git(place, "push", f"{self.sshd.user}@127.0.0.1:{app}", *refs, check=False)

    def start_push(self, place: Path, *refs: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["git", "push", "--progress", f"{self.sshd.user}@127.0.0.1:web", *refs], cwd=place, env=self.environment,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip

    def at(self, ref: str, repository: str = "web.git") -> str | None:
        folder = self.served.state / "git" / repository
        done = self.git(self.folder, f"--git-dir={folder}", "rev-parse", "--verify", "-q", ref, check=False)
        return done.stdout.strip() or None

    def outcomes(self) -> list[str | None]:
        """Of all rollouts, oldest first."""
        return [one.outcome for one in reversed(self.client.rollouts(WEB))]

    def live(self) -> str | None:
        """The commit that is live."""
        found = self.client.releases(WEB, PRODUCTION)
        return found[0].commit if found else None

    def hold_builds(self) -> None:
        (self.folder / "build-waits").touch()

    def let_build(self) -> None:
        (self.folder / "build-waits").unlink(missing_ok=True)

    def close(self) -> None:
        self.let_build()
        self.client.close()
        self.sshd.close()
        self.served.close()


@pytest.fixture
def team(tmp_path: Path) -> Any:
    made = Team(tmp_path)
    try:
        yield made
    finally:
        made.close()


def read_until(process: subprocess.Popen[str], text: str) -> str:
    """What a pusher sees up to a text; the pipe's end without it fails the test."""
    assert process.stderr is not None
    seen = ""
    while text not in seen:
        line = process.stderr.readline()
        assert line, seen
        seen += line
    return seen


def wait_for(condition: Any, what: str) -> None:
    deadline = time.monotonic() + 90
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


def test_branches_tags_deletes_and_force(team):
    first = team.commit(team.anna)
    done = team.push(team.anna, "main")
    assert done.returncode == 0, done.stderr
    assert "live on 1 host" in done.stderr
    assert team.at("refs/heads/main") == first
    assert team.client.rollouts(WEB)[0].who == "git:anna"

    # a tag that production is for, an annotated one that is not on main, and one that is for nothing
    second = team.commit(team.anna)
    team.git(team.anna, "tag", "-a", "-m", "x", "v1")
    team.git(team.anna, "tag", "nightly")
    done = team.push(team.anna, "v1", "nightly")
    assert done.returncode == 0, done.stderr
    assert "kept, not released: no environment of web is for tag nightly" in done.stderr
    assert team.outcomes() == ["live", "live"]
    assert team.live() == second
    assert team.at("refs/tags/v1^{commit}") == second
    assert team.push(team.anna, ":v1").returncode == 0
    assert team.at("refs/tags/v1") is None
    assert team.at("refs/tags/v1", "web.checked.git") is None

    # what environments are read from stays, on both sides; other refs are kept and mean nothing
    done = team.push(team.anna, ":main")
    assert "main cannot be deleted" in done.stderr
    assert team.at("refs/heads/main") == team.at("refs/heads/main", "web.checked.git") == first
    assert "only branches and tags are released" in team.push(team.anna, "main:refs/notes/x").stderr

    # history is rewritten: refused by git without force
    team.git(team.anna, "reset", "-q", "--hard", first)
    third = team.commit(team.anna, FILE + 'probe = { path = "/x" }\n')
    assert team.push(team.anna, "main").returncode == 0
    team.git(team.anna, "reset", "-q", "--hard", first)
    fourth = team.commit(team.anna)
    assert team.push(team.anna, "main").returncode != 0
    assert team.at("refs/heads/main") == third
    assert team.push(team.anna, "--force", "main").returncode == 0
    assert team.at("refs/heads/main") == team.live() == fourth


def test_a_failed_release_refuses_the_push_and_sshd_lets_nothing_else_in(team):
    first = team.commit(team.anna)
    assert team.push(team.anna, "main").returncode == 0
    for text in ('name = "web', FILE.replace("web1", "nowhere"), FILE.replace('branch = "main"', "branch = 1")):
        team.commit(team.anna, text)
        done = team.push(team.anna, "main")
        assert done.returncode != 0
        assert "pre-receive hook declined" in done.stderr
        assert "main is refused" in done.stderr
        assert "fix" in done.stderr
        assert team.at("refs/heads/main") == team.at("refs/heads/main", "web.checked.git") == first
    for app in ("../../etc", "web'; id #", "other"):
        done = team.push(team.anna, "main", app=app)
        assert done.returncode == 128, app
        assert "✗" in done.stderr
    for words in ("id", "git-upload-pack web"):
        where = f"{team.sshd.user}@127.0.0.1"
        done = subprocess.run([*shlex.split(team.sshd.ssh), where, words], check=False, capture_output=True, timeout=60)
        assert done.returncode == 5, words
        assert b"uid=" not in done.stdout
    team.client.pushes.remove_key("anna")
    assert "Permission denied" in team.push(team.anna, "main").stderr


def test_two_pushes_at_once_take_turns_and_the_later_is_told(team):
    team.commit(team.anna)
    assert team.push(team.anna, "main").returncode == 0
    bob = team.person("bob")
    hers, _ = team.commit(team.anna), team.commit(bob)
    team.hold_builds()
    one = team.start_push(team.anna, "main")
    read_until(one, "build")  # progress streams: the build has begun, and is held
    other = team.start_push(bob, "main")
    read_until(other, "another push of main is going on")
    team.let_build()
    assert "live on 1 host" in one.communicate(timeout=120)[1]
    assert "was pushed by somebody else in the meantime" in other.communicate(timeout=120)[1]
    assert (one.returncode, other.returncode) == (0, 1)
    assert team.outcomes() == ["live", "live"]
    assert team.at("refs/heads/main") == team.live() == hers


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_pusher_who_leaves_cancels_and_may_push_again(team, number):
    first = team.commit(team.anna)
    team.hold_builds()
    pusher = team.start_push(team.anna, "main")
    read_until(pusher, "build")
    os.killpg(pusher.pid, number)
    pusher.communicate(timeout=120)
    wait_for(lambda: team.outcomes() == ["cancelled"], "it was not cancelled")
    wait_for(lambda: team.at("refs/heads/main", "web.checked.git") is None, "the daemon still sees the branch")
    assert team.at("refs/heads/main") is None
    team.let_build()
    assert team.push(team.anna, "main").returncode == 0
    assert team.at("refs/heads/main") == team.live() == first


def test_a_pin_and_a_freeze_refuse_at_once(team):
    team.commit(team.anna)
    assert team.push(team.anna, "main").returncode == 0
    team.client.agenda.freeze(WEB, PRODUCTION, within=3600.0, timezone="UTC", reason="holidays")
    team.commit(team.anna)
    done = team.push(team.anna, "main")
    assert done.returncode != 0
    assert "holidays" in done.stderr
    store = Store(team.paths)
    waiting = [one.id for one in store.queue.waiting()]
    store.close()
    assert waiting == []
    team.client.agenda.unfreeze(WEB, PRODUCTION)
    assert team.push(team.anna, "main").returncode == 0
