"""git as a program: argv in, output out. It never asks questions, and speaks only protocols that deployd knows."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from deployd import process
from deployd.domain.repository import holds_secret, told
from deployd.errors import RefError, SourceError

if TYPE_CHECKING:
    import threading
    from collections.abc import Mapping

_URL = re.compile(r"(?:https?|ssh|git|file)://[^\s-]\S*|[A-Za-z0-9_.][A-Za-z0-9_.-]*@[A-Za-z0-9][A-Za-z0-9.-]*:\S+")
_KEPT = {
    "SSH_AUTH_SOCK", "SSH_AGENT_PID", "XDG_CONFIG_HOME", "GIT_SSH_COMMAND", "GIT_SSL_CAINFO", "GIT_SSL_CAPATH",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY",
}  # fmt: skip
# /etc/gitconfig and filters do not decide what is built, and a hook or a watcher of a stranger's repository never runs
_SETTINGS = (
    "safe.directory=*",
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.autocrlf=false",
    "log.showSignature=false",
    "filter.lfs.process=",
    "filter.lfs.smudge=",
    "filter.lfs.required=false",
)
_LONGEST_REF = 250


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """What git gets: the person's credentials helpers and agent, no prompt, no `ext::` protocol."""
    kept = {name: value for name, value in os.environ.items() if name.upper() in _KEPT}
    ours = {
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ALLOW_PROTOCOL": "file:git:http:https:ssh",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_OPTIONAL_LOCKS": "0",  # looking at a work tree writes nothing into it
    }
    return kept | ours | dict(extra or {})


def run(
    *words: str,
    git_dir: Path | None = None,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    check: bool = True,
    timeout: float = 600.0,
    cancel: threading.Event | None = None,
    stdin: bytes | None = None,
) -> process.Completed:
    """Run git in a repository; raises CommandError unless `check` is False."""
    place = [f"--git-dir={git_dir}"] if git_dir else []
    settings = [word for setting in _SETTINGS for word in ("-c", setting)]
    return process.run(
        ["git", *settings, *place, *words],
        cwd=cwd,
        env=environment(env),
        stdin=stdin,
        check=check,
        timeout=timeout,
        cancel=cancel,
    )


def checked_ref(ref: str) -> str:
    """The ref, if it can be one; raises SourceError. Quotes, spaces and `$()` are harmless: nothing is a shell's."""
    if not ref or ref.startswith("-") or len(ref) > _LONGEST_REF or re.search(r"[\x00-\x1f\x7f]", ref):
        raise RefError(
            f"{ref!r} is not a ref",
            code="ref-invalid",
            fix="name a branch, a tag or a commit; a ref never begins with '-'",
        )
    return ref


def is_local(repository: str) -> bool:
    """Whether it is a folder of this machine."""
    return not _URL.fullmatch(repository) and Path(repository).is_dir()


def checked_repository(repository: str) -> str:
    """A repository's URL, or absolute path; raises SourceError, also for one that holds a password: argv is public."""
    if holds_secret(repository):
        raise SourceError(
            f"a password or token stands in the address {told(repository)}",
            code="repository-has-secret",
            fix="leave it out of the address, and give it to git's credential helper, or use an SSH deploy key",
        )
    if _URL.fullmatch(repository):
        return repository
    if repository.startswith("-") or not Path(repository).is_dir():
        raise SourceError(
            f"{repository!r} is neither a folder nor a git URL",
            code="repository-invalid",
            fix="give a folder, or a URL such as https://... or git@host:path",
        )
    return str(Path(repository).resolve())


def is_bare(folder: Path) -> bool:
    """Whether a folder is a bare repository: it has no working tree, and is fetched from as from another machine."""
    done = run("rev-parse", "--is-bare-repository", git_dir=folder, check=False)
    return done.returncode == 0 and done.text.strip() == "true"


def top(folder: Path) -> Path | None:
    """The top of the working tree that `folder` is in, or None outside of git."""
    done = run("rev-parse", "--show-toplevel", cwd=folder, check=False)
    name = done.stdout.removesuffix(b"\n")  # as bytes: a folder's name need not be UTF-8
    return Path(os.fsdecode(name)) if done.returncode == 0 and name else None
