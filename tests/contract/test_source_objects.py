"""What is read of a repository without a checkout, on real git: one git for many questions."""

from __future__ import annotations

import subprocess
from dataclasses import replace

import pytest

from deployd import process
from deployd.daemon.hooks import placing
from deployd.domain.ask import Ask
from deployd.domain.daemon import RegisteredApp
from deployd.domain.ids import AppName, EnvironmentName
from deployd.domain.stages import SourceRequest
from deployd.paths import StatePaths
from deployd.stages.source import History, checkout, fetch, objects
from deployd.store import Store

GIT = ["git", "-c", "user.name=Ada", "-c", "user.email=ada@example.com"]
FILE = 'name = "shop"\n[environments.production]\nbranch = "main"\nhosts = ["web1"]\n'


def git(folder, *words, **more):
    done = subprocess.run([*GIT, *words], cwd=folder, check=True, capture_output=True, **more)
    return done.stdout.decode().strip()


@pytest.fixture
def repository(tmp_path):
    made = tmp_path / "repository"
    made.mkdir()
    git(made, "init", "-qb", "main")
    (made / "deployd.toml").write_text(FILE)
    (made / "two lines").write_bytes(b"one\nmissing\n\0two")
    (made / "empty").touch()
    (made / "folder").mkdir()
    (made / "folder" / "a").write_text("a")
    git(made, "add", "-A")
    git(made, "commit", "-qm", "first\n\nwith a body")
    return made


@pytest.fixture
def gits(monkeypatch):
    """The words of every git that is started."""
    found, run = [], process.run
    monkeypatch.setattr(process, "run", lambda argv, **more: [found.append(argv), run(argv, **more)][1])
    return found


def test_each_name_gets_what_is_there_or_nothing(repository, tmp_path, gits):
    mirror = fetch(str(repository), mirrors=tmp_path / "mirrors")
    head = git(repository, "rev-parse", "HEAD")
    names = ["refs/heads/main^{commit}", "refs/heads/gone^{commit}", f"{head}:two lines", f"{head}:empty", "", "a\nb"]
    gits.clear()
    commit, gone, lines, empty, *nothing = objects.read(mirror.git_dir, [*names, f"{head}:folder", f"{head}:x missing"])
    assert (commit.oid, commit.kind) == (head, "commit")
    assert (lines.data, empty.data) == (b"one\nmissing\n\0two", b"")
    assert (gone, nothing[0], nothing[1], nothing[3]) == (None,) * 4
    assert nothing[2].kind == "tree"
    assert len(gits) == 1


def test_more_than_is_kept_of_a_programs_output_is_read_one_by_one(repository, tmp_path, monkeypatch):
    monkeypatch.setattr(process, "_KEPT_BYTES", 65536)
    for name in ("x", "y"):
        (repository / name).write_text(name * 60_000)
    git(repository, "add", "-A")
    git(repository, "commit", "-qm", "large")
    mirror = fetch(str(repository), mirrors=tmp_path / "mirrors")
    found = objects.read(mirror.git_dir, ["HEAD:nothing", "main:x", "main:y", "main:empty"])
    assert [one and len(one.data) for one in found] == [None, 60_000, 60_000, 0]


@pytest.mark.parametrize(
    ("encoding", "message"), [("utf-8", "größer"), ("iso-8859-1", "größer"), ("no-such-one", "größer")]
)
def test_a_message_is_read_in_its_own_encoding(repository, tmp_path, encoding, message):
    text = message.encode("latin-1" if encoding == "iso-8859-1" else "utf-8")
    git(repository, "-c", f"i18n.commitEncoding={encoding}", "commit", "-q", "--allow-empty", "-F", "-", input=text)
    history = History(fetch(str(repository), mirrors=tmp_path / "mirrors"))
    assert history.message(history.tip("main")).strip() == message


def test_a_push_is_placed_and_checked_out_with_few_gits(repository, tmp_path, gits):
    bare = tmp_path / "bare.git"
    git(tmp_path, "clone", "-q", "--bare", str(repository), str(bare))
    app = RegisteredApp(
        name=AppName("shop"), repository=str(bare), subdir="", created="2026-11-21T10:00:00Z", who="ada"
    )
    mirrors = tmp_path / "mirrors"
    mirror = fetch(str(bare), mirrors=mirrors)
    commit = git(repository, "rev-parse", "HEAD")
    ask = Ask(
        kind="release", app=app.name, environment=EnvironmentName(""), cause="push", who="ada", commit=commit,
        branch="main", automatic=True,
    )  # fmt: skip
    store = Store(StatePaths(tmp_path / "state").make())
    gits.clear()
    places, reason = placing.places(ask, app=app, history=History(mirror), store=store)
    store.close()
    assert (places, reason) == ((replace(ask, environment=EnvironmentName("production")),), "")
    assert len(gits) == 1

    gits.clear()
    tree = checkout(SourceRequest(repository=str(bare), ref=commit), mirrors=mirrors, into=tmp_path / "tree")
    assert (tree.commit, tree.branch, tree.subject) == (commit, "main", "first")
    assert tree.tree_hash == git(repository, "rev-parse", "HEAD^{tree}")
    assert git(tmp_path / "tree", "rev-parse", "HEAD") == commit
    assert git(tmp_path / "tree", "rev-parse", "--abbrev-ref", "HEAD") == "main"
    assert git(tmp_path / "tree", "status", "--porcelain") == ""
    assert len(gits) <= 10, "\n".join(" ".join(one) for one in gits)
