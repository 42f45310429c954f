"""A PostgreSQL of the tests' own: on a socket in a folder of its own, as a user without rights, gone with the tests."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg

_HBA = """
local all locked scram-sha-256
local all all trust
"""
_OLD = 600.0  # seconds: a younger one may be about to start
_SETTINGS = {"fsync": "off", "full_page_writes": "off", "max_connections": "250", "shared_buffers": "32MB"}


def programs() -> Path:
    """Where initdb and postgres are: the newest version that Debian's packages installed, or PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda one: int(one.parent.name))
    if found:
        return found[-1]
    where = shutil.which("postgres")
    assert where, "PostgreSQL is missing: scripts/setup installs it"
    return Path(where).parent


def _clear_away() -> None:
    """What tests that were killed left: their server ended with them, its folder stayed."""
    for folder in Path("/tmp").glob("dpg*"):
        ended = (folder / "data" / "PG_VERSION").exists() and not (folder / "data" / "postmaster.pid").exists()
        if ended and time.time() - folder.stat().st_mtime > _OLD:
            shutil.rmtree(folder, ignore_errors=True)


class Cluster:
    """A server that runs. `database` makes an empty database; `close` ends all of it."""

    def __init__(self) -> None:
        _clear_away()
        self.folder = Path(tempfile.mkdtemp(prefix="dpg", dir="/tmp"))
        self.folder.chmod(0o755)
        self._process: subprocess.Popen[bytes] | None = None
        self._as: list[str] = []
        try:
            self._make()
            self.start()
        except BaseException:
            self.close()
            raise

    def _make(self) -> None:
        if os.geteuid() == 0:  # which PostgreSQL refuses
            nobody = pwd.getpwnam("nobody")
            os.chown(self.folder, nobody.pw_uid, nobody.pw_gid)
            self._as = ["--reuid", str(nobody.pw_uid), "--regid", str(nobody.pw_gid), "--clear-groups"]
        self._run("initdb", "-D", f"{self.folder}/data", "-U", "deployd", "-A", "trust", "-E", "UTF8", "--no-sync",
                  "--locale", "C.UTF-8")  # fmt: skip
        (self.folder / "data" / "pg_hba.conf").write_text(_HBA)

    def _argv(self, program: str, *arguments: str) -> list[str]:
        return ["setpriv", *self._as, "--pdeathsig", "INT", str(programs() / program), *arguments]

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            self._argv(program, *arguments), cwd=self.folder, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        chosen = {**_SETTINGS, "listen_addresses": "", "unix_socket_directories": str(self.folder)}
        options = [word for name, value in chosen.items() for word in ("-c", f"{name}={value}")]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._argv("postgres", "-D", f"{self.folder}/data", *options),
                cwd=self.folder, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        deadline = time.monotonic() + 60
        while True:
            try:
                psycopg.connect(self.url("postgres")).close()
            except psycopg.OperationalError:
                assert self._process.poll() is None, (self.folder / "log").read_text()
                assert time.monotonic() < deadline, (self.folder / "log").read_text()
                time.sleep(0.05)
            else:
                return

    def stop(self) -> None:
        """Stop the server: open connections break."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(30)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def url(self, database: str, *, user: str = "deployd", password: str = "") -> str:
        """The address of a database."""
        who = f"{user}:{password}" if password else user
        return f"postgresql://{who}@/{database}?host={self.folder}"

    def execute(self, statement: str, *, database: str = "postgres") -> list[tuple]:
        """Run one statement."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            done = connection.execute(statement)
            return done.fetchall() if done.description else []

    def database(self) -> str:
        """A new, empty database; returns its address."""
        name = f"t{secrets.token_hex(6)}"
        self.execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def close(self) -> None:
        """End the server and remove its folder."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
