"""The stages on this machine, without hosts, engine or remote: the app's folder as it is comes in, a build goes out.

The folder itself is not touched: what git does not ignore is copied into the state folder and built there, as
`release --dirty` would. A build of the same tree with the same inputs is used again.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from deployd.cli import slots
from deployd.cli.init import app_name
from deployd.cli.release import repository_of
from deployd.domain.events import Event, Report
from deployd.domain.options import APP_FILE, Options
from deployd.domain.stages import SourceRequest
from deployd.errors import NotAllowedError, UnreachableError, UsageError

if TYPE_CHECKING:
    import threading
    from collections.abc import Mapping

    from deployd.cli.context import Cli
    from deployd.domain.ids import AppName
    from deployd.domain.secret import Secret
    from deployd.domain.stages import BuildOutput


_RECORD = "build.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What to build, read before the work begins."""

    app: AppName
    environment: str
    options: Options
    source: SourceRequest
    variables: Mapping[str, Secret]
    state: Path
    caches: Path
    mirrors: Path
    runtimes: Path
    artifacts: Path
    log: Path
    use_cache: bool


def wish_of(cli: Cli, *, use_cache: bool = True) -> Wish:
    """The app's folder and options; without a deployd.toml, the defaults."""
    folder = cli.options.app_dir.absolute() if cli.options.app_dir else _nearest()
    if not folder.is_dir():
        raise UsageError(
            f"{folder} is not a folder", code="app-dir-missing", fix="name the app's folder with --app-dir"
        )
    app, options, variables = app_name(folder), Options(), dict[str, "Secret"]()
    if (folder / APP_FILE).is_file():
        from deployd import appfile

        file = appfile.load(folder / APP_FILE)
        app, options = file.name, file.options
        if cli.environment in file.environments:
            options = file.environment(cli.environment).options
            variables = revealed(cli, app, only_build=True)
    paths = cli.paths.make()
    repository, subdir = repository_of(folder) or (folder, "")
    key = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    return Wish(
        app=app,
        environment=cli.environment,
        options=options,
        source=SourceRequest(repository=str(repository), subdir=subdir, dirty=True),
        variables=variables,
        state=paths.checkouts / f"alone-{key}",
        caches=paths.caches / f"{app}.alone",
        mirrors=paths.mirrors,
        runtimes=paths.runtimes,
        artifacts=paths.artifacts,
        log=paths.logs / f"alone-{key}.log",
        use_cache=use_cache,
    )


def built(wish: Wish, *, report: Report, cancel: threading.Event) -> BuildOutput:
    """Check out, plan, and build, unless that very build is there."""
    from deployd import settings
    from deployd.stages import build, source
    from deployd.stages.build import runtime

    kept = _kept(wish) if wish.use_cache else None
    slot = slots.take(wish.state, but=_slot_of(wish, kept) if kept else None)
    if kept is None:  # the record may name this very folder
        (wish.state / _RECORD).unlink(missing_ok=True)
    output = None
    try:
        with stage("source", report):
            fresh = slot / "tree"  # it stays there: builds remember absolute paths
            tree = source.checkout(wish.source, mirrors=wish.mirrors, into=fresh, report=report, cancel=cancel)
        plan = build.plan_for(tree, wish.options, app=wish.app, environment=wish.environment, variables=wish.variables)
        if kept and kept.plan.build_id == plan.build_id:
            report(Event.BUILD_REUSED, build_id=plan.build_id)
            return kept
        with stage("build", report):
            node = runtime.fetch(plan.node, runtimes=wish.runtimes, cancel=cancel)
            wish.log.unlink(missing_ok=True)
            output = build.build(
                tree,
                plan,
                options=wish.options.build,
                caches=wish.caches,
                log=wish.log,
                variables=wish.variables,
                node=Path(node.path),
                use_cache=wish.use_cache,
                contained=settings.builds().contained,
                hidden=(wish.caches.parent.parent,),
                report=report,
                cancel=cancel,
            )
        return _keep(wish, output, slot=slot, old=kept)
    finally:
        if output is None:
            slots.clear(slot)


class stage:  # noqa: N801 - reads as a statement: with stage("build", report)
    """Tells that a stage began, and how long it took."""

    def __init__(self, name: str, report: Report) -> None:
        self._name, self._report = name, report
        self._begun = time.monotonic()

    def __enter__(self) -> None:
        """Begin."""
        self._report(Event.STAGE_STARTED, stage=self._name)

    def __exit__(self, kind: type[BaseException] | None, *_rest: object) -> None:
        """End; a stage that failed is not told as finished."""
        if kind is None:
            self._report(Event.STAGE_FINISHED, stage=self._name, seconds=round(time.monotonic() - self._begun, 3))


def _nearest() -> Path:
    here = Path.cwd()
    return next((folder for folder in (here, *here.parents) if (folder / APP_FILE).is_file()), here)


def revealed(cli: Cli, app: AppName, *, only_build: bool = False) -> dict[str, Secret]:
    """The variables that people set; none, and a warning, where a daemon elsewhere keeps them."""
    try:
        known = cli.client.variables(app, cli.environment)
        names = {one.key for one in known if one.build or one.both or not only_build}
        found = cli.client.reveal_variables(app, cli.environment) if names else {}
    except (NotAllowedError, UnreachableError) as error:
        cli.out.warn(f"the variables of {app} {cli.environment} are not here ({error.what}): this goes on without them")
        return {}
    return {name: secret for name, secret in found.items() if name in names}


def _kept(wish: Wish) -> BuildOutput | None:
    from deployd.rollouts import values

    try:
        output = values.build_output(json.loads((wish.state / _RECORD).read_text()))
        return output if slots.read(_slot_of(wish, output)) and Path(output.app_dir).is_dir() else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _slot_of(wish: Wish, output: BuildOutput) -> Path:
    return wish.state / Path(output.root).relative_to(wish.state).parts[0]


def _keep(wish: Wish, output: BuildOutput, *, slot: Path, old: BuildOutput | None) -> BuildOutput:
    """Remember a finished build instead of the old one, whose installed packages serve the next build."""
    from deployd import settings
    from deployd.stages import build

    if old is not None and slots.own(_slot_of(wish, old)):
        build.keep_install(old, caches=wish.caches)
        slots.clear(_slot_of(wish, old))
    build.keep_within(wish.caches.parent, settings.builds().cache_size)
    aside = wish.state / f".build.{os.getpid()}"
    aside.write_text(json.dumps(asdict(output)))
    aside.rename(wish.state / _RECORD)
    slots.show(slot)
    for folder in wish.state.iterdir():
        if folder.is_dir() and folder != slot and slots.own(folder):
            slots.clear(folder)
    return output
