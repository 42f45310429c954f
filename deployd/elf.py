"""An ELF file -> Native: its CPU, its libc and the glibc that it needs; a path -> the platform it says it is for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from elftools.elf.elffile import ELFFile

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
