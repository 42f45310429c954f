"""A stolen deploy key gets no shell, and changes no release that is there."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from deployd import lab
from tests.lab.conftest import hosts_lab

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.world import World


def ssh(world: World, *words: str) -> list[str]:
    """The argv of a thief with the deploy key."""
    return [
        "ssh", "-F", "none", "-i", str(world.state / "ssh" / "id_ed25519"), "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes",
        "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", *words,
        f"deployd@{world.hosts[0].address}",
    ]  # fmt: skip


def digest(world: World) -> str:
    """A hash over every release file of the app on the first host, names, modes and times included."""
    script = (
        f"cd /srv/deployd/apps/{world.name} && find . -path '*/releases/*' -printf '%p %m %u %T@ %l\\n' | sort | sha256sum;"
        " find . -path '*/releases/*' -type f -exec sha256sum {} + | sort | sha256sum"
    )
    return lab.run(hosts_lab(world.hosts), world.hosts[0].name, ["sh", "-c", script]).text


def steal(argv: list[str], stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, input=stdin, capture_output=True, text=True, timeout=60, check=False)


COMMANDS = [
    "", "id", "sh -c id", "deployd-host facts; id", "deployd-host facts\nid", "deployd-host $(id)", "deployd-host `id`",
    "deployd-host --root-half facts", "deployd-host boot", "sudo -n id", "/usr/lib/openssh/sftp-server", "scp -t /tmp",
    "deployd-host flip ../../etc production x",
]  # fmt: skip
OPTIONS = [["-N", "-W", "127.0.0.1:80"], ["-tt"], ["-N", "-o", "ExitOnForwardFailure=yes", "-R", "9999:127.0.0.1:22"]]
RSYNC = [
    ["-a"], ["-a", "--inplace"], ["-t", "--inplace"], ["-t"], ["-rt"], ["-t", "--append"], ["-rt", "--delete"], ["-t", "-K"],
    ["-t", "--partial-dir=.deployd-partial"], ["-t", "--link-dest=/etc"], ["-s", "-t"],
]  # fmt: skip


def test_nothing_but_the_helpers_verbs_runs(world: World) -> None:
    """No shell, no sftp, no terminal, no forwarding, however it is asked for."""
    for command in COMMANDS:
        done = steal([*ssh(world, "-T"), *([command] if command else [])], stdin="id\n")
        assert done.returncode != 0, command
        assert "uid=" not in done.stdout + done.stderr, command
    for options in OPTIONS:
        done = steal(ssh(world, *options), stdin="GET / HTTP/1.0\r\n\r\n")
        assert "HTTP/1" not in done.stdout, options
        assert done.returncode != 0, options


def test_rsync_cannot_touch_a_sealed_release(world: World, tmp_path: Path) -> None:
    """By whatever flags, into the release or by a hard link's other name."""
    release = world.release("1").last["release"]
    before = digest(world)
    (tmp_path / "server.js").write_text("evil")
    shell = " ".join(ssh(world)[:-1])
    apps = f"/srv/deployd/apps/{world.name}/production"
    targets = [
        f"{apps}/releases/{release}/",
        f"/srv/deployd/incoming/../apps/{world.name}/production/releases/{release}/",
        f"{apps}/static/",
    ]
    for how in RSYNC:
        for target in targets:
            address = f"deployd@{world.hosts[0].address}:{target}"
            done = steal(["rsync", *how, "-e", shell, str(tmp_path / "server.js"), address])
            assert done.returncode != 0, (how, target)

    assert digest(world) == before
    world.assert_live("1")


def test_rsync_fetches_nothing(world: World, tmp_path: Path) -> None:
    world.release("1")
    done = steal(
        ["rsync", "-t", "-e", " ".join(ssh(world)[:-1]), f"deployd@{world.hosts[0].address}:/etc/passwd", str(tmp_path)]
    )

    assert done.returncode != 0
    assert not (tmp_path / "passwd").exists()


def test_a_crash_loop_does_not_kill_the_socket(world: World) -> None:
    """An app that dies at every start: waiting visitors wait, and the next good release answers them."""
    world.release("1")
    host = world.hosts[0]
    for _ in range(12):
        lab.run(
            hosts_lab(world.hosts), host.name, ["pkill", "-9", "-f", f"{world.name}/production/releases"], check=False
        )

    assert world.ask("/")[1] == "version 1\n"
    state = lab.run(
        hosts_lab(world.hosts), host.name,
        ["systemctl", "is-active", f"deployd-{world.name}-production@{world.status()['release']}.socket"],
    )  # fmt: skip
    assert state.text.strip() == "active"
    assert world.status()["hosts"][0]["restarts"] >= 1
