"""What is laid out of a commit or a working tree, on real git, and what is told of it."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest

from deployd.domain.events import Event
from deployd.domain.stages import SourceRequest
from deployd.errors import SourceError
from deployd.stages import source
from tests.support.repositories import Repository, names, page


def test_everything_that_was_committed_is_laid_out_and_nothing_else(repository: Repository, checkout: Any) -> None:
    repository.write(".gitattributes", "ignored export-ignore\nsubst export-subst\n*.txt text\n")
    repository.write("ignored", "kept\n")
    repository.write("subst", "$Format:%H$\n")
    repository.write("run", "#!/bin/sh\n").chmod(0o755)
    repository.write("ü $x 'y'", "odd\n")
    Path(os.fsdecode(os.fsencode(repository.path) + b"/\xff\xfe")).write_text("bytes\n")
    repository.write(".deployd-index", "mine\n")
    (repository.path / "link").symlink_to("run")
    (repository.path / "out").symlink_to("/etc/hostname")
    repository.commit("all kinds")
    repository.write("later", "not committed\n")
    tree = checkout(repository)
    assert names(tree) == {
        ".gitattributes", "ignored", "subst", "run", "ü $x 'y'", os.fsdecode(b"\xff\xfe"), "link", "out", "page",
        ".deployd-index",
    }  # fmt: skip
    root = Path(tree.root)
    assert (root / "subst").read_text() == "$Format:%H$\n"
    assert os.access(root / "run", os.X_OK)
    assert not os.access(root / "page", os.X_OK)
    assert (root / "link").readlink() == Path("run")
    assert (root / "out").readlink() == Path("/etc/hostname")


def test_a_filter_or_hook_of_the_persons_configuration_does_not_run(
    repository: Repository, checkout: Any, tmp_path: Path
) -> None:
    (tmp_path / "home" / ".gitconfig").write_text(
        '[filter "lfs"]\n\tsmudge = git-lfs smudge -- %f\n\tprocess = git-lfs filter-process\n\trequired = true\n'
        "[log]\n\tshowSignature = true\n[core]\n\tautocrlf = true\n"
    )
    repository.write(".gitattributes", "*.bin filter=lfs\n")
    repository.write("small.bin", "not a pointer\n")
    repository.git("-c", "filter.lfs.clean=cat", "add", "--all")
    repository.git("commit", "--quiet", "-m", "third")
    tree = checkout(repository)
    assert (Path(tree.root) / "small.bin").read_bytes() == b"not a pointer\n"
    assert tree.subject == "third"


def test_the_apps_folder(repository: Repository, checkout: Any, tmp_path: Path) -> None:
    repository.write("apps/web/package.json", "{}")
    (repository.path / "apps" / "out").symlink_to(tmp_path)
    repository.commit("a workspace")
    assert Path(checkout(repository, subdir="apps/web").app_dir).name == "web"
    inside = checkout(str(repository.path / "apps" / "web"))  # a folder in a repository means that folder
    assert Path(inside.app_dir).relative_to(inside.root) == Path("apps/web")
    for missing in ("apps/gone", "../shop", "apps/out", "page", "/etc"):
        with pytest.raises(SourceError) as caught:
            checkout(repository, subdir=missing)
        assert caught.value.code == "app-folder-missing"
        assert missing in caught.value.what


def test_a_checkout_below_a_link_still_knows_its_folders(repository: Repository, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    tree = source.checkout(
        SourceRequest(repository=str(repository.path)), mirrors=tmp_path / "mirrors", into=tmp_path / "link" / "x"
    )
    assert Path(tree.app_dir).relative_to(tree.root) == Path()


def test_a_shallow_clone_a_worktree_and_a_detached_head_are_repositories_too(
    repository: Repository, checkout: Any, tmp_path: Path
) -> None:
    repository.git("clone", "--quiet", "--depth=1", repository.path.as_uri(), str(tmp_path / "shallow"))
    assert page(checkout(str(tmp_path / "shallow"))) == "two\n"
    repository.git("worktree", "add", "--quiet", "--detach", str(tmp_path / "tree"), "HEAD~1")
    tree = checkout(str(tmp_path / "tree"))
    assert (page(tree), tree.branch) == ("one\n", None)
    lonely = repository.git("commit-tree", "-m", "on no branch", "HEAD^{tree}")
    assert checkout(repository, lonely).subject == "on no branch"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give a file away")
def test_another_users_repository_is_read(repository: Repository, checkout: Any) -> None:
    for path in (repository.path, *repository.path.rglob("*")):
        os.chown(path, 65534, 65534, follow_symlinks=False)
    assert page(checkout(repository)) == "two\n"
    assert page(checkout(repository.path.as_uri())) == "two\n"
    assert source.uncommitted(str(repository.path)) == ()


def test_many_checkouts_of_one_repository_at_once(repository: Repository, checkout: Any) -> None:
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda ref=ref: found.append(page(checkout(repository, ref))))
        for ref in ("HEAD", "HEAD~1") * 4
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == ["one\n"] * 4 + ["two\n"] * 4


def test_what_is_not_committed_is_named_and_not_shipped(repository: Repository, checkout: Any) -> None:
    repository.write("page", "three\n")
    repository.write("a new file", "")
    repository.write(".gitignore", "secret\n")
    repository.write("secret", "")
    told: list[tuple[Event, dict[str, Any]]] = []
    tree = checkout(repository, report=lambda event, **fields: told.append((event, fields)))
    assert page(tree) == "two\n"
    wanted = {"page", "a new file", ".gitignore"}
    assert set(source.uncommitted(str(repository.path))) == wanted
    assert [set(fields["files"]) for event, fields in told if event is Event.WORK_NOT_SHIPPED] == [wanted]
    assert told[-1][0] is Event.SOURCE_CHECKED_OUT


def test_a_renamed_file_is_named_by_its_new_name(repository: Repository) -> None:
    repository.git("mv", "page", "leaf")
    assert source.uncommitted(str(repository.path)) == ("leaf",)
    assert source.uncommitted(str(repository.path.parent)) == ()


def test_dirty_takes_tracked_and_new_files_and_leaves_ignored_and_deleted_ones(
    repository: Repository, checkout: Any
) -> None:
    repository.commit("more", gone="x", old="y")
    (repository.path / "gone").unlink()
    repository.write("page", "three\n")
    repository.write("new", "n").chmod(0o755)
    repository.write(".gitignore", "ignored\n")
    repository.write("ignored", "")
    (repository.path / "link").symlink_to("nowhere")
    tree = checkout(repository, dirty=True)
    assert names(tree) == {"page", "new", "old", ".gitignore", "link"}
    assert tree.dirty
    assert (tree.commit, tree.branch) == (repository.git("rev-parse", "HEAD"), "main")
    assert page(tree) == "three\n"
    assert os.access(Path(tree.root) / "new", os.X_OK)


def test_a_dirty_tree_is_named_by_its_content(repository: Repository, checkout: Any) -> None:
    repository.write("page", "three\n")
    first = checkout(repository, dirty=True).tree_hash
    os.utime(repository.path / "page", (1, 1))
    assert checkout(repository, dirty=True).tree_hash == first
    (repository.path / "page").chmod(0o755)
    assert checkout(repository, dirty=True).tree_hash != first
    repository.git("checkout", "--quiet", "--", "page")
    clean = checkout(repository, dirty=True)
    assert not clean.dirty
    assert clean.tree_hash == repository.git("rev-parse", "HEAD^{tree}")


@pytest.mark.parametrize("dirty", [False, True])
def test_a_deployd_toml_is_no_part_of_what_is_built(repository: Repository, checkout: Any, *, dirty: bool) -> None:
    """Its keys count for a build one by one: another page for health checks builds nothing again."""
    hashes = []
    for name, text in (("page", "three\n"), ("deployd.toml", "a"), ("web/deployd.toml", "b"), ("page", "four\n")):
        (repository.path / name).parent.mkdir(exist_ok=True)
        repository.write(name, text)
        if not dirty:
            repository.git("add", "-A")
            repository.git("commit", "--quiet", "-m", name)
        tree = checkout(repository, dirty=dirty)
        assert tree.dirty is dirty
        hashes.append(tree.built_hash)

    assert hashes[0] == hashes[1] == hashes[2] != hashes[3]


def test_dirty_works_without_a_commit_and_without_git(checkout: Any, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    (plain / "node_modules" / "x").mkdir(parents=True)
    (plain / "node_modules" / "x" / "y").write_text("")
    (plain / "page").write_text("mine\n")
    tree = checkout(str(plain), dirty=True)
    assert (names(tree), tree.commit, tree.dirty) == ({"page"}, None, True)
    fresh = Repository(tmp_path / "fresh")
    fresh.write("page", "new\n")
    tree = checkout(fresh, dirty=True)
    assert (page(tree), tree.commit, tree.branch) == ("new\n", None, None)


def test_a_folder_that_became_a_link_is_copied_as_a_link(repository: Repository, checkout: Any, tmp_path: Path) -> None:
    repository.write("folder/inner", "tracked\n")
    repository.commit("a folder")
    (repository.path / "folder" / "inner").unlink()
    (repository.path / "folder").rmdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "inner").write_text("not the app's\n")
    (repository.path / "folder").symlink_to(tmp_path / "elsewhere")
    tree = checkout(repository, dirty=True)
    assert names(tree) == {"page", "folder"}
    assert (tmp_path / "elsewhere" / "inner").read_text() == "not the app's\n"


def test_a_cancelled_checkout_ends(repository: Repository, tmp_path: Path) -> None:
    from deployd.errors import CancelledError

    cancel = threading.Event()
    cancel.set()
    with pytest.raises(CancelledError):
        source.checkout(
            SourceRequest(repository=str(repository.path)),
            mirrors=tmp_path / "mirrors", into=tmp_path / "into", cancel=cancel,
        )  # fmt: skip
