"""A process that hangs: it comes in running, and goes out stopped, with all of its threads."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path


def stop(pid: int) -> None:
    """Stop it. The signal stops one thread after another: on a busy machine some still run when `kill` has returned."""
    os.kill(pid, signal.SIGSTOP)
    deadline = time.monotonic() + 30
    while set(_states(pid)) != {"T"}:
        assert time.monotonic() < deadline, f"process {pid} does not stop"
        time.sleep(0.001)


def _states(pid: int) -> list[str]:
    return [stat.read_text().rpartition(") ")[2][:1] for stat in Path(f"/proc/{pid}/task").glob("*/stat")]
