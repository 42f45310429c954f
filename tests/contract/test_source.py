"""Source on real git: what a ref means, what is laid out, and what is refused by name."""

from __future__ import annotations

import hashlib
import os
import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from deployd.domain.events import Event
from deployd.domain.stages import SourceRequest, SourceTree
from deployd.errors import SourceError
from deployd.stages import source

if TYPE_CHECKING:
    from collections.abc import Callable

ODD = "we\"ird-$(touch${IFS}pwned)-'x'-`id`"


class Repository:
    """A git repository of a person, with an identity and no configuration of this machine's."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        self.git("init", "--quiet", "--initial-branch=main")

    def git(self, *words: str) -> str:
        env = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.path.parent),
            "GIT_CONFIG_NOSYSTEM": "1",
            **{f"GIT_{who}_NAME": "Ada" for who in ("AUTHOR", "COMMITTER")},
            **{f"GIT_{who}_EMAIL": "ada@example.com" for who in ("AUTHOR", "COMMITTER")},
        }
        done = subprocess.run(
            ["git", "-c", "protocol.file.allow=always", *words],
            cwd=self.path, env=env, check=True, capture_output=True,
        )  # fmt: skip
        return done.stdout.decode().strip()

    def write(self, name: str, text: str | bytes) -> Path:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    def commit(self, subject: str = "change", **files: str) -> str:
        for name, text in files.items():
            self.write(name, text)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "-m", subject)
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = Repository(tmp_path / "shop")
    made.commit("first", page="one\n")
    made.commit("second", page="two\n")
    return made


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., SourceTree]:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    numbers = iter(range(1000))

    def do(repository: Repository | str, ref: str = "HEAD", **more: Any) -> SourceTree:
        place = str(repository.path) if isinstance(repository, Repository) else repository
        report = more.pop("report", lambda _event, **_fields: None)
        return source.checkout(
            SourceRequest(repository=place, ref=ref, **more),
            mirrors=tmp_path / "mirrors",
            into=tmp_path / f"into{next(numbers)}",
            report=report,
        )

    return do


def names(tree: SourceTree) -> set[str]:
    root = Path(tree.root)
    found = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_symlink() or not path.is_dir()}
    return {name for name in found if not name.startswith(".git/")}


def page(tree: SourceTree) -> str:
    return (Path(tree.root) / "page").read_text()


# What a ref means


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


@pytest.mark.parametrize("ref", ["a branch", "no$(such)", "nothing"])
def test_a_ref_that_is_not_there_is_named(repository: Repository, checkout: Any, ref: str) -> None:
    for place in (repository, repository.path.as_uri()):
        with pytest.raises(SourceError) as caught:
            checkout(place, ref)
        assert caught.value.code == "ref-unknown"
        assert ref in caught.value.what
        assert caught.value.fix


@pytest.mark.parametrize("ref", ["-upload-pack=touch pwned", "--all", "-", "", "a\nb", "a\0b", "x" * 300])
def test_a_ref_that_cannot_be_one_is_refused(repository: Repository, checkout: Any, ref: str) -> None:
    for place in (repository, repository.path.as_uri()):
        with pytest.raises(SourceError) as caught:
            checkout(place, ref)
        assert caught.value.code == "ref-invalid"


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
    assert caught.value.code == "ref-unknown"
    (tmp_path / "plain").mkdir()
    with pytest.raises(SourceError) as caught:
        checkout(str(tmp_path / "plain"))
    assert caught.value.code == "not-a-repository"
    with pytest.raises(SourceError) as caught:
        checkout((tmp_path / "plain").as_uri())
    assert caught.value.code == "fetch-failed"
    assert caught.value.details


# What is laid out


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


# The working tree as it is


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


# Submodules


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


def test_a_gitlink_without_an_address_is_an_empty_folder(repository: Repository, checkout: Any) -> None:
    commit = repository.git("rev-parse", "HEAD")
    repository.git("update-index", "--add", "--cacheinfo", f"160000,{commit},lost")
    repository.git("commit", "--quiet", "-m", "a lost submodule")
    assert names(checkout(repository)) == {"page"}


# Large files


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


# Cancelled


def test_a_cancelled_checkout_ends(repository: Repository, tmp_path: Path) -> None:
    from deployd.errors import CancelledError

    cancel = threading.Event()
    cancel.set()
    with pytest.raises(CancelledError):
        source.checkout(
            SourceRequest(repository=str(repository.path)),
            mirrors=tmp_path / "mirrors", into=tmp_path / "into", cancel=cancel,
        )  # fmt: skip
