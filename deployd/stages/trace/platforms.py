"""FileSet of what this machine needs, and the CPU of the hosts -> the same with each native file's twin for that CPU.

Tracing follows what *this* machine would load: `@img/sharp-linux-x64/lib/sharp-linux-x64.node`, `prebuilds/linux-x64/`.
A twin is the file of the same path with the other CPU's name in it, if it was installed.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from deployd.stages.trace import tree

if TYPE_CHECKING:
    from deployd.domain.stages import FileSet, TracedFile

_TWINS = {
    "arm64": {"x64": "arm64", "x86_64": "aarch64", "amd64": "arm64"},
    "x64": {"arm64": "x64", "aarch64": "x86_64"},
}
# packages for a platform that neither hosts nor this machine have: all are Linux with glibc, on x64 or arm64
_ELSEWHERE = re.compile(
    r"node_modules/(?:@[^/]+/)?[^/]*-(?:darwin|win32|freebsd|openbsd|android|sunos|wasm32|linuxmusl"
    r"|linux-(?:arm|armv7|ia32|ppc64|ppc64le|riscv64|s390x|loong64))(?:-[^/]*)?/"
)


def with_twins(files: FileSet, *, cpu: str) -> FileSet:
    """Add the files for `cpu`, the hosts'. This machine's stay: the artifact is tried here before it travels."""
    words = _TWINS.get(cpu, {})
    if not words:
        return files
    pattern = re.compile(rf"(?<![a-z0-9])(?:{'|'.join(words)})(?![a-z0-9])", re.IGNORECASE)
    root, there = tree.Root(Path(files.root)), {file.path for file in files.files}
    found: dict[str, TracedFile] = {}
    for file in files.files:
        twin = pattern.sub(lambda match: words[match[0].lower()], file.path)
        if twin == file.path or twin in there or "node_modules" not in file.path:
            continue
        for taken in root.take(twin, reasons=(f"for the hosts' CPU, {cpu}, beside {file.path}",)):
            if taken.path not in there:
                found[taken.path] = taken
    kept = [file for file in files.files if not _ELSEWHERE.search(file.path)]  # Yarn 1 and Bun install more than asked
    return replace(files, files=tuple(sorted((*kept, *found.values()), key=lambda file: file.path)))
