"""SourceRequest -> SourceTree: finds the commit, and lays its files out with submodules and large files."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from deployd.domain.events import Event, Report, quiet
from deployd.domain.stages import SourceRequest, SourceTree
from deployd.errors import CommandError, RefError, SourceError
from deployd.stages.source import commitonly, git, large, mirror, working

if TYPE_CHECKING:
    import threading


def checkout(
    request: SourceRequest,
    *,
    mirrors: Path,
    into: Path,
    report: Report = quiet,
    cancel: threading.Event | None = None,
) -> SourceTree:
    """Lay the wished tree out in `into` (which must not exist or be empty); raises SourceError."""
    if into.is_dir() and any(into.iterdir()):
        raise SourceError(
            f"{into} is not empty, and what lies there would be built too",
            code="checkout-not-removed",
            live="unchanged",
            fix="remove it, and release again",
        )
    into.mkdir(parents=True, exist_ok=True)
    into = into.resolve()
    if git.is_local(request.repository) and not git.is_bare(Path(request.repository)):
        tree = _local(request, mirrors=mirrors, into=into, report=report, cancel=cancel)
    else:
        kept = mirror.kept(request.repository, request.ref, mirrors=mirrors)
        found = kept or mirror.fetch(request.repository, mirrors=mirrors, cancel=cancel)
        commit = request.ref if kept else mirror.resolve(found, request.ref)
        branch = request.branch or _branch(found.git_dir, request.ref)
        tree = _commit(found, commit, request=request, branch=branch, into=into, report=report, cancel=cancel)
    report(
        Event.SOURCE_CHECKED_OUT,
        commit=tree.commit, branch=tree.branch, ref=tree.ref, dirty=tree.dirty, subject=tree.subject,
    )  # fmt: skip
    return tree


def _local(
    request: SourceRequest, *, mirrors: Path, into: Path, report: Report, cancel: threading.Event | None
) -> SourceTree:
    top = git.top(Path(request.repository))
    if top is None and not request.dirty:
        raise SourceError(
            f"{request.repository} is not in a git repository",
            code="not-a-repository",
            fix="run `git init`, add and commit; or ship the folder as it is with --dirty",
        )
    if top:
        above = Path(request.repository).resolve().relative_to(top.resolve())
        if above != Path():  # a folder in a repository means the app in that folder
            request = replace(request, subdir=f"{above}/{request.subdir}".rstrip("/"))
    changed = working.uncommitted(str(top)) if top else ()
    commit = mirror.wanted("HEAD" if request.dirty else git.checked_ref(request.ref), cwd=top) if top else None
    if request.dirty and (changed or commit is None):
        return _dirty(request, top=top or Path(request.repository), commit=commit, into=into)
    if (commit is None or top is None) and request.ref == "HEAD":
        raise RefError(
            f"what is checked out in {request.repository} has no commit yet",
            code="ref-unknown",
            fix="`git add` and `git commit` first; or ship the folder as it is with --dirty",
        )
    if commit is None or top is None:
        raise RefError(
            f"{request.repository} has no branch, tag or commit {request.ref!r}",
            code="ref-unknown",
            fix="see `git branch -a` and `git tag`",
        )
    if changed and not request.dirty:
        report(Event.WORK_NOT_SHIPPED, files=list(changed))
    found = mirror.kept(str(top), commit, mirrors=mirrors) or mirror.fetch(
        str(top), mirrors=mirrors, wanted=commit, cancel=cancel
    )
    branch = request.branch or _branch_here(top, request.ref)
    return _commit(found, commit, request=request, branch=branch, into=into, report=report, cancel=cancel)


def _commit(
    found: mirror.Mirror,
    commit: str,
    *,
    request: SourceRequest,
    branch: str | None,
    into: Path,
    report: Report,
    cancel: threading.Event | None,
) -> SourceTree:
    with ThreadPoolExecutor(1) as beside:  # git's own files go beside the tree's, and take as long
        own = beside.submit(commitonly.write, into, commit, branch=branch, git_dir=found.git_dir, cancel=cancel)
        listing = _lay_out(found, commit, into=into, report=report, cancel=cancel, mirrors=found.git_dir.parent)
        own.result()
    told = git.run("log", "-1", "--format=%T%x00%s%x00%an <%ae>", commit, git_dir=found.git_dir).text.rstrip("\n")
    tree_hash, subject, author = told.split("\0", 2)
    return SourceTree(
        root=str(into),
        app_dir=str(_app_dir(into, request)),
        tree_hash=tree_hash,
        commit=commit,
        branch=branch,
        ref=request.ref,
        subject=subject,
        author=author,
        dirty=False,
        built_hash=_built_hash(listing),
    )


def _built_hash(listing: bytes) -> str:
    digest = hashlib.sha256()
    for line in listing.split(b"\0"):
        if not working.is_own(line.rpartition(b"\t")[2]):
            digest.update(line + b"\0")
    return digest.hexdigest()


def _dirty(request: SourceRequest, *, top: Path, commit: str | None, into: Path) -> SourceTree:
    tree_hash, built_hash = working.copy(top, into=into)
    large.fill(into, repository=str(top))
    branch = _branch_here(top, "HEAD") if commit else None
    if commit:
        own = git.run("rev-parse", "--absolute-git-dir", cwd=top, check=False).text.removesuffix("\n")
        commitonly.write(into, commit, branch=branch, git_dir=Path(own))
    subject, author = _described(commit, cwd=top) if commit else (None, None)
    return SourceTree(
        root=str(into),
        app_dir=str(_app_dir(into, request)),
        tree_hash=tree_hash,
        commit=commit,
        branch=branch,
        ref="HEAD",
        subject=subject,
        author=author,
        dirty=True,
        built_hash=built_hash,
    )


def _lay_out(
    found: mirror.Mirror, commit: str, *, into: Path, report: Report, cancel: threading.Event | None, mirrors: Path
) -> bytes:
    """The tree's files go into `into`; its listing comes back as git prints it, entries ended by a zero byte."""
    # an index of its own, so that checkouts of one mirror do not meet; and no `git archive`, which drops export-ignore
    with tempfile.TemporaryDirectory(prefix=".index-", dir=mirrors) as folder:
        index = {"GIT_INDEX_FILE": str(Path(folder) / "index")}
        git.run("read-tree", commit, git_dir=found.git_dir, env=index, cancel=cancel)
        git.run(
            f"--work-tree={into}", "checkout-index", "--all", "--force", "--quiet",
            git_dir=found.git_dir, env=index, cancel=cancel, cwd=into,
        )  # fmt: skip
    large.fill(into, repository=found.repository, mirror=found.git_dir, commit=commit)
    listing = git.run("ls-tree", "-r", "-z", commit, git_dir=found.git_dir).stdout
    for path, sub_commit in _gitlinks(listing.decode(errors="surrogateescape")):
        _submodule(found, path=path, commit=sub_commit, into=into, report=report, cancel=cancel, mirrors=mirrors)
    return listing


def _gitlinks(listing: str) -> list[tuple[str, str]]:
    entries = (line.partition("\t") for line in listing.split("\0") if line.startswith("160000 "))
    return [(path, head.split()[2]) for head, _, path in entries]


def _submodule(
    found: mirror.Mirror,
    *,
    path: str,
    commit: str,
    into: Path,
    report: Report,
    cancel: threading.Event | None,
    mirrors: Path,
) -> None:
    address = _submodule_address(path, into=into, base=found.repository)
    if address is None:
        shutil.rmtree(into / path, ignore_errors=True)  # a gitlink that .gitmodules does not name: git ignores it too
        (into / path).mkdir(parents=True, exist_ok=True)
        report(
            Event.WARNING,
            what=f"{path} is a repository of its own that .gitmodules does not name: git keeps none of its files, and "
            "the folder is empty",
            fix=f"`git rm --cached {path}`, then add its files, or make it a submodule",
        )
        return
    if not git.is_local(found.repository) and not address.startswith(("https://", "http://", "ssh://", "git@")):
        raise SourceError(
            f"the submodule {path} lies at {address}, which a fetched repository may not name",
            code="submodule-refused",
            fix="give the submodule an https or ssh address; this machine's own files are not for repositories to read",
        )
    try:
        inner = mirror.kept(address, commit, mirrors=mirrors) or mirror.fetch(
            address, mirrors=mirrors, wanted=commit, cancel=cancel
        )
    except (SourceError, CommandError) as error:
        raise SourceError(
            f"the submodule {path} could not be had: {error.what}",
            code="submodule-unreachable",
            details=error.details,
            fix=f"make {address} readable for deployd, or take the submodule out",
        ) from error
    if not mirror.has(inner, commit):
        raise SourceError(
            f"the submodule {path} names the commit {commit[:12]}, which {address} does not have",
            code="submodule-unreachable",
            fix=f"push that commit of {path}",
        )
    (into / path).mkdir(parents=True, exist_ok=True)
    _lay_out(inner, commit, into=into / path, report=report, cancel=cancel, mirrors=mirrors)


def _submodule_address(path: str, *, into: Path, base: str) -> str | None:
    named = git.run(
        "config", "--file", str(into / ".gitmodules"), "--null", "--get-regexp", r"^submodule\..*\.path$", check=False
    ).text
    for pair in filter(None, named.split("\0")):
        key, _, value = pair.partition("\n")
        if value != path:
            continue
        setting = key.removesuffix(".path") + ".url"
        own = _configured(base, setting)  # what `git submodule init` made of it, or the person
        if own:
            return own
        url = git.run("config", "--file", str(into / ".gitmodules"), "--get", setting, check=False).text.strip()
        if not url.startswith(("./", "../")):
            return url or None
        return _joined(_configured(base, "remote.origin.url") or base, url)
    return None


def _configured(repository: str, setting: str) -> str | None:
    """What a working tree of this machine has in its own configuration; None for every other repository."""
    if not git.is_local(repository):
        return None
    return git.run("config", "--local", "--get", setting, cwd=Path(repository), check=False).text.strip() or None


def _joined(base: str, relative: str) -> str:
    """As git does it: `../` takes the last word off the base, which `:` parts in git@host:shop.git."""
    rest, between = relative, "/"
    while rest.startswith(("./", "../")):
        if rest.startswith("../"):
            base = base.rstrip("/")
            between = "/" if "/" in base else ":"
            base = base.rpartition(between)[0]
            rest = rest[3:]
        else:
            rest = rest[2:]
    return f"{base}{between}{rest}"


def _described(commit: str, *, git_dir: Path | None = None, cwd: Path | None = None) -> tuple[str, str]:
    text = git.run("log", "-1", "--format=%s%x00%an <%ae>", commit, git_dir=git_dir, cwd=cwd).text.rstrip("\n")
    subject, _, author = text.partition("\0")
    return subject, author


def _branch(git_dir: Path, ref: str) -> str | None:
    if not mirror.COMMIT.fullmatch(ref):
        return ref if mirror.commit_of(f"refs/heads/{ref}", git_dir=git_dir) else None
    heads = git.run("for-each-ref", f"--points-at={ref}", "--format=%(refname:short)", "refs/heads", git_dir=git_dir)
    names = heads.text.split()
    return names[0] if len(names) == 1 else None  # the head of one branch: that is what was meant


def _branch_here(top: Path, ref: str) -> str | None:
    if ref == "HEAD":
        done = git.run("symbolic-ref", "--short", "--quiet", "HEAD", cwd=top, check=False)
        return done.text.strip() or None
    return ref if mirror.commit_of(f"refs/heads/{ref}", cwd=top) else None


def _app_dir(into: Path, request: SourceRequest) -> Path:
    folder = (into / request.subdir).resolve()
    if not folder.is_relative_to(into.resolve()) or not folder.is_dir():
        raise SourceError(
            f"the app's folder {request.subdir!r} is not in {request.ref}",
            code="app-folder-missing",
            fix="commit the folder, or name a ref that has it",
        )
    return folder
