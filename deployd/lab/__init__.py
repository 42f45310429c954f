"""Disposable servers on one Linux machine, for newcomers, the demo and the tests.

A lab is a name and some hosts: Debian, booted by systemd-nspawn on an overlay over one shared tree, each in a network
namespace of its own. `up` makes it, `down` takes all of it away. Needs root; everything it makes is called `dpl-...`.
"""

from deployd.lab.labs import cut, down, existing, mend, purge, reboot, run, ssh_argv, status, up
from deployd.lab.names import DEFAULT
from deployd.lab.records import Lab, LabHost

__all__ = [
    "DEFAULT",
    "Lab",
    "LabHost",
    "cut",
    "down",
    "existing",
    "mend",
    "purge",
    "reboot",
    "run",
    "ssh_argv",
    "status",
    "up",
]
