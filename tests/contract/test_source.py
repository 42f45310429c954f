"""What a ref means, on real git: which commit it is, where it comes from, and which are refused by name."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from deployd.errors import SourceError
from tests.support.repositories import ODD, Repository, page

if TYPE_CHECKING:
    from deployd.domain.stages import SourceTree


def test_a_ref_is_a_branch_a_tag_a_hash_or_what_git_makes_of_it(repository: Repository, checkout: Any) -> None:
    second = repository.git("rev-parse", "HEAD")
    repository.git("tag", "-a", "-m", "told", "v1", "HEAD~1")
    repository.git("branch", "feature/x", "HEAD~1")
    for ref, text in {
        "HEAD": "two\n", "main": "two\n", "HEAD~1": "one\n", "v1": "one\n", "feature/x": "one\n",
        second: "two\n", second[:9]: "two\n", "main^": "one\n",
    }.items():  # fmt: skip
        assert page(checkout(repository, ref)) == text, ref


def test_the_tree_says_where_it_comes_from(repository: Repository, checkout: Any) -> None:
    tree = checkout(repository)
    assert tree.commit == repository.git("rev-parse", "HEAD")
    assert tree.tree_hash == repository.git("rev-parse", "HEAD^{tree}")
    assert (tree.branch, tree.subject, tree.author) == ("main", "second", "Ada <ada@example.com>")
    assert not tree.dirty
    assert checkout(repository, "HEAD~1").branch is None
    # a commit of a pull request, and one that several branches have: the forge said which it is
    repository.git("branch", "beside")
    for place in (repository, f"file://{repository.path}"):
        assert checkout(place, tree.commit, branch="pull/12").branch == "pull/12"


def asked(tree: SourceTree, *words: str) -> str:
    """What git says in the checkout, as a build would ask it."""
    done = subprocess.run(
        ["git", *words],
        cwd=tree.app_dir,
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": "/usr/bin:/bin"},
    )
    return done.stdout.strip()


def test_a_build_may_ask_git_which_commit_it_is(repository: Repository, checkout: Any) -> None:
    first = repository.git("rev-parse", "HEAD~1")
    tree = checkout(repository)
    assert asked(tree, "rev-parse", "HEAD") == tree.commit != first
    assert asked(tree, "rev-parse", "--abbrev-ref", "HEAD") == tree.branch == "main"
    assert asked(tree, "log", "-1", "--format=%s by %an") == "second by Ada"
    assert asked(tree, "status", "--porcelain") == ""
    assert asked(tree, "ls-files") == "page"
    old = checkout(repository, ref=first)
    assert (asked(old, "rev-parse", "HEAD"), asked(old, "rev-parse", "--abbrev-ref", "HEAD")) == (first, "HEAD")
    repository.write("page", "three\n")
    dirty = checkout(repository, dirty=True)
    assert asked(dirty, "rev-parse", "HEAD") == tree.commit
    assert asked(dirty, "status", "--porcelain") == "M page"


def test_a_url_is_fetched_and_follows_what_was_pushed(repository: Repository, checkout: Any) -> None:
    url = repository.path.as_uri()
    assert page(checkout(url)) == "two\n"
    repository.commit("third", page="three\n")
    assert page(checkout(url, "main")) == "three\n"
    repository.git("reset", "--hard", "--quiet", "HEAD~2")  # a forced push
    assert page(checkout(url, "main")) == "one\n"


@pytest.mark.parametrize("ref", ["main", "commit", "HEAD"])
def test_a_bare_repository_of_this_machine_is_fetched_from(
    repository: Repository, checkout: Any, tmp_path: Path, ref: str
) -> None:
    repository.write("apps/shop/page", "three\n")
    commit = repository.commit("third")
    bare = tmp_path / "bare.git"
    repository.git("clone", "--quiet", "--bare", ".", str(bare))
    tree = checkout(str(bare), commit if ref == "commit" else ref, subdir="apps/shop")
    assert (tree.commit, tree.dirty) == (commit, False)
    assert Path(tree.app_dir, "page").read_text() == "three\n"


def test_a_branch_that_became_a_folder_of_branches_is_fetched(repository: Repository, checkout: Any) -> None:
    repository.git("branch", "topic")
    assert page(checkout(repository, "topic")) == "two\n"
    repository.git("branch", "-D", "topic")
    repository.git("branch", "topic/inner", "HEAD~1")
    assert page(checkout(repository, "topic/inner")) == "one\n"
    with pytest.raises(SourceError, match="no branch, tag or commit"):
        checkout(repository.path.as_uri(), "topic")


def test_a_url_whose_head_names_no_branch_still_has_its_branches(repository: Repository, checkout: Any) -> None:
    repository.git("symbolic-ref", "HEAD", "refs/heads/gone")
    assert page(checkout(repository.path.as_uri(), "main")) == "two\n"
    with pytest.raises(SourceError) as caught:
        checkout(repository.path.as_uri(), "HEAD")
    assert caught.value.code == "ref-unknown"


def test_a_branch_name_with_quotes_and_shell_words_is_only_a_name(
    repository: Repository, checkout: Any, tmp_path: Path
) -> None:
    repository.git("branch", ODD, "HEAD~1")
    tree = checkout(repository, ODD)
    assert (page(tree), tree.branch) == ("one\n", ODD)
    assert page(checkout(repository.path.as_uri(), ODD)) == "one\n"
    assert not list(tmp_path.rglob("pwned"))


def test_a_branch_wins_over_a_tag_of_its_name_wherever_it_is(repository: Repository, checkout: Any) -> None:
    repository.git("tag", "next", "HEAD~1")
    repository.git("branch", "next")
    for place in (repository, repository.path.as_uri()):
        tree = checkout(place, "next")
        assert (page(tree), tree.branch) == ("two\n", "next")
        assert page(checkout(place, "refs/tags/next")) == "one\n"


@pytest.mark.parametrize("ref", ["a branch", "no$(such)", "nothing"])
def test_a_ref_that_is_not_there_is_named(repository: Repository, checkout: Any, ref: str) -> None:
    for place in (repository, repository.path.as_uri()):
        with pytest.raises(SourceError) as caught:
            checkout(place, ref)
        assert (caught.value.code, caught.value.exit_code) == ("ref-unknown", 2)
        assert ref in caught.value.what
        assert caught.value.fix


@pytest.mark.parametrize("ref", ["-upload-pack=touch pwned", "--all", "-", "", "a\nb", "a\0b", "x" * 300])
def test_a_ref_that_cannot_be_one_is_refused(repository: Repository, checkout: Any, ref: str) -> None:
    for place in (repository, repository.path.as_uri()):
        with pytest.raises(SourceError) as caught:
            checkout(place, ref)
        assert (caught.value.code, caught.value.exit_code) == ("ref-invalid", 2)


@pytest.mark.parametrize(
    "place",
    ["ext::sh -c touch% pwned", "--upload-pack=touch pwned", "-x@host:path", "a@-oProxyCommand=x:path", "fd::17",
     "file://-x/y", "no/such/folder", "ssh://-oProxyCommand=touch/x", "http::https://example.com/x"],
)  # fmt: skip
def test_an_address_that_is_no_repository_is_refused(checkout: Any, place: str) -> None:
    with pytest.raises(SourceError) as caught:
        checkout(place)
    assert caught.value.code in {"repository-invalid", "fetch-failed"}
    if not place.startswith("file:"):
        assert caught.value.code == "repository-invalid"


def test_a_repository_without_a_commit_and_a_folder_without_git_are_told(checkout: Any, tmp_path: Path) -> None:
    with pytest.raises(SourceError) as caught:
        checkout(Repository(tmp_path / "empty"))
    assert (caught.value.code, "no commit yet" in caught.value.what) == ("ref-unknown", True)
    (tmp_path / "plain").mkdir()
    with pytest.raises(SourceError) as caught:
        checkout(str(tmp_path / "plain"))
    assert caught.value.code == "not-a-repository"
    with pytest.raises(SourceError) as caught:
        checkout((tmp_path / "plain").as_uri())
    assert caught.value.code == "fetch-failed"
    assert caught.value.details
