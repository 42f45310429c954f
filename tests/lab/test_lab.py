"""The lab itself, for real: bare hosts, reboots, and that nothing is left however it ends."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import sys
import tempfile
import textwrap
import time
from pathlib import Path

import pytest

from deployd import lab, process
from deployd.errors import CommandError, DeploydError, NotFoundError
from deployd.lab import labs, names

_spec = importlib.util.spec_from_file_location("lab_traces", Path(__file__).with_name("traces.py"))
traces = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(traces)

UNIT = """
[Service]
DynamicUser=yes
User=dpl-probe
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
NoNewPrivileges=yes
CacheDirectory=probe/one
MemoryMax=200M
RestrictAddressFamilies=AF_UNIX AF_INET
RestrictNamespaces=yes
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM
StandardOutput=journal
ExecStart=/usr/bin/python3 /usr/local/lib/probe.py
"""
PROBE = """
import json, os, socket

def refused(what):
    try:
        what()
    except OSError as error:
        return error.errno
    return None

connection, _ = socket.socket(fileno=3).accept()
open(os.environ["CACHE_DIRECTORY"] + "/file", "w").close()
told = {
    "uid": os.getuid(),
    "write": refused(lambda: open("/srv/file", "w")),
    "packet": refused(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW)),
    "chroot": refused(lambda: os.chroot("/")),
    "tmp": os.listdir("/tmp"),
}
connection.sendall(json.dumps(told).encode())
"""


def shell(name, host, script, **options):
    return lab.run(name, host, ["bash", "-euc", script], **options).text.strip()


def boot_id(name, host):
    return shell(name, host, "cat /proc/sys/kernel/random/boot_id")


def cli(*arguments):
    return [sys.executable, "-c", "from deployd.cli.main import main; main()", "lab", *arguments]


def number_of(made):
    return int(made.subnet.split(".")[2])


class TestHost:
    def test_it_is_bare_and_healthy(self, make_lab):
        made = make_lab()
        script = """
            for program in rsync sudo caddy nginx node npm git; do ! command -v $program; done
            ! getent passwd deployd >&2
            command -v sshd systemctl python3 apt-get >&2
            systemctl is-system-running
        """
        assert shell(made.name, "web1", script) == "running"

    def test_apt_installs_without_a_network(self, make_lab):
        made = make_lab()
        assert "default" not in shell(made.name, "web1", "ip route")
        told = shell(
            made.name,
            "web1",
            "apt-get update 2>&1; apt-get install --yes rsync sudo acl python3-apt >/dev/null 2>&1; rsync --version",
        )
        assert "file:/var/local/apt" in told
        assert "W:" not in told
        assert "rsync  version" in told

    def test_systemd_sandboxes_and_activates_by_socket(self, make_lab):
        made = make_lab()
        for path, text in {
            "/etc/systemd/system/probe.service": UNIT,
            "/etc/systemd/system/probe.socket": "[Socket]\nListenStream=/run/probe.sock\n",
            "/usr/local/lib/probe.py": PROBE,
        }.items():
            lab.run(made.name, "web1", ["tee", path], stdin=text.encode())
        ask = "import socket as s; c = s.socket(s.AF_UNIX); c.connect('/run/probe.sock'); print(c.recv(999).decode())"
        shell(made.name, "web1", "touch /tmp/seen; systemctl start probe.socket")
        told = json.loads(lab.run(made.name, "web1", ["python3", "-c", ask]).text)
        assert told["uid"] >= 61184
        assert told["write"] == 30  # EROFS
        assert told["packet"] == 97  # EAFNOSUPPORT
        assert told["chroot"] == 1  # EPERM
        assert told["tmp"] == []

    def test_arguments_arrive_unchanged(self, make_lab):
        made = make_lab()
        words = ["a b", "$(id)", "'", '"', "*", "", "line\nline"]
        assert lab.run(made.name, "web1", ["printf", "%s|", *words]).text == "".join(f"{word}|" for word in words)

    def test_reboots_keep_address_disk_and_key(self, make_lab):
        made = make_lab()
        before = made.host("web1")
        boots = {boot_id(made.name, "web1")}
        shell(made.name, "web1", "echo kept > /srv/file; sync")
        lab.run(made.name, "web1", ["systemctl", "reboot"], check=False)
        deadline = time.monotonic() + 30
        while True:
            now = lab.status(made.name)[0]
            if (
                now.running
                and now.pid != before.pid
                and lab.run(made.name, "web1", ["true"], check=False).returncode == 0
            ):
                break
            assert time.monotonic() < deadline
            time.sleep(0.1)
        boots.add(boot_id(made.name, "web1"))
        for hard in (False, True):
            back = lab.reboot(made.name, "web1", hard=hard)
            assert (back.address, back.host_key, back.running) == (before.address, before.host_key, True)
            assert back.pid != before.pid
            boots.add(boot_id(made.name, "web1"))
        assert len(boots) == 4
        assert shell(made.name, "web1", "cat /srv/file") == "kept"

    def test_a_cut_host_lives_on_and_can_be_mended(self, make_lab):
        made = make_lab(hosts=2)
        lab.cut(made.name, "web1")
        assert lab.run(made.name, "web1", ["true"], check=False).returncode == 255
        assert lab.status(made.name)[0].running
        assert lab.up(made.name, hosts=2).host("web1").pid == made.host("web1").pid
        assert lab.run(made.name, "web2", ["true"]).returncode == 0
        lab.mend(made.name, "web1")
        assert lab.run(made.name, "web1", ["true"]).returncode == 0

    def test_a_disk_fills_up_and_survives_a_restart(self, make_lab):
        made = make_lab(disk="100M")
        full = lab.run(made.name, "web1", ["dd", "if=/dev/zero", "of=/srv/big", "bs=1M"], check=False)
        assert "No space left" in full.error_text
        shell(made.name, "web1", "rm /srv/big; echo kept > /srv/file")
        lab.reboot(made.name, "web1", hard=True)
        assert shell(made.name, "web1", "cat /srv/file") == "kept"
        lab.down(made.name)
        assert traces.of(made.name, number_of(made)) == []

    def test_another_host_key_is_refused(self, make_lab):
        made = make_lab()
        new_key = "rm /etc/ssh/ssh_host_*; ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key"
        shell(made.name, "web1", f"{new_key}; systemctl restart ssh")
        with pytest.raises(CommandError) as caught:
            lab.run(made.name, "web1", ["true"])
        assert "HOST IDENTIFICATION HAS CHANGED" in caught.value.details


class TestLab:
    def test_up_again_changes_nothing_and_a_larger_one_adds(self, make_lab):
        made = make_lab(hosts=1)
        assert lab.up(made.name, hosts=1) == made
        grown = lab.up(made.name, hosts=2)
        assert grown.host("web1") == made.host("web1")
        assert [host.name for host in grown.hosts] == ["web1", "web2"]
        assert shell(made.name, "web2", f"ping -c1 -W2 {made.host('web1').address} >&2 || true; hostname") == "web2"

    def test_a_dead_host_is_booted_again_from_its_disk(self, make_lab):
        made = make_lab(hosts=2)
        shell(made.name, "web1", "echo kept > /srv/file")
        os.kill(made.host("web1").pid, signal.SIGKILL)
        deadline = time.monotonic() + 60
        while lab.status(made.name)[0].running:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        bridge = names.bridge(number_of(made))
        process.run(["ip", "address", "flush", "dev", bridge])  # as a command leaves it that was killed over it
        process.run(["ip", "link", "set", bridge, "down"])
        again = lab.up(made.name, hosts=1)
        assert again.host("web2").pid == made.host("web2").pid
        assert again.host("web1").host_key == made.host("web1").host_key
        assert shell(made.name, "web1", "cat /srv/file") == "kept"

    def test_labs_stand_side_by_side(self, make_lab):
        one, other = make_lab(), make_lab()
        assert one.subnet != other.subnet
        assert one.host("web1").address != other.host("web1").address
        lab.down(one.name)
        assert shell(other.name, "web1", "hostname") == "web1"
        assert lab.status(one.name) == ()

    def test_down_leaves_nothing(self, make_lab):
        made = make_lab(hosts=2)
        assert traces.of(made.name, number_of(made))
        assert lab.down(made.name)
        assert traces.of(made.name, number_of(made)) == []
        assert not lab.down(made.name)

    def test_a_host_or_lab_that_is_not_there(self, make_lab):
        made = make_lab()
        with pytest.raises(NotFoundError) as caught:
            lab.run(made.name, "web9", ["true"])
        assert caught.value.code == "lab-host-unknown"
        with pytest.raises(NotFoundError) as caught:
            lab.reboot("never-made", "web1")
        assert caught.value.code == "lab-not-found"

    def test_a_host_that_does_not_boot_says_why_and_leaves_nothing(self, lab_names, monkeypatch):
        name = next(lab_names)
        monkeypatch.setattr(labs.tree.Trees, "root", lambda _self, _name: Path("/nonexistent"))
        with pytest.raises(DeploydError) as caught:
            lab.up(name, hosts=2)
        assert caught.value.code == "lab-host-failed"
        assert "overlay" in caught.value.details or "mount" in caught.value.details
        assert traces.of(name) == []

    def test_two_ups_at_once_make_one_lab(self, lab_names):
        name = next(lab_names)
        both = [process.spawn(cli("up", "--name", name, "--hosts", "2", "--json")) for _ in range(2)]
        told = [one.communicate(timeout=60) for one in both]
        assert [one.returncode for one in both] == [0, 0], told
        assert told[0][0] == told[1][0]
        lab.down(name)
        assert traces.of(name) == []

    def test_status_for_programs(self, make_lab):
        made = make_lab()
        told = json.loads(process.run(cli("status", "--name", made.name, "--json")).text)
        assert told == [host.to_json() for host in made.hosts]
        done = process.run(cli("ssh", "--name", made.name, "web1", "--", "printf", "%s", "a b"))
        assert done.text == "a b"


class TestInterrupted:
    @pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
    @pytest.mark.parametrize(
        "stage", ["lab.json", "id_ed25519.pub", "hosts/web1/ready", "known_hosts", "hosts/web1/console.log"]
    )
    def test_an_up_that_is_interrupted_leaves_nothing(self, lab_names, number, code, stage):
        name = next(lab_names)
        running = process.spawn(cli("up", "--name", name, "--hosts", "2"))
        self.wait_for(name, stage, running)
        running.send_signal(number)
        _, told = running.communicate(timeout=60)
        assert running.returncode == code, told.decode()
        assert traces.of(name) == []

    def test_a_second_signal_does_not_stop_the_cleaning(self, lab_names):
        name = next(lab_names)
        running = process.spawn(cli("up", "--name", name, "--hosts", "2"))
        self.wait_for(name, "hosts/web1/console.log", running)
        for number in (signal.SIGINT, signal.SIGINT, signal.SIGTERM, signal.SIGINT):
            running.send_signal(number)
            time.sleep(0.05)
        running.communicate(timeout=60)
        assert running.returncode == 130
        assert traces.of(name) == []

    @pytest.mark.parametrize("then", ["up", "down"])
    @pytest.mark.parametrize(
        "stage", ["lab.json", "id_ed25519.pub", "hosts/web1/ready", "known_hosts", "hosts/web1/console.log"]
    )
    def test_after_kill_9_the_next_command_puts_it_right(self, lab_names, stage, then):
        name = next(lab_names)
        running = process.spawn(cli("up", "--name", name, "--hosts", "2"))
        self.wait_for(name, stage, running)
        running.kill()
        running.communicate(timeout=60)
        if then == "up":
            made = lab.up(name, hosts=2)
            assert [shell(name, host.name, "hostname") for host in made.hosts] == ["web1", "web2"]
        lab.down(name)
        assert traces.of(name) == []

    def test_what_was_there_before_stays(self, make_lab):
        made = make_lab()
        running = process.spawn(cli("up", "--name", made.name, "--hosts", "3"))
        self.wait_for(made.name, "hosts/web3/console.log", running)
        running.send_signal(signal.SIGTERM)
        running.communicate(timeout=60)
        assert lab.status(made.name) == made.hosts
        assert shell(made.name, "web1", "hostname") == "web1"
        left = [trace for trace in traces.of(made.name, number_of(made)) if "web2" in trace or "web3" in trace]
        assert left == []

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
    def test_a_base_tree_half_built_is_swept(self, lab_names, tmp_path, number):
        script = f"""
            from pathlib import Path
            from deployd import lab, paths
            paths.cache_dir = lambda: Path({str(tmp_path)!r})
            lab.up({next(lab_names)!r}, hosts=1, report=lambda line: print(line, flush=True))
        """
        before = set(Path(tempfile.gettempdir()).glob("mmdebstrap.*"))
        running = process.spawn([sys.executable, "-c", textwrap.dedent(script)])
        for line in running.stdout:
            if b"extracting" in line:
                break
        running.send_signal(number)
        running.communicate(timeout=60)
        deadline = time.monotonic() + 60
        while left := [path for path in Path("/proc").glob("[0-9]*/cmdline") if str(tmp_path) in traces._text(path)]:
            assert time.monotonic() < deadline, left
            time.sleep(0.05)
        trees = labs.tree.Trees(folder=tmp_path / "lab" / "trees")
        if number == signal.SIGTERM:
            assert list(trees.folder.iterdir()) == []
        trees.sweep()
        assert list(trees.folder.iterdir()) == []
        assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()
        assert set(Path(tempfile.gettempdir()).glob("mmdebstrap.*")) == before

    @staticmethod
    def wait_for(name, file, running):
        folder = labs._folder(name)
        deadline = time.monotonic() + 300  # the first one of all makes the base tree
        while not (folder / file).exists():
            assert running.poll() is None, running.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.002)


def test_the_number_of_a_test_lab_is_what_traces_assumes(make_lab):
    made = make_lab()
    assert number_of(made) == names.choose_number(made.name, set())
