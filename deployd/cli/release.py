"""`deployd release`: a commit (or an artifact file) comes in, and it is live; `--plan` only says what would happen."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated

import typer

from deployd.cli import running
from deployd.cli.progress import say
from deployd.cli.render import clean
from deployd.cli.verbs import verb
from deployd.cli.word import after_word
from deployd.domain.events import Event
from deployd.domain.quantity import parse_duration
from deployd.domain.stages import SourceRequest
from deployd.errors import DeploydError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from deployd.cli.context import Cli
    from deployd.rollouts.wishes import Plan, ReleaseWish


@verb(example="deployd release --plan")
def release(
    cli: Cli,
    ref: Annotated[
        str | None,
        typer.Argument(metavar="[REF]", help="A commit, branch or tag; a branch wins. [default: what is checked out]"),
    ] = None,
    *,
    dirty: Annotated[
        bool, typer.Option("--dirty", help="Ship the working tree as it is, and mark the release so.")
    ] = False,
    plan: Annotated[
        bool, typer.Option("--plan", help="Change nothing: say what would happen on which host, and why.")
    ] = False,
    artifact: Annotated[
        Path | None,
        typer.Option("--artifact", metavar="FILE", help="Release what `deployd package` made; nothing is built."),
    ] = None,
    prebuilt: Annotated[
        Path | None,
        typer.Option(
            "--prebuilt", metavar="DIR", help="Release an app's folder that was built already; nothing is run there."
        ),
    ] = None,
    no_activate: Annotated[
        bool, typer.Option("--no-activate", help="Leave it prepared, at its own address, and what is live as it is.")
    ] = False,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Build without the caches of earlier builds.")] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Leave it to the daemon and come back at once.")] = False,
    timeout: Annotated[
        str | None, typer.Option("--timeout", metavar="T", help="Turn back when it takes longer than this: 20m.")
    ] = None,
    message: Annotated[
        str | None, typer.Option("-m", "--message", metavar="TEXT", help="Why; kept with the release.")
    ] = None,
    finish: Annotated[
        bool, typer.Option("--finish", help="Bring the canary live for everybody: see `deployd canary`.")
    ] = False,
    confirm_within: Annotated[
        str | None,
        typer.Option("--confirm-within", metavar="T", help="Go back by itself unless `deployd confirm` comes: 20m."),
    ] = None,
    during_freeze: Annotated[
        bool, typer.Option("--during-freeze", help="Release although the environment is frozen.")
    ] = False,
) -> int:
    """Bring a commit live: build, ship to every host, start, probe, and only then flip.

    Uncommitted work is named and not shipped (--dirty ships it). Whatever fails before the flip has changed nothing;
    whatever fails after it flips every host back.
    """
    if finish:
        from deployd.cli.canary import finished

        return finished(
            cli, message=message, with_others=bool(ref or dirty or artifact or prebuilt or no_activate or plan)
        )
    wish = _wish(
        cli,
        ref=ref,
        dirty=dirty,
        artifact=artifact,
        prebuilt=prebuilt,
        activate=not no_activate,
        use_cache=not no_cache,
        timeout=timeout,
        message=message,
        confirm_within=seconds_of(confirm_within, flag="--confirm-within") if confirm_within else None,
        during_freeze=during_freeze,
    )
    if plan:
        _name_uncommitted(cli, wish.source)
        _draw_plan(cli, cli.client.plan(wish), asked=shlex.join([ref] if ref else ["--dirty"] if dirty else []))
        return 0
    _other_branch(cli, wish.source, ref)
    if detach:
        rollout = cli.daemon.ask(wish)
        cli.out.result({"rollout": rollout}, f"{rollout} is with the daemon")
        cli.out.next(f"deployd watch {rollout}", f"deployd cancel {rollout}")
        return 0
    result = running.run(
        cli,
        lambda report, cancel: cli.client.release(wish, report=report, cancel=cancel),
        question="Cancel this release? What is live stays live.",
    )
    return after_word(cli, result, asked=confirm_within is not None)


@verb(example="deployd release", hidden=True)
def deploy(cli: Cli) -> None:
    """Say that the verb is `release`."""
    del cli
    raise UsageError(
        "there is no `deploy`", code="usage", fix="the verb is `deployd release` (`deployd release --help`)"
    )


def _wish(
    cli: Cli,
    *,
    ref: str | None,
    dirty: bool,
    artifact: Path | None,
    prebuilt: Path | None,
    activate: bool,
    use_cache: bool,
    timeout: str | None,
    message: str | None,
    confirm_within: float | None,
    during_freeze: bool,
) -> ReleaseWish:
    from deployd.rollouts.wishes import ReleaseWish

    if artifact is not None and (ref is not None or dirty):
        raise UsageError(
            "--artifact is built already: it takes no REF and no --dirty", code="usage", fix="leave one of them out"
        )
    if prebuilt is not None and (ref is not None or dirty or artifact is not None):
        raise UsageError(
            "--prebuilt is built already: it takes no REF, no --dirty and no --artifact",
            code="usage",
            fix="leave one of them out",
        )
    if prebuilt is not None and not prebuilt.is_dir():
        raise UsageError(
            f"{prebuilt} is not a folder", code="app-dir-missing", fix="name the app's folder, with what its build left"
        )
    if ref is not None and (not ref.strip() or ref.startswith("-")):
        raise UsageError(
            f"{ref!r} is not a ref",
            code="ref-invalid",
            fix="name a branch, a tag or a commit; without any, what is checked out is taken",
        )
    if dirty and ref is not None:
        raise UsageError(
            "--dirty ships the working tree: it takes no REF", code="usage", fix="leave out one of the two"
        )
    if artifact is not None and not artifact.is_file():
        raise UsageError(
            f"there is no file {artifact}", code="file-unreadable", fix="make one: deployd package -o FILE"
        )
    app, environment = cli.where
    chosen = cli.app_environment
    return ReleaseWish(
        app=app,
        environment=environment,
        source=None if artifact or prebuilt else source_of(cli.app_dir, ref=ref, dirty=dirty),
        artifact_file=str(artifact.absolute()) if artifact is not None else None,
        prebuilt=str(prebuilt.absolute()) if prebuilt is not None else None,
        hosts=cli.hosts(),
        options=chosen.options,
        activate=activate,
        use_cache=use_cache,
        message=message,
        timeout=seconds_of(timeout) if timeout is not None else cli.settings.get("timeout"),
        confirm_within=confirm_within,
        during_freeze=during_freeze,
    )


def seconds_of(text: str, *, flag: str = "--timeout") -> float:
    """A duration that a person typed, in seconds."""
    try:
        return parse_duration(text)
    except ValueError as error:
        what, _, fix = str(error).partition(": ")
        raise UsageError(what, code="usage", fix=f"{flag}: {fix}") from error


def source_of(app_dir: Path, *, ref: str | None = None, dirty: bool = False) -> SourceRequest:
    """The app's place in its git repository, and what of it to take."""
    found = repository_of(app_dir)
    if found is None and not dirty:
        raise UsageError(
            f"{app_dir} is in no git repository",
            code="not-a-repository",
            fix="commit the app first (git init, git add, git commit), or ship the folder as it is with --dirty",
        )
    top, subdir = found or (app_dir.resolve(), "")
    return SourceRequest(repository=str(top), ref=ref or "HEAD", subdir=subdir, dirty=dirty)


def repository_of(app_dir: Path) -> tuple[Path, str] | None:
    """The top of the git repository around a folder, and the folder's place in it; None outside of one."""
    folder = app_dir.resolve()
    for top in (folder, *folder.parents):
        if (top / ".git").exists():
            return top, "" if top == folder else folder.relative_to(top).as_posix()
    return None


def _name_uncommitted(cli: Cli, source: SourceRequest | None) -> None:
    """In a plan; a release says it by an event of its source stage."""
    if source is None or source.dirty:
        return
    from deployd.stages.source import uncommitted

    sentence = say(Event.WORK_NOT_SHIPPED, {"files": uncommitted(source.repository)})
    if sentence:
        cli.out.warn(sentence.text)


def _other_branch(cli: Cli, source: SourceRequest | None, ref: str | None) -> None:
    """Ask before another branch than the environment's goes there by habit; a REF in the command line is no habit."""
    wanted = cli.app_environment.branch
    if source is None or ref is not None or wanted is None:
        return
    from deployd import process

    try:
        found = process.run(["git", "-C", source.repository, "symbolic-ref", "--quiet", "--short", "HEAD"]).text.strip()
    except DeploydError:
        return  # a detached HEAD has no branch to compare
    if not found or found == wanted:
        return
    if cli.out.can_ask:
        cli.confirm(f"This is branch {found}, and {cli.environment} is for {wanted}. Release {found}?")
    else:
        cli.out.warn(f"this is branch {found}; {cli.environment} is for {wanted}")


def _draw_plan(cli: Cli, plan: Plan, *, asked: str) -> None:
    if cli.options.json:
        cli.out.document(plan.to_json())
        return
    rows = [
        (
            str(action.host or "this machine"),
            cli.out.paint(action.stage, "bold"),
            clean(action.what),
            clean(action.reason),
        )
        for action in plan.actions
    ]
    cli.out.table(("WHERE", "STAGE", "WHAT", "WHY"), rows)
    cli.out.line()
    cli.out.line("nothing was changed")
    cli.out.next(f"deployd release {asked}".rstrip())
