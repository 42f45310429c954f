"""What frameworks and task runners keep between builds (.next/cache, .turbo/cache): from a good build to the next one.

Per environment and branch. A branch without a cache of its own starts from the environment's, or from production's; of
that it gets what compilers keep, but neither what production fetched nor its keys.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from deployd import process, sandbox
from deployd.stages.build import cache

if TYPE_CHECKING:
    from deployd.domain.stages import BuildPlan, SourceTree

TURBO = ".turbo/cache"
_PLACES = {
    "nextjs": (".next/cache",),
    "nuxt": (".nuxt/cache",),
    "astro": (".astro",),
}
_ALL = (".parcel-cache",)
_MAIN = "production"
# its environment's branches are other people's: the newest cache is not the main branch's
_PREVIEW = "preview"
_OF_ONE_ENVIRONMENT = ("fetch-cache", "images", ".previewinfo", ".rscinfo")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """Where the caches of this app, environment and branch lie."""

    caches: Path
    environment: str
    branch: str
    inside: str

    @property
    def zone(self) -> Path:
        """The environment's folder."""
        return cache.zone(self.caches, self.environment)

    @property
    def folder(self) -> Path:
        """The branch's entry."""
        return self.zone / "kept" / _slug(self.branch, self.inside)


def kept(caches: Path, *, plan: BuildPlan, source: SourceTree) -> Kept:
    """Name the entry of a build."""
    inside = Path(source.app_dir).relative_to(source.root).as_posix()
    return Kept(caches=caches, environment=plan.environment, branch=source.branch or "none", inside=inside)


def _slug(branch: str, inside: str) -> str:
    digest = hashlib.sha256(json.dumps([branch, inside]).encode()).hexdigest()[:10]
    return f"{re.sub(r'[^0-9A-Za-z]+', '-', branch)[:40].strip('-')}-{digest}"


def restore(mine: Kept, *, root: Path, app_dir: Path) -> bool:
    """Copy the best cache that there is into the checkout; False when there is none.

    A copy, because a build that fails or is cancelled half-way must leave what is kept as it was.
    """
    with cache.held(mine.zone, "kept", alone=False):
        found = mine.folder if mine.folder.is_dir() else None
        if found is None and mine.environment != _PREVIEW:
            found = _newest(mine.zone, inside=mine.inside)
        if found:
            cache.write(found, cache.read(found))
            return _copy(found, root=root, app_dir=app_dir, foreign=False)
    other = cache.zone(mine.caches, _MAIN)
    if mine.environment == _MAIN or not other.is_dir():
        return False
    with cache.held(other, "kept", alone=False):
        found = _newest(other, inside=mine.inside)
        return _copy(found, root=root, app_dir=app_dir, foreign=True) if found else False


def _newest(zone: Path, *, inside: str) -> Path | None:
    folders = [path for path in (zone / "kept").glob("[!.]*") if cache.read(path).get("inside") == inside]
    return max(folders, key=lambda path: (path / cache.RECORD).stat().st_mtime, default=None)


def _copy(entry: Path, *, root: Path, app_dir: Path, foreign: bool) -> bool:
    copied = False
    for number, (base, place) in enumerate(cache.read(entry).get("places", [])):
        target = (root if base == "root" else app_dir) / place
        if target.exists() or not (entry / str(number)).is_dir() or not _inside(target, root):
            continue
        made = next((path for path in reversed(target.parents) if not path.exists()), target)
        target.parent.mkdir(parents=True, exist_ok=True)
        process.run(["cp", "-a", "--reflink=auto", "--", str(entry / str(number)), str(target)], timeout=600)
        for name in _OF_ONE_ENVIRONMENT if foreign else ():
            path = target / name
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)
        sandbox.give(made)
        copied = True
    return copied


def _inside(target: Path, root: Path) -> bool:
    """Whether the nearest folder that is there lies in the checkout: a committed link may lead out of it."""
    there = next(path for path in target.parents if path.exists() or path.is_symlink())
    return there.is_dir() and there.resolve().is_relative_to(root.resolve())


def keep(mine: Kept, *, plan: BuildPlan, folder: str, root: Path, app_dir: Path) -> None:
    """Move the caches of a good build out of its checkout, where nothing needs them any more.

    `folder` is what the build wrote, relative to `app_dir`: the cache is in there when the app named another distDir.
    """
    places = [("app", place) for place in dict.fromkeys((*_PLACES.get(plan.framework, ()), *_ALL))]
    if plan.framework == "nextjs" and folder not in ("", ".", ".next"):
        places.append(("app", f"{folder}/cache"))
    places.append(("root", TURBO))
    there = [
        (base, place, path)
        for base, place in places
        if (path := (root if base == "root" else app_dir) / place).is_dir()
        and not path.is_symlink()
        and _inside(path, root)
    ]
    if not there:
        return
    parent = mine.folder.parent
    parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(dir=parent, prefix=".new-"))
    try:
        for number, (_, _, path) in enumerate(there):
            path.rename(fresh / str(number))
        record = {"branch": mine.branch, "inside": mine.inside, "places": [(base, place) for base, place, _ in there]}
        cache.write(fresh, record | {"bytes": cache.size_of(fresh)})
        with cache.held(mine.zone, "kept", alone=True):
            cache.put(fresh, mine.folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
