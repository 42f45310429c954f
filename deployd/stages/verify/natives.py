"""Manifest, objects and what the hosts are -> what no host could load: programs and libraries for another platform.

Judged by package: `@img/sharp-linux-x64` and `@img/sharp-linuxmusl-x64` are two faces of one, and it is enough that one
of them fits. A file whose path names another platform (`prebuilds/darwin-arm64/`) is not for these hosts, and ignored.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deployd.domain.artifact import FileEntry
from deployd.stages.verify.values import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from elftools.elf.elffile import ELFFile

    from deployd.domain.artifact import Manifest

_TEXT = re.compile(
    r"\.(?:[cm]?jsx?|[cm]?tsx?|json5?|map|css|s[ac]ss|html?|mdx?|txt|ya?ml|toml|xml|svg|png|jpe?g|gif|webp|avif|ico|"
    r"woff2?|ttf|otf|eot|wasm|rsc|body|meta|graphql|prisma|sql|pdf|mp[34]|webm|h|c|cc|cpp|hpp|gyp|gypi|zst|br|gz)$",
    re.IGNORECASE,
)
_SMALLEST = 64  # bytes of an ELF header
_CPUS = {"EM_X86_64": "x64", "EM_AARCH64": "arm64", "EM_386": "ia32", "EM_ARM": "arm"}
_GLIBC = re.compile(r"GLIBC_(\d+(?:\.\d+)+)")
# words of paths, of npm's, node-gyp-build's and Prisma's ways to name a platform
_CPU_WORDS = {
    "x64": "x64", "x86_64": "x64", "amd64": "x64", "arm64": "arm64", "aarch64": "arm64", "ia32": "ia32", "x86": "ia32",
    "arm": "arm", "armv6": "arm", "armv7": "arm", "armhf": "arm", "ppc64": "ppc64", "s390x": "s390x",
    "riscv64": "riscv64", "loong64": "loong64", "wasm32": "wasm32",
}  # fmt: skip
_OTHER_SYSTEMS = {
    "darwin",
    "win32",
    "windows",
    "android",
    "freebsd",
    "openbsd",
    "netbsd",
    "sunos",
    "aix",
    "macos",
    "wasm32",
}
_WORD = re.compile(r"x86_64|[a-z]+[0-9]*[a-z]?", re.IGNORECASE)
_FACE = re.compile(
    r"[-.](?:linux(?:musl)?|darwin|win32|android|freebsd|openbsd|sunos|aix|x64|arm64|arm|armv[67]l?|ia32|ppc64(?:le)?|s390x|"
    r"riscv64|loong64|musl|gnu|glibc|gnueabihf|musleabihf|msvc|eabi|wasm32)(?=[-.]|$)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """What all hosts can run. `libc_version` is the oldest of theirs; "" when it is not known."""

    cpu: str
    libc: str
    libc_version: str = ""

    def __str__(self) -> str:
        return f"{self.cpu} with {self.libc} {self.libc_version}".rstrip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Native:
    """What one ELF file needs. `libc` is None for one that needs none, `glibc` the newest version asked for, or ""."""

    path: str
    cpu: str
    libc: str | None = None
    glibc: str = ""

    def __str__(self) -> str:
        libc = f" with {self.libc} {self.glibc}".rstrip() + (" or later" if self.glibc else "") if self.libc else ""
        return f"{self.cpu}{libc}"

    def fits(self, fleet: Fleet) -> bool:
        """Whether every host can load it."""
        if self.cpu != fleet.cpu or self.libc not in (None, fleet.libc):
            return False
        return not (self.glibc and fleet.libc_version and _version(self.glibc) > _version(fleet.libc_version))


def check_natives(manifest: Manifest, *, artifacts: Path, fleet: Fleet) -> tuple[Finding, ...]:
    """What no host could load, an error for each package."""
    packages: dict[str, list[tuple[FileEntry, Native | None]]] = {}
    for entry in manifest.files:
        if isinstance(entry, FileEntry) and entry.size >= _SMALLEST and not _TEXT.search(entry.path):
            found = read(artifacts / "objects" / entry.sha256[:2] / entry.sha256, path=entry.path)
            if found is not None or entry.path.endswith(".node"):
                packages.setdefault(package_of(entry.path), []).append((entry, found))
    return tuple(finding for name, files in sorted(packages.items()) for finding in _judge(name, files, fleet))


def _judge(package: str, files: list[tuple[FileEntry, Native | None]], fleet: Fleet) -> Iterator[Finding]:
    ours = [(entry, native) for entry, native in files if not names_another(entry.path, fleet)]
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


def names_another(path: str, fleet: Fleet) -> bool:
    """Whether a path says of itself that it is for another platform than the hosts'."""
    words = {word.lower() for part in path.split("/") for word in _WORD.findall(part)}
    if words & _OTHER_SYSTEMS:
        return True
    if any(word in {"musl", "linuxmusl", "musleabihf"} for word in words) and fleet.libc != "musl":
        return True
    if words & {"glibc", "gnu", "gnueabihf"} and fleet.libc != "glibc":
        return True
    cpus = {_CPU_WORDS[word] for word in words if word in _CPU_WORDS}
    return bool(cpus) and fleet.cpu not in cpus


def read(file: Path, *, path: str) -> Native | None:
    """What an ELF file needs; None for anything else, and for one that is damaged."""
    with file.open("rb") as opened:
        if opened.read(4) != b"\x7fELF":
            return None
        from elftools.common.exceptions import ELFError
        from elftools.elf.elffile import ELFFile

        try:
            elf = ELFFile(opened)
            needed = _needed(elf)
            versions = [match for text in _versions(elf) if (match := _GLIBC.fullmatch(text))]
        except (ELFError, ValueError, KeyError, UnicodeDecodeError):
            return None
    glibc = max((match[1] for match in versions), key=_version, default="")
    musl = any("musl" in name for name in needed)
    libc = "musl" if musl else "glibc" if glibc or "libc.so.6" in needed else None
    return Native(path=path, cpu=_CPUS.get(str(elf["e_machine"]), str(elf["e_machine"])), libc=libc, glibc=glibc)


def _needed(elf: ELFFile) -> list[str]:
    """The libraries that it names, and its loader."""
    from elftools.elf.dynamic import DynamicSegment
    from elftools.elf.segments import InterpSegment

    names: list[str] = []
    for segment in elf.iter_segments():
        if isinstance(segment, InterpSegment):
            names.append(segment.get_interp_name())
        elif isinstance(segment, DynamicSegment):
            names += [str(getattr(tag, "needed", "")) for tag in segment.iter_tags("DT_NEEDED")]
    return names


def _versions(elf: ELFFile) -> Iterator[str]:
    from elftools.elf.gnuversions import GNUVerNeedSection

    for section in elf.iter_sections():
        if isinstance(section, GNUVerNeedSection):
            for _, wanted in section.iter_versions():
                yield from (one.name for one in wanted)


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text))
