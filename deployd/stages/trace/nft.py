"""The traces that the build wrote (`*.nft.json`) -> the files that they name and the standalone tree lacks.

Next.js only warns when it cannot copy a traced file, and exits with 0.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from deployd.domain.stages import TracedFile
from deployd.stages.trace import manifests, tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

# Made for adapters: the standalone server does not load them.
_NOT_STANDALONE = {"next-minimal-server.js.nft.json"}


def lacking(dist: Path, *, root: Path, place: str, has: Callable[[str], bool]) -> Iterator[TracedFile]:
    """Files that a trace or required-server-files.json names, that exist, and that `has` does not know.

    Files outside of `root`, the root of tracing, are skipped, as Next.js does.
    """
    seen: set[str] = set()
    for named in _named(dist, app_dir=root / place):
        source = os.path.normpath(named)
        if source in seen or not source.startswith(f"{root}/"):
            continue
        seen.add(source)
        path = os.path.relpath(source, root)
        if has(path):
            continue
        try:
            facts = os.lstat(source)
        except OSError:
            continue  # a trace may name what a package only has on other systems
        if stat.S_ISLNK(facts.st_mode):
            target = tree.checked_target(os.readlink(source), path=path, top="")  # noqa: PTH115 - text as it stands
            yield TracedFile(path=path, source=source, size=0, symlink=target, reasons=("traced",))
        elif stat.S_ISREG(facts.st_mode):
            yield TracedFile(path=path, source=source, size=facts.st_size, reasons=("traced",))


def _named(dist: Path, *, app_dir: Path) -> Iterator[Path]:
    for name in manifests.read(dist / "required-server-files.json").get("files") or []:
        yield app_dir / name
    static = _static_pages(dist)
    for trace in [*dist.glob("*.nft.json"), *sorted((dist / "server").rglob("*.nft.json"))]:
        if trace.name in _NOT_STANDALONE or trace.relative_to(dist).as_posix() in static:
            continue
        for name in manifests.read(trace).get("files") or []:
            yield trace.parent / name


def _static_pages(dist: Path) -> set[str]:
    """The traces of pages that were rendered once for all, and so need no code: the standalone tree has it not."""
    pages = manifests.read(dist / "server" / "pages-manifest.json")
    static = {f"server/{file.removesuffix('.html')}.js.nft.json" for file in pages.values() if file.endswith(".html")}
    return static | {"server/app/_global-error/page.js.nft.json"}
