"""argv -> argv under limits: a systemd scope where systemd runs, and always a lower priority than the rest."""

from __future__ import annotations

import math
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from deployd import sandbox

if TYPE_CHECKING:
    from collections.abc import Sequence

_SHARE_OF_MEMORY = 0.8
_TASKS = 4096
_SYSTEMD = Path("/run/systemd/system")


def limited(argv: Sequence[str], *, memory: int | None, cpus: float | None) -> tuple[tuple[str, ...], str | None]:
    """The argv to run instead, and a warning where a limit cannot be held. `memory` in bytes, `cpus` in cores."""
    polite = (*_first_to_go(), "nice", "-n", "10", *argv)
    if sandbox.is_elsewhere() and tuple(argv[: len(sandbox.asking())]) == sandbox.asking():
        return _elsewhere(tuple(argv), memory=memory, cpus=cpus), None
    if os.geteuid() == 0 and _SYSTEMD.is_dir() and shutil.which("systemd-run"):
        return (*_scope(memory=memory, cpus=cpus), *polite), None
    told = []
    if memory and shutil.which("prlimit"):
        polite = ("prlimit", f"--data={memory}", "--", *polite)
        told.append("build.memory is held for each process of the build, not for all together")
    elif memory:
        told.append("build.memory is not held")
    if cpus and shutil.which("taskset"):
        polite = (*_on_cores(cpus), *polite)
    elif cpus:
        told.append("build.cpus is not held")
    return polite, f"{', and '.join(told)}: that takes root and systemd" if told else None


def _elsewhere(argv: tuple[str, ...], *, memory: int | None, cpus: float | None) -> tuple[str, ...]:
    """The same for what deployd-build.socket runs: its unit has limits for all builds together besides."""
    end = argv.index("--")
    polite = (*_first_to_go(), "nice", "-n", "10", *(_on_cores(cpus) if cpus else ()), *argv[end + 1 :])
    return (*argv[:end], *(("--memory", str(memory)) if memory else ()), "--", *polite)


def _on_cores(cpus: float) -> tuple[str, ...]:
    cores = sorted(os.sched_getaffinity(0))[: max(1, math.ceil(cpus))]
    return ("taskset", "--cpu-list", ",".join(map(str, cores)))


def _first_to_go() -> tuple[str, ...]:
    """When memory runs out, the kernel ends the build, and not the daemon beside it."""
    return ("choom", "-n", "500", "--") if shutil.which("choom") else ()


def _scope(*, memory: int | None, cpus: float | None) -> tuple[str, ...]:
    wanted = memory or int(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") * _SHARE_OF_MEMORY)
    properties = [f"MemoryMax={wanted}", "MemorySwapMax=0", f"TasksMax={_TASKS}", "CPUWeight=50"]
    if cpus:
        properties.append(f"CPUQuota={round(cpus * 100)}%")
    words = [word for name in properties for word in ("--property", name)]
    return ("systemd-run", "--scope", "--quiet", "--collect", *words, "--")
