"""What a sandboxed program sees, may write, and leaves behind: real bubblewrap, as root or as anybody else."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from deployd import process, sandbox
from deployd.errors import CancelledError, CommandError
from deployd.stages.build import ground as building

CANARY = "canary-51c0ffee"


@pytest.fixture
def ground(tmp_path: Path) -> Path:
    """A folder with something to write to, something to read and something secret."""
    for name in ("checkout", "shown", "state"):
        (tmp_path / name).mkdir(mode=0o700)
    (tmp_path / "shown" / "file").write_text("readable")
    (tmp_path / "shown" / "file").chmod(0o600)
    (tmp_path / "state" / "key").write_text(CANARY)
    (tmp_path / "state" / "key").chmod(0o644)
    sandbox.give(tmp_path / "checkout")
    sandbox.show(tmp_path / "shown")
    return tmp_path


def sh(script: str, ground: Path, **more: object) -> str:
    places = {
        "readonly": {str(ground / "shown"): "/shown"},
        "writable": {str(ground / "checkout"): str(ground / "checkout")},
    }
    argv = sandbox.alone(["sh", "-c", script], cwd=str(ground / "checkout"), **(places | more))  # type: ignore[arg-type]
    return process.run(argv, timeout=60).text.strip()


def left(command: str) -> bool:
    """Whether a process of this machine has these words, and keeps them: the kernel ends them one by one."""
    words = command.replace(" ", "\0").encode()
    for _ in range(500):
        found = False
        for entry in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                found = found or entry.read_bytes().startswith(words)
        if not found:
            return False
        time.sleep(0.02)
    return True


def test_it_sees_what_it_is_given_and_nothing_else(ground: Path) -> None:
    assert sh("cat /shown/file", ground) == "readable"
    assert sh(f"ls {ground}", ground) == "checkout"
    assert sh("ls -A /root /home /srv /run /var/lib 2>/dev/null | tr -d '\\n'", ground) == ""
    assert CANARY not in sh(f"cat {ground}/state/key {ground}/checkout/../state/key 2>&1 || true", ground)
    for path in ("/etc/deployd", "/etc/ssh", "/run/docker.sock", "/var/run/docker.sock", str(Path.home() / ".ssh")):
        assert sh(f"test -e {path}/. && ls -A {path} || true", ground) == ""


def test_it_writes_where_it_may_and_nowhere_else(ground: Path) -> None:
    sh("echo made > made && mkdir -p deep/er && ln -s made link && echo x > /tmp/x", ground)
    assert (ground / "checkout" / "made").read_text() == "made\n"
    assert (ground / "checkout" / "link").readlink() == Path("made")
    assert not Path("/tmp/x").exists()  # its own /tmp
    for place in ("/shown/new", "/etc/new", "/usr/new", "/new", "/sys/new"):
        assert sh(f"touch {place} 2>/dev/null && echo written || true", ground) == ""
    sh(
        f"mkdir -p {ground}/state; touch {ground}/new {ground}/state/new || true", ground
    )  # in its own /tmp, if anywhere
    assert not (ground / "new").exists()
    assert not (ground / "state" / "new").exists()


def test_as_root_it_is_another_user_without_any_right(ground: Path) -> None:
    status = dict(line.split(":\t", 1) for line in sh("cat /proc/self/status", ground).splitlines() if ":\t" in line)
    assert "0" not in status["Uid"].split()
    assert status["NoNewPrivs"] == "1"
    for name in ("CapEff", "CapPrm", "CapAmb"):
        assert int(status[name], 16) == 0
    if os.geteuid() == 0:
        assert int(status["Uid"].split()[0]) != 0
        assert status["Groups"].strip() == ""


def test_no_process_of_the_machine_is_seen(ground: Path) -> None:
    other = process.spawn(["sleep", "60"], env={"OTHER": CANARY}, stdout=None, stderr=None)
    try:
        seen = sh("cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr '\\0' ' '", ground)
        assert "cat /proc" in seen
        assert CANARY not in seen
        assert "sleep 60" not in seen
        assert sh(f"kill -9 {other.pid} 2>&1 || echo none", ground).endswith("none")
        assert other.poll() is None
    finally:
        process.end(other)


def test_without_network_there_is_only_the_loopback(ground: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        ask = f"python3 -c \"import socket; socket.create_connection(('127.0.0.1', {port}), 2); print('reached')\" 2>&1"
        assert "reached" not in sh(f"{ask} || true", ground)
        assert sh(ask, ground, network=True) == "reached"
    assert sh("ls /proc/self/net/ >/dev/null; tail -n +3 /proc/self/net/dev | cut -d: -f1 | tr -d ' '", ground) == "lo"
    own = "import socket; s=socket.create_server(('127.0.0.1', 0)); socket.create_connection(s.getsockname()); print(1)"
    assert sh(f'python3 -c "{own}"', ground) == "1"


def test_a_socket_in_a_given_folder_is_reached_from_outside(ground: Path) -> None:
    """How a server without a network is asked."""
    serve = "import socket; s=socket.socket(socket.AF_UNIX); s.bind('s'); s.listen(); s.accept()[0].send(b'hello')"
    answer: list[bytes] = []

    def ask() -> None:
        with socket.socket(socket.AF_UNIX) as client:
            for _ in range(1000):
                try:
                    client.connect(str(ground / "checkout" / "s"))
                    break
                except OSError:
                    time.sleep(0.05)
            answer.append(client.recv(5))

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    sh(f'python3 -c "{serve}"', ground)
    thread.join(timeout=60)
    assert answer == [b"hello"]


def test_what_it_left_running_dies_with_it(ground: Path) -> None:
    """Also what forked twice, has a session of its own, and holds no pipe."""
    marker = f"sleep 6{os.getpid()}"
    sh(f"setsid sh -c '({marker} </dev/null >/dev/null 2>&1 &)' </dev/null; sleep 0.2", ground)
    assert not left(marker)


def test_a_cancel_ends_all_of_it_within_two_seconds(ground: Path) -> None:
    marker = f"sleep 7{os.getpid()}"
    script = f"setsid sh -c '({marker} </dev/null >/dev/null 2>&1 &)'; trap '' TERM INT; echo up > up; while :; do sleep 1; done"
    cancel, began = threading.Event(), []

    def press() -> None:
        while not (ground / "checkout" / "up").exists():
            time.sleep(0.02)
        began.append(time.monotonic())
        cancel.set()

    thread = threading.Thread(target=press, daemon=True)
    thread.start()
    argv = sandbox.alone(["sh", "-c", script], writable={str(ground / "checkout"): "/w"}, cwd="/w")
    with pytest.raises(CancelledError):
        process.run(argv, cancel=cancel)
    thread.join(timeout=60)
    assert time.monotonic() - began[0] < process._GRACE  # it was not waited for until it would have been killed
    assert not left(marker)


def test_a_time_limit_ends_all_of_it(ground: Path) -> None:
    marker = f"sleep 8{os.getpid()}"
    with pytest.raises(CommandError, match="took longer"):
        process.run(sandbox.alone(["sh", "-c", f"setsid {marker} & wait"]), timeout=0.5)
    assert not left(marker)


def test_when_deployd_is_killed_all_of_it_dies(ground: Path) -> None:
    marker = f"sleep 9{os.getpid()}"
    script = f"setsid {marker} & touch {ground}/checkout/up; wait"
    argv = sandbox.alone(["sh", "-c", script], writable={str(ground / "checkout"): str(ground / "checkout")})
    starter = process.spawn(
        [sys.executable, "-c", f"from deployd import process; process.run({argv!r})"],
        cwd=Path(__file__).parents[2], env={"PYTHONPATH": ":".join(sys.path)}, stdout=None, stderr=None,
    )  # fmt: skip
    for _ in range(3000):
        if (ground / "checkout" / "up").exists():
            break
        time.sleep(0.02)
    assert (ground / "checkout" / "up").exists()
    starter.kill()
    starter.wait()
    assert not left(marker)


def test_its_own_temporary_folder_is_on_disk_and_removed(ground: Path) -> None:
    with sandbox.private(ground, home="/w") as own:
        done = sh("echo x > /tmp/x; echo y > /var/tmp/y; id -un; cat /tmp/x /tmp/y", ground, private=own)
        assert done.splitlines() == [sandbox.ACCOUNT, "x", "y"]
        assert (Path(own) / "tmp" / "x").is_file()
    assert not Path(own).exists()
    assert sorted(path.name for path in ground.iterdir()) == ["checkout", "shown", "state"]


def test_a_hidden_folder_is_covered_even_in_a_shown_one(ground: Path) -> None:
    (ground / "shown" / "inner").mkdir()
    (ground / "shown" / "inner" / "key").write_text(CANARY)
    sandbox.show(ground / "shown")
    where = str(ground / "shown")
    box = sandbox.Sandbox(readonly={where: where}, hidden=(f"{where}/inner", f"{where}/file"))
    argv = sandbox.wrap(
        ["sh", "-c", f"ls {where}; cat {where}/file; ls -A {where}/inner"], box, account=sandbox.account()
    )
    assert process.run(argv).text.split() == ["file", "inner"]


def test_links_are_given_as_links(ground: Path) -> None:
    (ground / "checkout" / "out").symlink_to(ground / "state" / "key")
    before = (ground / "state" / "key").stat()
    sandbox.give(ground / "checkout")
    sandbox.show(ground / "checkout")
    after = (ground / "state" / "key").stat()
    assert (before.st_uid, before.st_mode) == (after.st_uid, after.st_mode)


def test_the_check_passes_here() -> None:
    sandbox.check()


def test_a_build_that_is_not_roots_has_a_limit_of_processes_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "account", lambda: None)
    monkeypatch.setattr(building, "_PROCESSES", 20)
    made = building.Ground(home="/", path="/usr/bin:/bin", registry={}, box=sandbox.Sandbox(readonly={}, writable={}))
    script = "for one in $(seq 60); do sleep 5 & done; echo all"
    words = made.argv(["sh", "-c", script], cwd=Path("/"))
    anybody = {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}
    done = subprocess.run(words, cwd="/", capture_output=True, text=True, timeout=20, check=False, **anybody)  # type: ignore[call-overload]
    assert done.returncode != 0
    assert "all" not in done.stdout
    assert "fork" in done.stderr
