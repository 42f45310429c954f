"""`deployd git-receive`: what sshd runs for a key that may push; the release's progress goes to the pusher's terminal.

    git push deployd@control:web main

sshd's forced command names the key; what the pusher asked for is in SSH_ORIGINAL_COMMAND. git calls the hook, which is
this command again, before it keeps anything.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deployd.cli import running
from deployd.cli.outcome import conclude
from deployd.cli.verbs import verb
from deployd.domain.ids import AppName
from deployd.errors import DeploydError, NotAllowedError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from deployd.cli.context import Cli
    from deployd.domain.ids import RolloutId
    from deployd.stages.source.receiving import Repositories

_APP, _KEY = "GIT_DEPLOYD_APP", "GIT_DEPLOYD_KEY"
_ZEROS = re.compile(r"0+")
_GOOD = frozenset({"live", "prepared", "waiting", "ignored", None})
_HELD = re.compile(r"\b(?:pinned|frozen|freeze)\b")
_LOOK = 0.2  # seconds


@verb(example="deployd git-receive --key anna", hidden=True)
def git_receive(
    cli: Cli,
    app: Annotated[
        str | None, typer.Argument(metavar="[APP]", help="The app. [default: what SSH_ORIGINAL_COMMAND names]")
    ] = None,
    *,
    key: Annotated[str | None, typer.Option("--key", metavar="NAME", help="Whose key this is.")] = None,
    hook: Annotated[bool, typer.Option("--hook", help="Called by git, with what was pushed on stdin.")] = False,
) -> int:
    """Take a push over SSH. sshd runs this for keys of `deployd key add`; nobody types it."""
    return _hook(cli) if hook else _receive(cli, app, key or "")


def _receive(cli: Cli, named: str | None, key: str) -> int:
    from deployd.stages.source import receiving

    app = _wanted(named)
    _allowed(cli, app, key)
    repositories = _repositories(cli, app)
    repositories.make()
    _register(cli, app, repositories)
    hooks = _write_hook(repositories.folder)
    environment = receiving.receive_environment(
        {_APP: app, _KEY: key, "DEPLOYD_STATE_DIR": str(cli.paths.root), "NO_COLOR": "1"}
    )
    argv = receiving.receive_argv(repositories.pushed, hooks)
    cli.close()
    sys.stdout.flush()
    os.execvpe(argv[0], argv, environment)  # noqa: S606 - git takes this process's place: no shell
    return 1


def _wanted(named: str | None) -> AppName:
    """The app of `git-receive-pack 'web'`; raises UsageError or NotAllowedError."""
    asked = os.environ.get("SSH_ORIGINAL_COMMAND", "")
    try:
        words = shlex.split(asked)
    except ValueError:
        words = []
    if words[:1] in (["git-upload-pack"], ["git-upload-archive"]):
        raise NotAllowedError(
            "this key can push, and not fetch", code="git-push-only", fix="clone from where the repository lives"
        )
    if named is None and (len(words) != 2 or words[0] != "git-receive-pack"):  # noqa: PLR2004 - program and repository
        raise NotAllowedError(
            "this key can push with git, and nothing else",
            code="git-push-only",
            fix="git push deployd@HOST:APP main",
        )
    text = named or words[1].removeprefix("/").removesuffix("/").removesuffix(".git")
    try:
        return AppName.parse(text)
    except ValueError as error:
        raise UsageError(str(error), code="name-invalid", fix="git push deployd@HOST:APP main") from error


def _allowed(cli: Cli, app: AppName, key: str) -> None:
    for known in cli.daemon.pushes.git_keys():
        if known["name"] == key and (not known["apps"] or app in known["apps"]):
            return
    raise NotAllowedError(
        f"key {key or '?'} may not push to {app}",
        code="key-app",
        fix=f"on the control machine: deployd key add NAME FILE --app {app}",
    )


def _repositories(cli: Cli, app: str) -> Repositories:
    from deployd.stages.source.receiving import Repositories

    return Repositories(folder=cli.paths.root / "git", app=app)


def _register(cli: Cli, app: AppName, repositories: Repositories) -> None:
    known = next((one for one in cli.daemon.apps() if one.name == app), None)
    if known is None:
        cli.daemon.add_app(app, repository=str(repositories.checked), subdir="")
    elif known.repository != str(repositories.checked):
        raise UsageError(
            f"{app} is released from {known.repository}",
            code="git-other-source",
            fix=f"push there; or, to push here from now on: deployd app add {app} --repository {repositories.checked}",
        )


def _write_hook(folder: Path) -> Path:
    hooks = folder / "hooks"
    hooks.mkdir(mode=0o700, exist_ok=True)
    script, aside = hooks / "pre-receive", hooks / f".pre-receive.{os.getpid()}"
    start = "from deployd.cli.main import main; main()"
    program = shlex.join([sys.executable, "-c", start, "git-receive", "--hook"])
    aside.write_text(f"#!/bin/sh\nexec {program}\n")
    aside.chmod(0o700)
    aside.replace(script)
    return hooks


# the hook


def _hook(cli: Cli) -> int:
    app = AppName.parse(os.environ.get(_APP, ""))
    repositories = _repositories(cli, app)
    moved = [line.split(" ", 2) for line in sys.stdin.read().splitlines()]
    worst = 0
    for before, after, ref in moved:
        branch = ref.removeprefix("refs/heads/")
        if branch == ref:
            cli.out.line(f"{ref} is kept; only branches are released")
        elif _ZEROS.fullmatch(after):
            repositories.take_back(branch, None)
            cli.out.line(f"{branch} is deleted; what is live stays live")
        else:
            old = None if _ZEROS.fullmatch(before) else before
            worst = max(worst, _release(cli, app, repositories, branch=branch, commit=after, before=old))
    return worst


def _release(
    cli: Cli, app: AppName, repositories: Repositories, *, branch: str, commit: str, before: str | None
) -> int:
    seen = repositories.at(branch)
    repositories.show(branch, commit)
    accepted = False
    try:
        who = os.environ.get(_KEY) or "git"
        rollout = cli.daemon.pushes.push(app, branch=branch, commit=commit, before=before, who=who)
        accepted = _accepted(cli, app, rollout)
    finally:
        if not accepted:
            repositories.take_back(branch, seen)
    if not accepted:
        cli.out.line(f"{branch} is refused: {commit[:10]} is not released; what was live is live")
    return 0 if accepted else 1


def _accepted(cli: Cli, app: AppName, rollout: RolloutId) -> bool:
    """Follow a push's rollouts to their end, and say whether all of them ended well."""
    _follow(cli, rollout)
    found = _placed(cli, app, rollout)
    for other in found:
        if other["id"] != rollout:
            _follow(cli, other["id"])
    found = cli.daemon.pushes.pushed(app, rollout)
    for one in found:
        if one["outcome"] == "ignored":
            cli.out.line(f"kept, not released: {one['reason']}")
    return all(one["outcome"] in _GOOD for one in found)


def _placed(cli: Cli, app: AppName, rollout: RolloutId) -> list[dict[str, Any]]:
    found = cli.daemon.pushes.pushed(app, rollout)
    for one in found:
        if one["state"] == "waiting" and _HELD.search(one["reason"] or ""):
            cli.daemon.cancel(one["id"])
    return found


def _follow(cli: Cli, rollout: Any) -> None:
    """Show a rollout's progress; how it ended is asked for afterwards. What a pin or a freeze holds is given up."""
    while True:
        story = cli.daemon.story(rollout)
        state, reason = story["ask"]["state"], story["ask"]["reason"] or ""
        if state != "waiting":
            break
        if _HELD.search(reason):
            cli.out.line(f"it would have to wait: {reason}")
            cli.daemon.cancel(rollout)
            return
        time.sleep(_LOOK)
    if story["ask"]["outcome"] == "ignored":
        return
    try:
        result = running.run(
            cli,
            lambda report, cancel: cli.daemon.attend(rollout, report=report, cancel=cancel),
            question="Cancel this push?",
        )
        conclude(cli, result)
    except DeploydError as error:
        cli.out.error(error)
