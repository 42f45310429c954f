"""`POST /v1/uploads`: what the daemon's user cannot read of a person's on this machine comes in, and a name goes out.

A `bundle` (git's) joins the app's uploaded repository, an `artifact` is a file. A wish names either, and what no wish
took is removed after a day.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request
from starlette.concurrency import run_in_threadpool

from deployd.daemon.api import bounds
from deployd.daemon.api.auth import Caller, daemon_of, require
from deployd.daemon.api.shapes import App
from deployd.daemon.wiring import Daemon
from deployd.errors import DeploydError, NotAllowedError, UsageError
from deployd.stages import source

if TYPE_CHECKING:
    from deployd.paths import StatePaths

router = APIRouter(prefix="/v1", tags=["asks"])
Releaser = Annotated[Caller, Depends(require("release"))]
TheDaemon = Annotated[Daemon, Depends(daemon_of)]
LARGEST = 4 << 30
_ONE = threading.Lock()  # git's own locks fail at once
_KEPT = 86_400.0  # seconds
_ROOM, _SHARE = 1 << 30, 0.03  # bytes that an upload leaves free, or this share of a small disk
bounds.ENDLESS.append(re.compile(r"/v1/uploads"))


@router.post(
    "/uploads",
    status_code=201,
    openapi_extra={
        "requestBody": {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}
    },
)
async def upload(
    request: Request,
    caller: Releaser,
    daemon: TheDaemon,
    kind: Annotated[Literal["bundle", "artifact"], Query()],
    app: Annotated[App, Query()],
) -> dict[str, Any]:
    """Bring a commit or an artifact file. Over the unix socket only: from elsewhere, commits come from a repository."""
    request.state.audit = None
    if not caller.local:
        raise NotAllowedError(
            "an upload is taken over the unix socket only",
            code="not-local",
            live="unchanged",
            fix="push the commit, and release it by /v1/releases",
        )
    folder = daemon.paths.root / "uploads"
    folder.mkdir(mode=0o700, exist_ok=True)
    sweep(folder)
    aside = folder / f".{secrets.token_hex(8)}"
    try:
        await _take(request, aside)
        if kind == "artifact":
            return {"path": str(await run_in_threadpool(_keep, aside, folder))}
        return {"path": await run_in_threadpool(_join, aside, daemon.paths, app)}
    finally:
        aside.unlink(missing_ok=True)


async def _take(request: Request, file: Path) -> None:
    seen = 0
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
        async for piece in request.stream():
            seen += len(piece)
            if seen > LARGEST:
                raise UsageError(
                    f"the upload is larger than {LARGEST >> 30} GiB",
                    code="upload-too-large",
                    fix="have the daemon fetch the commit: deployd app add",
                )
            disk = shutil.disk_usage(file.parent)
            if disk.free < min(_ROOM, int(disk.total * _SHARE)):
                raise DeploydError(
                    f"the disk of the daemon's state folder has {disk.free >> 20} MiB left: nothing more is taken",
                    code="upload-no-room",
                    live="unchanged",
                    fix="make room there (`deployd cache clear`), then run the command again",
                )
            await run_in_threadpool(out.write, piece)


def _keep(aside: Path, folder: Path) -> Path:
    with aside.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    target = folder / f"{digest}.artifact"
    aside.replace(target)
    os.utime(target)
    return target


def _join(aside: Path, paths: StatePaths, app: str) -> str:
    with _ONE:
        return f"file://{source.join_bundle(aside, into=paths.root / 'uploads' / f'{app}.git')}"


def sweep(folder: Path) -> None:
    """Remove the files of yesterday; repositories stay, they are small and serve the next upload."""
    for file in folder.iterdir():
        if file.is_file() and file.stat().st_mtime < time.time() - _KEPT:
            file.unlink(missing_ok=True)
