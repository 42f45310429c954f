"""A CPU and what a library needs -> the bytes of a small ELF file."""

from __future__ import annotations

import struct

_MACHINES = {"x64": 62, "arm64": 183}


def library(cpu: str, needed: str = "", glibc: str = "") -> bytes:
    """A small ELF library: a header, a dynamic segment that names `needed`, and the version of glibc it asks for."""
    strings = b"\0" + needed.encode() + b"\0" + (f"GLIBC_{glibc}".encode() + b"\0" if glibc else b"")
    names = b"\0.dynstr\0.dynamic\0.gnu.version_r\0.shstrtab\0"
    at = 64 + 56
    dynamic = b""
    if needed:
        dynamic += struct.pack("<QQ", 1, 1)  # DT_NEEDED
    dynamic += struct.pack("<QQQQQQ", 5, at, 10, len(strings), 0, 0)  # DT_STRTAB, DT_STRSZ, DT_NULL
    need = b""
    if glibc:
        need = struct.pack("<HHIII", 1, 1, 1, 16, 0) + struct.pack("<IHHII", 0, 0, 2, 2 + len(needed), 0)
    dynamic_at = at + len(strings)
    need_at, names_at = dynamic_at + len(dynamic), dynamic_at + len(dynamic) + len(need)
    sections_at = names_at + len(names)
    header = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack(
        "<HHIQQQIHHHHHH", 3, _MACHINES[cpu], 1, 0, 64, sections_at, 0, 64, 56, 1, 64, 5 if glibc else 4, 4 if glibc else 3
    )  # fmt: skip
    segment = struct.pack("<IIQQQQQQ", 2, 4, dynamic_at, dynamic_at, dynamic_at, len(dynamic), len(dynamic), 8)

    def section(name: int, kind: int, start: int, size: int, *, link: int = 0, info: int = 0, entry: int = 0) -> bytes:
        return struct.pack("<IIQQQQIIQQ", name, kind, 0, start, start, size, link, info, 1, entry)

    sections = section(0, 0, 0, 0) + section(1, 3, at, len(strings))
    sections += section(9, 6, dynamic_at, len(dynamic), link=1, entry=16)
    if glibc:
        sections += section(18, 0x6FFFFFFE, need_at, len(need), link=1, info=1)
    sections += section(33, 3, names_at, len(names))
    return header + segment + strings + dynamic + need + names + sections
