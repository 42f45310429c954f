"""Pushes and pull requests, whole: signed requests over HTTP, a real daemon, a real repository, a forge that listens."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from deployd.domain.ids import AppName, EnvironmentName, ReleaseId
from deployd.domain.secret import Secret
from deployd.paths import StatePaths
from deployd.remote.client import RemoteClient
from deployd.remote.connection import Daemon
from tests.contract.fakeforge import FakeForge
from tests.support.daemons import ROOT, Served

if TYPE_CHECKING:
    from pathlib import Path

SHOP, BLOG = AppName("shop"), AppName("blog")
FILE = """
name = "{name}"
[environments.production]
branch = "main"
hosts = ["web1"]
push = {{ tags = ["v*"], ignore = ["**/*.md"] }}
[environments.preview]
hosts = ["web2"]
"""
SECRET_VALUE = "canary-preview-variable"
FORGE_TOKEN = "canary-forge-token"
ZEROS = "0" * 40


class World:
    """A monorepo with two apps and shared packages, a daemon that releases both, and a forge."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.repository = folder / "mono"
        self.repository.mkdir()
        self.git("init", "-q", "-b", "main")
        self.write("package.json", '{"name": "mono", "workspaces": ["apps/*", "packages/*"]}')
        self.app("shop", "@x/ui")
        self.app("blog", "@x/nothing")
        self.write("packages/ui/package.json", '{"name": "@x/ui", "dependencies": {"@x/core": "*"}}')
        self.write("packages/core/package.json", '{"name": "@x/core"}')
        self.first = self.commit("first")
        settings = {"DEPLOYD_PUBLIC_URL": "https://deployd.example", "DEPLOYD_PREVIEW_DOMAIN": "preview.example"}
        self.served = Served(folder, listen="127.0.0.1:0", env=settings)
        paths = StatePaths(self.served.state)
        self.client = RemoteClient(Daemon(socket=paths.socket), paths, who="ada")
        self.secrets: dict[AppName, str] = {}
        for name in (SHOP, BLOG):
            self.client.add_app(name, repository=str(self.repository), subdir=f"apps/{name}")
            self.secrets[name] = self.client.pushes.hook(name, rotate=False)["secret"]
        self.deliveries = 0

    def app(self, name: str, uses: str) -> None:
        self.write(f"apps/{name}/deployd.toml", FILE.format(name=name))
        self.write(f"apps/{name}/package.json", json.dumps({"name": name, "dependencies": {uses: "*"}}))

    def git(self, *words: str) -> str:
        who = ["-c", "user.name=t", "-c", "user.email=t@e.example"]
        done = subprocess.run(["git", *who, *words], cwd=self.repository, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def write(self, path: str, text: str) -> None:
        file = self.repository / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def commit(self, message: str = "more") -> str:
        self.git("add", "--all")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        return self.git("rev-parse", "HEAD")

    def change(self, path: str, message: str = "more") -> str:
        self.write(path, os.urandom(8).hex())
        return self.commit(message)

    def send(self, app: str, event: str, payload: Any, **headers: str) -> tuple[int, dict[str, Any]]:
        self.deliveries += 1
        body = json.dumps(payload).encode()
        secret = self.secrets.get(AppName(app), "x").encode()
        sent = {
            "content-type": "application/json",
            "x-github-event": event,
            "x-github-delivery": f"d-{self.deliveries}",
            "x-hub-signature-256": "sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest(),
            **headers,
        }
        connection = http.client.HTTPConnection("127.0.0.1", self.served.port, timeout=30)
        connection.request("POST", f"/hooks/{app}", body=body, headers=sent)
        answer = connection.getresponse()
        found = answer.status, json.loads(answer.read())
        connection.close()
        return found

    def push(self, app: AppName, after: str, *, ref: str = "refs/heads/main", **more: Any) -> tuple[str, str | None]:
        """Deliver a push; returns how what it asked for ended, and why."""
        payload = {
            "ref": ref,
            "before": ZEROS,
            "after": after,
            "deleted": after == ZEROS,
            "commits": [],
            "repository": {"full_name": "acme/mono"},
            "sender": {"login": "anna"},
            **more,
        }
        return self.ended(*self.send(app, "push", payload))

    def pull(
        self, number: int, action: str, head: str, *, app: AppName = SHOP, fork: bool = False, at: int | None = None
    ) -> tuple[str, str | None]:
        self.git("update-ref", f"refs/pull/{number}/head", head)
        if not fork:  # a fork's commit is on no branch of ours
            self.git("branch", "--force", f"prices-{number}", head)
        payload = {
            "action": action,
            "number": number,
            "pull_request": {
                "title": "New prices",
                "html_url": "https://forge.example/12",
                "updated_at": at and f"2026-11-22T04:00:{at:02}Z",
                "head": {"ref": "prices", "sha": head, "repo": {"full_name": "eve/mono" if fork else "acme/mono"}},
                "base": {"ref": "main", "repo": {"full_name": "acme/mono"}},
            },
            "repository": {"full_name": "acme/mono"},
            "sender": {"login": "bob"},
        }
        return self.ended(*self.send(app, "pull_request", payload))

    def prepare(self, app: AppName, commit: str) -> tuple[str, str | None]:
        """Ask over the API, as a script does, for a release that visitors do not get."""
        _, token = self.client.create_token(scope="release", apps=[app], expires_in=None, note=None)
        connection = http.client.HTTPConnection("127.0.0.1", self.served.port, timeout=30)
        wanted = {"app": app, "commit": commit, "activate": False}
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        connection.request("POST", "/v1/releases", body=json.dumps(wanted), headers=headers)
        answer = connection.getresponse()
        found = answer.status, {"state": "asked", **json.loads(answer.read())}
        connection.close()
        return self.ended(*found)

    def ended(self, status: int, answer: dict[str, Any]) -> tuple[str, str | None]:
        if answer["state"] != "asked":
            assert status == 200, answer
            return answer["state"], answer["reason"]
        assert status == 202, answer
        deadline = time.monotonic() + 90
        while True:
            ask = self.client.story(answer["rollout"])["ask"]
            if ask["state"] == "done":
                return ask["outcome"], ask["reason"]
            assert time.monotonic() < deadline, ask
            time.sleep(0.05)

    def branch(self, path: str = "apps/shop/page", message: str = "prices") -> str:
        """A commit that is on no branch of the repository once this returns, as a fork's."""
        self.git("checkout", "-q", "--detach", "main")
        made = self.change(path, message)
        self.git("checkout", "-q", "main")
        return made

    def deployd(self, *words: str) -> Any:
        """A command in the app's folder."""
        environment = {**os.environ, "DEPLOYD_STATE_DIR": str(self.served.state), "PYTHONPATH": str(ROOT)}
        program = [sys.executable, "-c", "from deployd.cli.main import main; main()"]
        done = subprocess.run(
            [*program, *words], cwd=self.repository / "apps" / "shop", env=environment, check=True, capture_output=True,
            timeout=60,
        )  # fmt: skip
        return json.loads(done.stdout)

    def previews(self) -> dict[int, dict[str, Any]]:
        return {one["number"]: one for one in self.client.pushes.previews(SHOP)}

    def on_host(self, host: str) -> dict[str, list[str]]:
        """The releases that a host keeps, with the names of their variables."""
        state = json.loads((self.served.hosts / host / "state.json").read_text())
        return {name: found.get("variables", []) for name, found in state["releases"].items()}

    def close(self) -> None:
        self.client.close()
        self.served.close()


@pytest.fixture
def world(tmp_path: Path) -> Any:
    made = World(tmp_path)
    try:
        yield made
    finally:
        made.close()


def wait_for(condition: Any, what: Any) -> None:
    deadline = time.monotonic() + 90
    while not condition():
        assert time.monotonic() < deadline, what()
        time.sleep(0.05)


def test_what_a_push_releases_and_what_it_does_not(world):
    assert world.push(SHOP, world.first) == ("live", None)
    assert world.push(BLOG, world.first) == ("live", None)

    core = world.change("packages/core/index.js")  # shop uses ui, which uses core
    assert world.push(SHOP, core) == ("live", None)
    outcome, why = world.push(BLOG, core)
    assert (outcome, "nothing of apps/blog changed" in why) == ("ignored", True)
    words = world.change("apps/shop/words.md")  # of push.ignore
    assert world.push(SHOP, words)[0] == "ignored"

    skipped = world.change("apps/shop/a", "typo [skip deploy]")
    assert "skip deploy" in world.push(SHOP, skipped)[1]
    # what a skipped push changed comes with the next one, although that one changes nothing of the app
    after = world.change("apps/blog/b")
    assert world.push(SHOP, after) == ("live", None)
    # an old delivery that is sent again, under another id, brings nothing old back
    assert "was released already" in world.push(SHOP, world.first)[1]

    # what somebody had prepared by hand is brought live by its push, once
    prepared = world.change("apps/shop/p")
    assert world.prepare(SHOP, prepared) == ("prepared", None)
    assert world.push(SHOP, prepared) == ("live", None)
    assert "was released already" in world.push(SHOP, prepared)[1]

    assert world.push(SHOP, ZEROS) == ("ignored", "branch main was deleted")
    world.git("branch", "other")
    assert "no environment of shop is for branch other" in world.push(SHOP, after, ref="refs/heads/other")[1]
    tagged = world.change("apps/shop/c")
    world.git("tag", "-a", "-m", "x", "v1")
    world.git("tag", "nightly")
    assert world.push(SHOP, tagged, ref="refs/tags/v1") == ("live", None)
    assert "for tag nightly" in world.push(SHOP, tagged, ref="refs/tags/nightly")[1]

    # history is rewritten, and what was released is in it no more
    world.git("reset", "-q", "--hard", core)
    rewritten = world.change("apps/shop/d")
    assert world.push(SHOP, rewritten, forced=True) == ("live", None)
    assert world.client.releases(SHOP, EnvironmentName("production"))[0].commit == rewritten

    shown = world.client.pushes.deliveries(SHOP, limit=50)
    assert {one["became"][0]["state"] for one in shown if one["became"]} == {"live", "ignored"}


def test_a_stranger_learns_nothing_and_a_replay_does_nothing(world):
    payload = {
        "ref": "refs/heads/main", "before": ZEROS, "after": world.first, "repository": {"full_name": "acme/mono"},
    }  # fmt: skip
    right = world.send("shop", "push", payload, **{"x-github-delivery": "once"})
    again = world.send("shop", "push", payload, **{"x-github-delivery": "once"})
    assert (right[0], right[1]["state"], again[0], again[1]["state"]) == (202, "asked", 200, "seen")
    assert again[1]["rollout"] == right[1]["rollout"]
    assert world.ended(*right) == ("live", None)
    refusals = {
        json.dumps(world.send(app, "push", payload, **headers))
        for app, headers in (
            ("shop", {"x-hub-signature-256": "sha256=" + "0" * 64}),
            ("shop", {"x-hub-signature-256": ""}),
            ("shop", {"x-hub-signature-256": "sha1=" + "0" * 40}),
            ("shop", {"x-deployd-signature": "sha256=" + "0" * 64}),
            ("shop", {"x-gitea-event": "push", "x-gitea-signature": "no"}),
            ("unknown", {}),
            ("Not-A-Name", {}),
        )
    }
    assert len(refusals) == 1
    assert refusals.pop().startswith("[401")


def test_a_pull_request_from_its_opening_to_its_end(world):
    with FakeForge() as forge:
        world.client.pushes.set_forge("github", Secret(FORGE_TOKEN), url=forge.url, app=None)
        assert world.push(SHOP, world.first)[0] == "live"
        world.client.set_variable(SHOP, EnvironmentName("preview"), "API_KEY", Secret(SECRET_VALUE))

        one = world.branch()
        assert world.pull(12, "opened", one) == ("prepared", None)
        assert "is prepared already" in world.pull(12, "ready_for_review", one)[1]
        # of another app's folder: nothing is built for it
        elsewhere = world.branch("apps/blog/page")
        assert "changes nothing of apps/shop" in world.pull(14, "opened", elsewhere)[1]
        assert "skip deploy" in world.pull(15, "opened", world.branch(message="x [skip deploy]"))[1]

        two = world.branch("apps/shop/other")
        assert world.pull(12, "synchronize", two, at=20) == ("prepared", None)
        late = world.pull(12, "synchronize", one, at=10)  # it overtook on its way: `two` is what the branch is
        assert (late[0], "this delivery was late" in late[1]) == ("ignored", True)
        wait_for(lambda: len(world.on_host("web2")) == 1, world.previews)
        ((release, variables),) = world.on_host("web2").items()
        ready = world.previews()[12]
        assert (ready["state"], ready["release"]) == ("ready", release)
        assert ready["address"] == f"http://{release}.shop.preview.example"
        assert "API_KEY" in variables
        wish = world.client.store.rollouts.bringing(ReleaseId(release))[0].wish
        assert wish["source"]["branch"] == "pull/12"  # its address `pr-12` is made of it

        # a fork: nothing before a yes, and never the variables
        fork = world.branch("apps/shop/evil")
        assert "deployd approve pull/13" in world.pull(13, "opened", fork, fork=True)[1]
        assert world.previews()[13]["state"] == "held"
        assert list(world.on_host("web2")) == [release]
        rollout = world.deployd("approve", "pull/13", "--json")["rollout"]
        wait_for(lambda: world.client.story(rollout)["ask"]["outcome"] == "prepared", world.previews)
        wait_for(lambda: world.previews()[13]["state"] == "ready", world.previews)
        assert "API_KEY" not in world.on_host("web2")[world.previews()[13]["release"]]
        later = world.branch("apps/shop/worse")
        assert "deployd approve pull/13" in world.pull(13, "synchronize", later, fork=True)[1]

        assert world.pull(12, "closed", two, at=40) == ("ignored", "pull request 12 was closed")
        assert "this delivery was late" in world.pull(12, "synchronize", two, at=30)[1]  # brings nothing back
        wait_for(lambda: 12 not in world.previews(), world.previews)
        assert release not in world.on_host("web2")
        assert world.pull(12, "reopened", two) == ("prepared", None)
        assert world.previews()[12]["release"] in world.on_host("web2")

        comments = [(one.method, one.path) for one in forge.requests if "/issues/" in one.path]
        assert comments.count(("POST", "/repos/acme/mono/issues/12/comments")) == 1
        states = [one.body["state"] for one in forge.requests if one.path.endswith(f"/statuses/{two}")]
        assert states[:2] == ["pending", "success"]
    world.served.close()
    for file in (world.served.log, *world.served.state.glob("deployd.sqlite*")):
        data = file.read_bytes()
        for canary in (FORGE_TOKEN, SECRET_VALUE, *world.secrets.values()):
            assert canary.encode() not in data
