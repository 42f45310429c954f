"""A whole daemon in a process of its own, on folder hosts and with quick stand-ins for the stages: STATE HOSTS."""

from __future__ import annotations

import sys
from pathlib import Path

from deployd.daemon.main import serve
from deployd.paths import StatePaths
from deployd.rollouts.testing import FolderPool
from tests.faults import drive

if __name__ == "__main__":
    drive.stand_in()
    hosts = Path(sys.argv[2])
    sys.exit(serve(StatePaths(Path(sys.argv[1])), {}, connect=lambda some: FolderPool.below(hosts, some)))
