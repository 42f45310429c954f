"""BuildOutput -> FileSet, in the way that its kind needs: Next.js's own server, any other server, or no server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployd.domain.options import Trace
from deployd.stages.trace import beforehand, errorpages, nextjs, platforms, servers, sites

if TYPE_CHECKING:
    import threading
    from pathlib import Path

    from deployd.domain.stages import BuildOutput, FileSet


def trace(
    output: BuildOutput,
    *,
    options: Trace = Trace(),  # noqa: B008 - frozen
    source_maps: bool = False,
    tools: Path,
    cancel: threading.Event | None = None,
) -> FileSet:
    """Find the closed set of files that a build's server needs, or that a site is made of.

    `tools` is the folder that keeps @vercel/nft, and a server.js that is made here. Raises PackageError when something
    is missing or leads out of the app; what a person should know otherwise is in the set's warnings.
    """
    ways = {
        "next": nextjs.trace,
        "node": servers.trace_next if output.plan.framework == "nextjs" else servers.trace,
        "static": sites.trace,
    }
    found = ways[output.kind](output, options=options, source_maps=source_maps, tools=tools, cancel=cancel)
    if output.plan.cpu:
        found = platforms.with_twins(found, cpu=output.plan.cpu)
    found = beforehand.add(found, output, tools=tools, cancel=cancel)
    return errorpages.add(found, output, folder=options.error_pages)
