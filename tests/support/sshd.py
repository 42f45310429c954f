"""A real sshd on the loopback, for pushes by git: its keys and its configuration are in a folder of the test's."""

from __future__ import annotations

import os
import shlex
import socket
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
CONFIGURATION = """
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host
PidFile none
UsePAM no
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin forced-commands-only
AuthorizedKeysFile {keys}
SetEnv PATH={folder}/bin:/usr/bin:/bin
LogLevel VERBOSE
"""


class Sshd:
    """It believes the keys of the file `keys`; `ssh` is the command of a client with the key `anna`."""

    def __init__(self, folder: Path, keys: Path) -> None:
        folder.mkdir(mode=0o700)
        for name in ("host", "anna"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
        program = folder / "bin" / "deployd"
        program.parent.mkdir()
        start = shlex.join([sys.executable, "-c", "from deployd.cli.main import main; main()"])
        program.write_text(f'#!/bin/sh\nPYTHONPATH={shlex.quote(str(ROOT))} exec {start} "$@"\n')
        program.chmod(0o755)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        settings = folder / "sshd_config"
        settings.write_text(CONFIGURATION.format(port=self.port, folder=folder, keys=keys))
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)  # sshd's own condition, whatever the configuration says
        with (folder / "log").open("w") as log:
            self.process = subprocess.Popen(["/usr/sbin/sshd", "-D", "-e", "-f", settings], stderr=log)
        self.public = (folder / "anna.pub").read_text()
        self.user = "root" if os.geteuid() == 0 else os.environ["USER"]
        options = ["-p", str(self.port), "-i", str(folder / "anna"), "-F", "none"]
        for option in (
            "IdentitiesOnly=yes", "StrictHostKeyChecking=no", f"UserKnownHostsFile={folder}/known", "LogLevel=ERROR",
        ):  # fmt: skip
            options += ["-o", option]
        self.ssh = shlex.join(["ssh", *options])
        self._wait()

    def _wait(self) -> None:
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                assert time.monotonic() < deadline, "sshd did not come"
                assert self.process.poll() is None, "sshd ended"
                time.sleep(0.05)
            else:
                return

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(60)
