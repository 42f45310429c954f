"""What a repository has elsewhere, on real git: submodules and large files, had or refused by name."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from deployd.errors import SourceError
from deployd.stages.source import git
from deployd.stages.source.checkout import _joined
from tests.support.repositories import Repository, names


@pytest.fixture
def with_submodule(repository: Repository, tmp_path: Path) -> Repository:
    inner = Repository(tmp_path / "theme")
    inner.commit("theme", style="plain\n")
    repository.git("submodule", "add", "--quiet", "../theme", "the theme")
    repository.commit("with a submodule")
    return repository


def test_a_submodule_is_laid_out_at_its_commit(with_submodule: Repository, checkout: Any, tmp_path: Path) -> None:
    Repository(tmp_path / "theme").commit("later", style="fancy\n")
    tree = checkout(with_submodule)
    assert (Path(tree.root) / "the theme" / "style").read_text() == "plain\n"
    assert list(Path(tree.root).rglob(".git")) == [Path(tree.root) / ".git"]


def test_a_dirty_tree_takes_the_submodules_files(with_submodule: Repository, checkout: Any) -> None:
    with_submodule.write("the theme/style", "mine\n")
    tree = checkout(with_submodule, dirty=True)
    assert (Path(tree.root) / "the theme" / "style").read_text() == "mine\n"


def test_a_submodule_that_cannot_be_had_is_refused_by_name(
    with_submodule: Repository, checkout: Any, tmp_path: Path
) -> None:
    (tmp_path / "theme").rename(tmp_path / "away")
    with pytest.raises(SourceError) as caught:
        checkout(with_submodule)
    assert caught.value.code == "submodule-unreachable"
    assert "the theme" in caught.value.what


def test_a_relative_submodule_of_a_clone_lies_beside_where_the_clone_is_from(
    with_submodule: Repository, checkout: Any, tmp_path: Path
) -> None:
    """`../theme` in a clone at ~/shop is not ~/theme: it is beside the origin, unless the clone itself says where."""
    clone = tmp_path / "elsewhere" / "shop"
    git.run("clone", "--quiet", str(with_submodule.path), str(clone))
    tree = checkout(str(clone))
    assert (Path(tree.root) / "the theme" / "style").read_text() == "plain\n"
    (tmp_path / "theme").rename(tmp_path / "away")
    git.run("config", "submodule.the theme.url", str(tmp_path / "away"), cwd=clone)
    tree = checkout(str(clone))
    assert (Path(tree.root) / "the theme" / "style").read_text() == "plain\n"


@pytest.mark.parametrize(
    ("base", "relative", "found"),
    [
        ("https://git.example/a/shop.git", "../theme.git", "https://git.example/a/theme.git"),
        ("https://git.example/a/shop.git/", "../../b/theme", "https://git.example/b/theme"),
        ("git@git.example:a/shop.git", "../theme.git", "git@git.example:a/theme.git"),
        ("git@git.example:shop.git", "../theme.git", "git@git.example:theme.git"),
        ("ssh://git.example/shop", "./theme", "ssh://git.example/shop/theme"),
    ],
)
def test_relative_addresses_are_gits(base: str, relative: str, found: str) -> None:
    assert _joined(base, relative) == found


def test_a_submodule_commit_that_was_never_pushed_is_refused_by_name(with_submodule: Repository, checkout: Any) -> None:
    inner = Repository(with_submodule.path / "the theme")
    inner.commit("only here", style="local\n")
    with_submodule.commit("moved")
    with pytest.raises(SourceError) as caught:
        checkout(with_submodule)
    assert caught.value.code == "submodule-unreachable"
    assert "the theme" in caught.value.what


def test_a_fetched_repository_may_not_name_this_machines_files(
    repository: Repository, checkout: Any, tmp_path: Path
) -> None:
    secret = Repository(tmp_path / "secret")
    commit = secret.commit("private", key="hush\n")
    repository.write(".gitmodules", f'[submodule "x"]\n\tpath = x\n\turl = {secret.path}\n')
    repository.git("add", "--all")
    repository.git("update-index", "--add", "--cacheinfo", f"160000,{commit},x")
    repository.git("commit", "--quiet", "-m", "mischief")
    with pytest.raises(SourceError) as caught:
        checkout(repository.path.as_uri())
    assert caught.value.code == "submodule-refused"
    repository.write(".gitmodules", '[submodule "x"]\n\tpath = x\n\turl = ext::sh -c "touch pwned"\n')
    repository.git("add", ".gitmodules")
    repository.git("commit", "--quiet", "-m", "worse")
    with pytest.raises(SourceError):
        checkout(repository)
    assert not list(tmp_path.rglob("pwned"))


def test_a_gitlink_without_an_address_is_an_empty_folder_and_is_told(repository: Repository, checkout: Any) -> None:
    commit = repository.git("rev-parse", "HEAD")
    repository.git("update-index", "--add", "--cacheinfo", f"160000,{commit},lost")
    repository.git("commit", "--quiet", "-m", "a lost submodule")
    told: list[str] = []

    def report(event: str, **fields: Any) -> None:
        told.extend([fields["what"]] if event == "warning" else [])

    assert names(checkout(repository, report=report)) == {"page"}
    assert "lost is a repository of its own that .gitmodules does not name" in "; ".join(told)


def _pointer(content: bytes) -> str:
    oid = hashlib.sha256(content).hexdigest()
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {len(content)}\n"


def _store(repository: Repository, content: bytes) -> None:
    oid = hashlib.sha256(content).hexdigest()
    repository.write(f".git/lfs/objects/{oid[:2]}/{oid[2:4]}/{oid}", content)


def test_a_large_file_comes_from_the_repositorys_own_store(repository: Repository, checkout: Any) -> None:
    repository.write(".gitattributes", "*.bin filter=lfs diff=lfs merge=lfs -text\n")
    repository.commit("large", **{"big.bin": _pointer(b"LARGE"), "assets/other.bin": _pointer(b"OTHER")})
    _store(repository, b"LARGE")
    _store(repository, b"OTHER")
    root = Path(checkout(repository).root)
    assert (root / "big.bin").read_bytes() == b"LARGE"
    assert (root / "assets" / "other.bin").read_bytes() == b"OTHER"


@pytest.mark.parametrize("dirty", [False, True])
def test_a_large_file_that_cannot_be_had_is_refused_by_name(repository: Repository, checkout: Any, dirty: bool) -> None:  # noqa: FBT001
    repository.commit("large", **{"big.bin": _pointer(b"LARGE")})
    repository.write("page", "changed\n")
    with pytest.raises(SourceError) as caught:
        checkout(repository, dirty=dirty)
    assert caught.value.code == "lfs-missing"
    assert "big.bin" in caught.value.what
    assert "git-lfs" in caught.value.fix


def test_a_large_file_whose_content_is_wrong_is_refused(repository: Repository, checkout: Any) -> None:
    repository.commit("large", **{"big.bin": _pointer(b"LARGE")})
    oid = hashlib.sha256(b"LARGE").hexdigest()
    repository.write(f".git/lfs/objects/{oid[:2]}/{oid[2:4]}/{oid}", b"WRONG")
    with pytest.raises(SourceError, match=r"big\.bin"):
        checkout(repository)


def test_a_link_to_a_large_files_pointer_is_left_alone(repository: Repository, checkout: Any, tmp_path: Path) -> None:
    outside = tmp_path / "outside.bin"
    outside.write_text(_pointer(b"LARGE"))
    (repository.path / "link").symlink_to(outside)
    repository.commit("a link")
    assert (Path(checkout(repository).root) / "link").readlink() == outside
    assert outside.read_text() == _pointer(b"LARGE")
