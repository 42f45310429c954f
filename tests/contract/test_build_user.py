"""What runs builds as a user of their own: the real program with its two capabilities, the test in systemd's place."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from deployd import sandbox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="being another user takes root")
PROGRAM = Path(__file__).parents[2] / "playbooks" / "files" / "deployd_builds.py"
DAEMON, STRANGER = 65534, 65533
BUILDER = 5  # games: there is no Debian without it
RIGHTS = "-all,+setuid,+setgid"
PYTHON = ["/usr/bin/python3", "-IS"]


class Place:
    """A folder that the daemon's user owns, and the socket to ask at."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.work, self.program = folder, folder / "work", folder / "deployd_builds.py"
        shutil.copyfile(PROGRAM, self.program)
        self.program.chmod(0o644)
        (self.work / "inner").mkdir(parents=True)
        (self.work / "inner" / "file").write_text("x")
        for path in (self.work, self.work / "inner", self.work / "inner" / "file"):
            os.chown(path, DAEMON, DAEMON)
        self.started: list[subprocess.Popen[bytes]] = []
        self.asked: list[subprocess.Popen[bytes]] = []
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(str(folder / "s"))
        (folder / "s").chmod(0o666)
        self.socket.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            rights = [f"--inh-caps={RIGHTS}", f"--ambient-caps={RIGHTS}", f"--bounding-set={RIGHTS}", "--no-new-privs"]
            words = ["prlimit", "--nproc=300", "setpriv", "--reuid", str(DAEMON), "--regid", str(DAEMON), "--clear-groups", *rights]  # fmt: skip
            with connection:
                self.started.append(
                    subprocess.Popen(
                        [
                            "sh",
                            "-c",
                            'exec 3<&0 </dev/null; exec "$@"',
                            "sh",
                            *words,
                            *PYTHON,
                            str(self.program),
                            "serve",
                        ],
                        stdin=connection.fileno(),
                        env={"PATH": "/usr/bin:/bin", "DEPLOYD_BUILD_ACCOUNT": "games"},
                    )
                )

    def asking(self, *argv: str, options: tuple[str, ...] = (), user: int = DAEMON) -> list[str]:
        as_user = ["setpriv", "--reuid", str(user), "--regid", str(user), "--clear-groups"]
        given = ["--give", str(self.work), *options]
        return [*as_user, *PYTHON, str(self.program), "ask", str(self.folder / "s"), *given, "--", *argv]

    def sh(self, script: str, **more: object) -> subprocess.CompletedProcess[str]:
        """A script of the daemon's, as root of the two users, without a sandbox."""
        words = self.asking("sh", "-c", script, **more)  # type: ignore[arg-type]
        return subprocess.run(words, capture_output=True, text=True, timeout=60)

    def start(self, script: str) -> subprocess.Popen[bytes]:
        """The same, not waited for."""
        process = subprocess.Popen(self.asking("sh", "-c", script), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.asked.append(process)
        until((self.work / "up").exists)
        return process

    def box(self, script: str) -> subprocess.CompletedProcess[str]:
        """A script of a build, in its sandbox."""
        shown = sandbox.Sandbox(writable={str(self.work): str(self.work)}, cwd=str(self.work))
        words = sandbox.wrap(["sh", "-c", script], shown, account=sandbox.Account(BUILDER, 60))
        return subprocess.run(self.asking(*words), capture_output=True, text=True, timeout=60)

    def owners(self) -> set[int]:
        return {os.lstat(path).st_uid for path in [self.work, *self.work.rglob("*")]}


@pytest.fixture
def place() -> Iterator[Place]:
    folder = Path(tempfile.mkdtemp(prefix="deployd-builds-"))
    folder.chmod(0o755)
    made = Place(folder)
    try:
        yield made
    finally:
        made.socket.shutdown(socket.SHUT_RDWR)
        made.socket.close()
        for process in (*made.asked, *made.started):
            process.kill()
            process.communicate()
        shutil.rmtree(folder)


def until(true: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def running(words: str) -> bool:
    marker = words.replace(" ", "\0").encode()
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if entry.read_bytes().startswith(marker):
                return True
        except OSError:
            continue
    return False


def test_a_build_is_a_user_of_its_own_and_what_it_wrote_is_the_daemons(place: Place) -> None:
    done = place.box(
        "id -u; stat -c %u . inner/file; mkdir deep; echo 1 >deep/made; ln -s /etc/passwd link; chmod 700 deep; grep Cap[PE] /proc/self/status"
    )
    assert done.stdout.split()[:3] == [str(BUILDER)] * 3, done.stderr
    assert {word for word in done.stdout.split() if len(word) == 16} == {"0" * 16}
    assert place.owners() == {DAEMON}
    assert (Path("/etc/passwd").stat().st_uid, (place.work / "deep" / "made").read_text()) == (0, "1\n")


def test_whatever_the_daemon_asks_for_nobody_elses_files_are_in_reach(place: Place) -> None:
    """It is root over the two users' files in there, and nobody to all others."""
    (place.folder / "roots").write_text("canary")
    (place.folder / "roots").chmod(0o600)
    done = place.sh(
        f"id -u; cat /etc/shadow {place.folder}/roots; chown 0:0 {place.folder}/roots; touch /etc/made /root/made;"
        f" chmod 666 {place.folder}/roots; kill -0 {os.getpid()} && echo killed; mount -t tmpfs x /mnt && echo mounted; setpriv --reuid 1000 id -u"
    )
    assert done.stdout.split() == ["0"], done.stdout
    assert (place.folder / "roots").stat().st_mode & 0o777 == 0o600
    assert not Path("/etc/made").exists()


def test_only_the_daemons_user_is_heard(place: Place) -> None:
    refused = place.sh("echo ran; touch ran", user=STRANGER)
    assert (refused.returncode, refused.stdout) == (125, "")
    assert place.owners() == {DAEMON}


def test_exit_codes_input_output_and_a_listening_socket_go_through(place: Place) -> None:
    assert place.sh("exit 7").returncode == 7
    assert place.sh("kill -9 $$").returncode == 137
    assert "could not be started" in subprocess.run(place.asking("/no"), capture_output=True, text=True).stderr
    words = place.asking("sh", "-c", "cat; echo $WORD; cat <&3; echo wrong >&2")
    with (place.folder / "third").open("w+") as third:
        third.write("third\n")
        third.seek(0)
        done = subprocess.run(
            ["sh", "-c", f'exec "$@" 3<{place.folder}/third', "sh", *words], input="in\n", capture_output=True, text=True,
            env={"PATH": "/usr/bin:/bin", "LISTEN_FDS": "1", "WORD": "word"},
        )  # fmt: skip
    assert (done.stdout.split(), done.stderr) == (["in", "word", "third"], "wrong\n")


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_who_asked_is_gone_and_so_is_all_that_was_started(place: Place, how: signal.Signals) -> None:
    """A cancel ends with SIGTERM, a daemon that was killed takes the one who asks along."""
    marker = f"sleep 3{os.getpid()}{int(how)}"
    process = place.start(
        f"trap '' TERM HUP; setsid sh -c '{marker} & {marker}' & setsid {marker} & touch {place.work}/up; wait; wait; sleep 60"
    )
    until(lambda: running(marker))
    assert place.owners() == {BUILDER, 0} or BUILDER in place.owners()
    process.send_signal(how)
    process.wait(30)
    if how is signal.SIGTERM:  # it answers when all is done
        assert not running(marker)
        assert place.owners() == {DAEMON}
    until(lambda: not running(marker) and place.owners() == {DAEMON})


def test_two_builds_share_what_they_write(place: Place) -> None:
    first = place.start(
        f"touch {place.work}/up; while [ ! -e {place.work}/go ]; do sleep 0.05; done; stat -c %u {place.work}/inner"
    )
    assert place.sh("true").returncode == 0
    assert (place.work / "inner").stat().st_uid == BUILDER, "the other one is not at its end"
    (place.work / "go").touch()
    out, _ = first.communicate(timeout=30)
    assert out.split() == [str(BUILDER).encode()]
    assert place.owners() - {0} == {DAEMON}


def test_what_runs_it_is_killed_and_the_next_one_takes_back(place: Place) -> None:
    process = place.start(f"touch {place.work}/up; exec sleep 61")
    place.started[0].kill()
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 125
    assert b"ended without a word" in out
    until(lambda: place.owners() == {DAEMON})


def test_more_memory_than_there_is_for_it(place: Place) -> None:
    """Of all its processes together: each of these takes less than the limit."""
    hog = "import time; data = bytearray(60 << 20); time.sleep(60)"
    script = f"for one in 1 2 3 4; do /usr/bin/python3 -c '{hog}' & done; wait"
    done = place.sh(script, options=("--memory", str(150 << 20)))
    assert done.returncode == 137
    assert done.stderr == "deployd: the build took more than 150 MiB of memory, and was ended (build.memory)\n"


def test_a_fork_bomb_meets_its_limit_and_a_cancel_ends_it(place: Place) -> None:
    bomb = f"setpriv --reuid {BUILDER} --regid 60 --clear-groups sh -c 'bomb() {{ bomb | bomb & sleep 62; }}; bomb' & sleep 1; touch {place.work}/up; sleep 60"
    process = place.start(bomb)
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=60)
    assert b"fork" in out
    assert not running("sleep 62")
    assert place.owners() == {DAEMON}
