"""Manifest, objects and what the hosts are -> what no host could load: programs and libraries for another platform.

Judged by package: `@img/sharp-linux-x64` and `@img/sharp-linuxmusl-x64` are two faces of one, and it is enough that one
of them fits. A file whose path names another platform (`prebuilds/darwin-arm64/`) is not for these hosts, and ignored.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from deployd import elf
from deployd.domain.artifact import FileEntry
from deployd.stages.verify.values import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from deployd.domain.artifact import Manifest
    from deployd.elf import Fleet, Native

_TEXT = re.compile(
    r"\.(?:[cm]?jsx?|[cm]?tsx?|json5?|map|css|s[ac]ss|html?|mdx?|txt|ya?ml|toml|xml|svg|png|jpe?g|gif|webp|avif|ico|"
    r"woff2?|ttf|otf|eot|wasm|rsc|body|meta|graphql|prisma|sql|pdf|mp[34]|webm|h|c|cc|cpp|hpp|gyp|gypi|zst|br|gz)$",
    re.IGNORECASE,
)
_SMALLEST = 64  # bytes of an ELF header
_FACE = re.compile(
    r"[-.](?:linux(?:musl)?|darwin|win32|android|freebsd|openbsd|sunos|aix|x64|arm64|arm|armv[67]l?|ia32|ppc64(?:le)?|s390x|"
    r"riscv64|loong64|musl|gnu|glibc|gnueabihf|musleabihf|msvc|eabi|wasm32)(?=[-.]|$)"
)


def check_natives(manifest: Manifest, *, artifacts: Path, fleet: Fleet) -> tuple[Finding, ...]:
    """What no host could load, an error for each package."""
    packages: dict[str, list[tuple[FileEntry, Native | None]]] = {}
    for entry in manifest.files:
        if isinstance(entry, FileEntry) and entry.size >= _SMALLEST and not _TEXT.search(entry.path):
            found = elf.read(artifacts / "objects" / entry.sha256[:2] / entry.sha256, path=entry.path)
            if found is not None or entry.path.endswith(".node"):
                packages.setdefault(package_of(entry.path), []).append((entry, found))
    return tuple(finding for name, files in sorted(packages.items()) for finding in _judge(name, files, fleet))


def _judge(package: str, files: list[tuple[FileEntry, Native | None]], fleet: Fleet) -> Iterator[Finding]:
    ours = [(entry, native) for entry, native in files if not elf.names_another(entry.path, fleet)]
    if any(native is not None and native.fits(fleet) for _, native in ours):
        return
    where = f"the package {package}" if package else "the app"
    entry, native = next(((entry, native) for entry, native in ours if native), files[0])
    if native is None:
        what = f"{where} has {entry.path}, which is for another system than Linux"
    elif any(native is known for _, known in ours):
        what = f"{where} has {entry.path}, which is for {native}"
    else:
        what = f"{where} has nothing for the hosts, only {entry.path} and the like"
    yield Finding(
        kind="native",
        what=f"{what}; the hosts are {fleet}",
        fix=_way_out(package, entry.path, native, fleet),
        error=native is not None,  # fsevents is for macOS alone, and never loaded elsewhere
    )


def _way_out(package: str, path: str, native: Native | None, fleet: Fleet) -> str:
    if native is not None and native.cpu == fleet.cpu and native.libc == fleet.libc:
        return (
            f"build where glibc is {fleet.libc_version} or older (on the hosts' system), "
            f"or use a version of {package or 'it'} whose binaries are made for an older one"
        )
    if package and f"node_modules/{package}/" in path:  # one package for all, with what fits the machine that installs
        return (
            f"{package} has no package of its own for each platform: release from a machine with {fleet.cpu} and "
            f"{fleet.libc}, use something else in its place, or bring a file for {fleet.cpu} with [trace] include"
        )
    wanted = f"{package}-linux{'musl' if fleet.libc == 'musl' else ''}-{fleet.cpu}" if package else "PACKAGE"
    return (
        f'install what is for the hosts too: `build.install = "npm ci && npm install --no-save --force {wanted}"` in '
        'deployd.toml, and add it below [trace] include; docs/verification.md, "Native code", says how for each manager'
    )


def package_of(path: str) -> str:
    """The package of a file, without its platform: `@img/sharp` of @img/sharp-linux-x64; "" for the app."""
    parts = path.split("/")
    at = max((n for n, part in enumerate(parts) if part == "node_modules"), default=None)
    if at is None or at + 1 >= len(parts):
        return ""
    size = 2 if parts[at + 1].startswith("@") else 1
    scope, _, name = "/".join(parts[at + 1 : at + 1 + size]).rpartition("/")
    while (plain := _FACE.sub("", f"-{name}").lstrip("-")) not in (name, ""):
        name = plain
    if scope and not plain:  # @esbuild/linux-x64
        return scope
    return f"{scope}/{name}".lstrip("/")
