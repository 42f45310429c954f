"""Which environments a push releases, by real git: branches, tags, paths, workspaces, old deliveries, strangers' branches."""

from __future__ import annotations

import json
import subprocess
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from deployd.daemon import previews, resolving
from deployd.daemon.fetching import Fetches
from deployd.domain.ask import Ask
from deployd.domain.ids import AppName, EnvironmentName
from deployd.domain.release import ReleaseState
from deployd.paths import StatePaths
from deployd.store import Store
from tests.contract.test_store import provenance_of, release_of

if TYPE_CHECKING:
    from pathlib import Path

SHOP = AppName("shop")
FILE = """
name = "shop"
[push]
ignore = ["**/*.md"]
paths = ["shared/**"]
[environments.production]
branch = "main"
hosts = ["web1"]
push = { tags = ["v*"] }
[environments.staging]
branch = "next"
hosts = ["web2"]
[environments.preview]
hosts = ["web3"]
"""


class Repository:
    """A repository that a test pushes to, and a store."""

    def __init__(self, folder: Path) -> None:
        self.top = folder / "work"
        self.top.mkdir()
        self.git("init", "--quiet", "--initial-branch=main")
        self.paths = StatePaths(folder / "state").make()
        self.store = Store(self.paths)
        self.store.apps.put(SHOP, repository=str(self.top), subdir="apps/shop", who="test")
        self.write("apps/shop/deployd.toml", FILE)
        self.write("apps/shop/package.json", json.dumps({"name": "shop", "dependencies": {"@x/ui": "*"}}))
        self.write("packages/ui/package.json", json.dumps({"name": "@x/ui", "dependencies": {"@x/base": "*"}}))
        self.write("packages/base/package.json", json.dumps({"name": "@x/base"}))
        self.write("packages/other/package.json", json.dumps({"name": "@x/other"}))
        self.first = self.commit("first")

    def git(self, *words: str) -> str:
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.com"]
        done = subprocess.run(["git", *identity, *words], cwd=self.top, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def write(self, path: str, text: str) -> None:
        (self.top / path).parent.mkdir(parents=True, exist_ok=True)
        (self.top / path).write_text(text)

    def commit(self, message: str = "more") -> str:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "-m", message)
        return self.git("rev-parse", "HEAD")

    def change(self, path: str, message: str = "more") -> str:
        self.write(path, message + path)
        return self.commit(message)

    def released(self, commit: str, environment: str = "production", **changes: Any) -> None:
        changes = {"state": ReleaseState.LIVE, **changes}
        kept = replace(release_of(1), app=SHOP, environment=EnvironmentName(environment), commit=commit, **changes)
        self.store.releases.add(kept, provenance=provenance_of(kept))

    def places(self, **changes: Any) -> tuple[list[tuple[str, str]], str]:
        fields: dict[str, Any] = {
            "kind": "release",
            "app": SHOP,
            "environment": EnvironmentName(""),
            "cause": "push",
            "who": "test",
            "branch": "main",
            "automatic": True,
            **changes,
        }
        found, reason = resolving.places_of(
            Ask(**fields), store=self.store, paths=self.paths, cancel=threading.Event(), fetches=Fetches(), asked=0.0
        )
        return [(str(one.environment), str(one.commit)) for one in found], reason


@pytest.fixture
def repository(tmp_path: Path) -> Any:
    made = Repository(tmp_path)
    yield made
    made.store.close()


def test_a_branch_releases_its_environment_and_no_other(repository):
    assert repository.places(commit=repository.first) == ([("production", repository.first)], "")
    repository.git("checkout", "--quiet", "-b", "next")
    head = repository.change("apps/shop/x")
    repository.git("checkout", "--quiet", "main")
    assert repository.places(branch="next", commit=head)[0] == [("staging", head)]
    repository.git("branch", "feature")
    found, reason = repository.places(branch="feature", commit=repository.first)
    assert found == []
    assert "no environment of shop is for branch feature" in reason


def test_whoever_may_push_a_branch_cannot_name_it_productions(repository):
    repository.git("checkout", "--quiet", "-b", "evil")
    repository.write("apps/shop/deployd.toml", FILE.replace('"main"', '"evil"'))
    head = repository.commit()
    repository.git("checkout", "--quiet", "main")
    assert repository.places(branch="evil", commit=head)[0] == []


def test_an_old_delivery_that_is_sent_again_brings_nothing_old_back(repository):
    newest = repository.change("apps/shop/x")
    assert repository.places(commit=repository.first)[0] == [("production", newest)]
    repository.released(newest)
    found, reason = repository.places(commit=repository.first)
    assert found == []
    assert "released already" in reason


def test_a_forced_push_means_what_the_branch_is_now(repository):
    gone = repository.change("apps/shop/x")
    repository.git("reset", "--quiet", "--hard", repository.first)
    forced = repository.change("apps/shop/y")
    assert repository.places(commit=gone)[0] == [("production", forced)]
    repository.git("checkout", "--quiet", "--detach")
    repository.git("branch", "-D", "main")
    assert repository.places(commit=forced) == ([], "main is gone by now")


@pytest.mark.parametrize(
    ("path", "released"),
    [
        ("apps/shop/page.tsx", True),
        ("packages/ui/button.tsx", True),
        ("packages/base/index.ts", True),  # what it uses uses
        ("packages/other/index.ts", False),
        ("apps/shop2/page.tsx", False),  # begins alike
        ("package-lock.json", True),
        ("tsconfig.base.json", True),
        ("shared/prices.json", True),  # push.paths
        ("docs/x.txt", False),
        ("apps/shop/README.md", False),  # push.ignore
    ],
)
def test_in_a_monorepo_only_what_the_app_is_made_of_counts(repository, path, released):
    repository.released(repository.first)
    head = repository.change(path)
    found, reason = repository.places(commit=head)
    assert found == ([("production", head)] if released else [])
    assert released or "nothing of apps/shop changed since" in reason


def test_a_change_whose_push_was_lost_or_replaced_is_not_forgotten(repository):
    repository.released(repository.first)
    repository.change("apps/shop/page.tsx")
    head = repository.change("docs/x.txt")  # this push alone would not matter
    assert repository.places(commit=head)[0] == [("production", head)]


def test_a_change_whose_release_failed_is_not_forgotten(repository):
    repository.released(repository.first)
    failed = repository.change("apps/shop/page.tsx")
    repository.released(failed, id=release_of(2).id, created=release_of(2).created, state=ReleaseState.FAILED)
    assert repository.places(commit=failed)[0] == [("production", failed)]  # sent again by a person, on the forge
    head = repository.change("docs/x.txt")
    assert repository.places(commit=head)[0] == [("production", head)]
    repository.git("revert", "--no-edit", failed)
    assert repository.places(commit=repository.git("rev-parse", "HEAD"))[0] == []


def test_a_message_can_ask_for_no_release(repository):
    head = repository.change("apps/shop/x", "Typo [deploy skip]")
    found, reason = repository.places(commit=head)
    assert found == []
    assert "skip deploy" in reason


def test_tags_that_match_release_their_environment(repository):
    repository.git("tag", "-a", "v1.0", "-m", "x")
    repository.git("tag", "nightly")
    assert repository.places(branch="tag v1.0", details={"tag": "v1.0"})[0] == [("production", repository.first)]
    assert repository.places(branch="tag nightly", details={"tag": "nightly"})[0] == []


def pull(repository: Repository, *, action: str = "opened", fork: bool = False) -> dict[str, Any]:
    repository.git("update-ref", "refs/pull/12/head", repository.first)
    details = {
        "is": "PullRequest",
        "forge": "github",
        "delivery": "d",
        "repository": {"name": "acme/shop", "url": None},
        "number": 12,
        "action": action,
        "title": "New prices",
        "url": None,
        "branch": "prices",
        "base": "main",
        "commit": repository.first,
        "ref": "refs/pull/12/head",
        "fork": fork,
        "who": "anna",
        "message": None,
    }
    return {
        "cause": "pull_request",
        "commit": repository.first,
        "activate": False,
        "branch": "pull/12",
        "details": details,
    }


def test_a_pull_request_is_prepared_and_a_closed_one_is_to_be_removed(repository):
    assert repository.places(**pull(repository))[0] == [("preview", repository.first)]
    assert repository.store.previews.find(SHOP, 12).state == "asked"
    assert repository.places(**pull(repository, action="closed"))[0] == []
    assert repository.store.previews.find(SHOP, 12).state == "closed"


def test_a_forks_pull_request_waits_and_gets_an_environment_without_variables(repository):
    found, reason = repository.places(**pull(repository, fork=True))
    assert found == []
    assert "deployd approve pull/12" in reason
    assert repository.store.previews.find(SHOP, 12).state == "held"
    repository.store.previews.change(SHOP, 12, approved=repository.first)
    assert repository.places(**pull(repository, fork=True))[0] == [(previews.FORK, repository.first)]
    other = pull(repository, fork=True)
    other["details"]["commit"] = "c" * 40  # a later commit needs a yes of its own
    assert repository.places(**other)[0] == []


def test_hosts_and_options_of_a_forks_release_are_the_default_branchs(repository):
    repository.git("checkout", "--quiet", "-b", "prices")
    repository.write("apps/shop/deployd.toml", FILE.replace("web3", "web1") + '[build]\ncommand = "steal"\n')
    head = repository.commit()
    repository.git("checkout", "--quiet", "main")
    made = pull(repository, fork=True)
    made["details"]["commit"] = made["commit"] = head
    made["ref"] = "prices"
    asked = Ask(kind="release", app=SHOP, environment=previews.FORK, who="x", automatic=True, **made)
    wish = resolving.wish_of(
        asked, store=repository.store, paths=repository.paths, timeout=None, cancel=threading.Event()
    )
    assert (wish.hosts, wish.options.build.command, wish.activate) == (("web3",), None, False)
    assert wish.source.ref == head
