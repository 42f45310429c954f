"""The benchmark: everything is measured in one run, beside what it is compared with, and told as ratios of medians.

`python -m tests.bench.run [PART...]` with parts build, hooks, ship, rollback, flips, throughput, delta, daemon, visitors (default: all). Needs root; takes a lab
of four hosts up and down again.
"""

from __future__ import annotations

import dataclasses
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from deployd import lab
from deployd.domain.artifact import FileEntry, Manifest, Provenance, Runtime
from deployd.domain.ids import AppName, EnvironmentName, HostName, ReleaseId, RuntimeName
from deployd.domain.options import Probe
from deployd.errors import HostError
from deployd.hosts.pool import Pool
from deployd.paths import StatePaths
from deployd.stages import activate, ship
from deployd.stages.package.objects import path_of, store_stream
from tests.bench.building import bench_build, bench_delta
from tests.bench.daemon import bench_daemon
from tests.bench.flips import bench_flips, wrk
from tests.bench.hooks import bench_hooks
from tests.bench.visitors import bench_visitors
from tests.support.world import ROOT, World

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from deployd.domain.host import Host

LAB = "bench"
HOSTS = 4
ENVIRONMENT = EnvironmentName("production")


def say(text: str = "") -> None:
    print(text, flush=True)


def prepare(folder: Path) -> World:
    """Four hosts, bootstrapped, with two releases of the example app on them."""
    lab.up(LAB, hosts=HOSTS)
    world = World(folder=folder, hosts=lab.status(LAB), state=folder / "state", name="shop")
    world.add_hosts()
    world.run("host", "bootstrap", *[host.name for host in world.hosts], timeout=600)
    listed = subprocess.run(
        ["git", "ls-files", "-z", "examples/nextjs"], cwd=ROOT, capture_output=True, check=True
    ).stdout
    for name in listed.decode().split("\0"):
        if name and not name.endswith("deployd.toml"):
            target = world.app / Path(name).relative_to("examples/nextjs")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((ROOT / name).read_bytes())
    for words in (["init", "-q", "-b", "main"], ["add", "-A"]):
        subprocess.run(["git", *words], cwd=world.app, check=True)
    subprocess.run(
        ["git", "-c", "user.name=B", "-c", "user.email=b@example.com", "commit", "-qm", "one"],
        cwd=world.app,
        check=True,
    )
    for _ in range(2):
        world.run("release", "--json", "--yes", timeout=900)
    return world


def releases(world: World) -> list[str]:
    return [release["id"] for release in world.run("releases", "--json").document]


def manifest_of(world: World) -> Manifest:
    (newest, *_) = sorted(
        (world.state / "artifacts" / "manifests").glob("*.json"), key=lambda path: -path.stat().st_mtime
    )
    return Manifest.from_json(json.loads(newest.read_text()))


def changed(manifest: Manifest, *, artifacts: Path, n: int) -> Manifest:
    """The same artifact with one file of another content."""
    text = f"changed {n}\n".encode()
    import hashlib
    import io

    sha256 = hashlib.sha256(text).hexdigest()
    if not path_of(artifacts, sha256).exists():
        store_stream(io.BytesIO(text), sha256=sha256, artifacts=artifacts)
    files = tuple(
        FileEntry(path=entry.path, mode=entry.mode, size=len(text), sha256=sha256)
        if isinstance(entry, FileEntry) and entry.path == "public/robots.txt"
        else entry
        for entry in manifest.files
    )
    return dataclasses.replace(manifest, files=files)


def lay_out(manifest: Manifest, *, artifacts: Path, into: Path) -> None:
    """The artifact as a folder, for the bare rsync."""
    from deployd.domain.artifact import content_time

    for entry in manifest.files:
        target = into / entry.path
        target.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(entry, FileEntry):
            target.write_bytes(path_of(artifacts, entry.sha256).read_bytes())
            when = content_time(entry.sha256)
            import os

            os.utime(target, (when, when))
        else:
            target.symlink_to(entry.target)


def bench_ship(world: World, *, rounds: int = 7) -> None:
    """Ship and flip one changed file, against a bare parallel `rsync --link-dest` and one ssh rename."""
    artifacts = world.state / "artifacts"
    base = manifest_of(world)
    hosts = known_hosts(world)
    names = [host.name for host in hosts]
    ssh = ["ssh", "-i", str(world.hosts[0].identity), "-o", f"UserKnownHostsFile={world.folder / 'kh'}", "-o", "LogLevel=ERROR",
           "-o", "StrictHostKeyChecking=yes"]  # fmt: skip
    (world.folder / "kh").write_text("".join(f"{host.address} {host.host_key}\n" for host in world.hosts))
    app = AppName(world.name)
    runtime = runtime_of(world)
    ours, floors = [], []
    for n in range(rounds + 1):
        manifest = changed(base, artifacts=artifacts, n=n)
        tree = world.folder / f"tree-{n}"
        lay_out(manifest, artifacts=artifacts, into=tree)

        def floor(address: str, n: int = n, tree: Path = tree) -> None:
            link = [f"--link-dest=/root/floor/{n - 1}"] if n else []
            target = f"root@{address}:/root/floor/{n}/"
            subprocess.run(["rsync", "-a", "--mkpath", *link, "-e", " ".join(ssh), f"{tree}/", target], check=True)
            move = f"ln -sfn {n} /root/floor/next && mv -T /root/floor/next /root/floor/current"
            subprocess.run([*ssh, f"root@{address}", move], check=True)

        def bare() -> None:
            with ThreadPoolExecutor(HOSTS) as threads:
                list(threads.map(floor, [host.address for host in world.hosts]))

        floors.append(timed(bare))
        release = ReleaseId.new(commit=None)
        provenance = Provenance(
            app=app, environment=ENVIRONMENT, release=release, artifact=manifest.name, build_id="b" + "0" * 20, runtime=runtime.name,
            commit=None, branch=None, ref=None, dirty=False, subject=None, author=None, who="bench", message=None, created="",
            node=runtime.name.version, lockfile_sha256=None, framework="nextjs", deployd="bench",
        )  # fmt: skip
        began = time.monotonic()
        with Pool(hosts, paths=StatePaths(world.state)) as pool, ThreadPoolExecutor(HOSTS) as threads:
            pool.connect_all(shipping=True)
            leases = {name: pool.helper(name).hold(app, ENVIRONMENT, owner="bench", rollout="bench") for name in names}

            def one(name: HostName, pool: Pool = pool, manifest: Manifest = manifest, release: ReleaseId = release,
                    provenance: Provenance = provenance) -> None:  # fmt: skip
                ship.ship(
                    pool, name, app=app, environment=ENVIRONMENT, release=release, manifest=manifest, provenance=provenance,
                    runtime=runtime, artifacts=artifacts,
                )  # fmt: skip

            list(threads.map(one, names))
            shipped = time.monotonic() - began
            for name in names:
                activate.prepare(
                    pool, name, app=app, environment=ENVIRONMENT, release=release, run=None, probe=Probe(path="/health"),
                    variables={},
                )  # fmt: skip
            current = {name: pool.helper(name).status(app, ENVIRONMENT).current for name in names}
            began = time.monotonic()
            flips = activate.flip(
                pool, current, app=app, environment=ENVIRONMENT, release=release,
                epochs={name: lease.epoch for name, lease in leases.items()},
            )  # fmt: skip
            ours.append(shipped + time.monotonic() - began)
            assert not any(isinstance(flip, HostError) for flip in flips.values()), flips
            activate.drain(pool, current, app=app, environment=ENVIRONMENT)
            for lease in leases.values():
                lease.close()
    ratio = statistics.median(a / b for a, b in zip(ours[1:], floors[1:], strict=True))
    say(f"ship + flip, one changed file, {HOSTS} hosts: {median(ours[1:]):.2f} s; bare rsync --link-dest + ssh rename: "
        f"{median(floors[1:]):.2f} s; ratio {ratio:.2f} (at most 1.5)")  # fmt: skip


def bench_rollback(world: World, *, rounds: int = 7) -> None:
    """The whole command, and the flip in it from the first host to the last."""
    first, second, *_ = live_ones(world)
    whole, flips = [], []
    for n in range(rounds + 1):
        told = world.run("rollback", [second, first][n % 2], "--yes", "--json")
        whole.append(told.seconds)
        flips.append(told.last["flip_s"])
    python = median([timed(lambda: subprocess.run([sys.executable, "-c", "pass"], check=True)) for _ in range(5)])
    say(
        f"rollback, whole command, {HOSTS} hosts: {median(whole[1:]):.2f} s (at most 1.0; bare python is {python:.2f} s)"
    )
    say(
        f"rollback, first flip to last: {median(flips[1:]) * 1000:.1f} ms, worst {max(flips[1:]) * 1000:.1f} ms (at most 100)"
    )


def live_ones(world: World) -> list[str]:
    """Two releases that every host has: the current one first."""
    status = world.status()
    return [status["release"], *[release for release in releases(world) if release != status["release"]]]


def bench_throughput(world: World, *, rounds: int = 3) -> None:
    """Through the web server against straight to Node.js, on one host, in turn."""
    host = world.hosts[0]
    current = f"/srv/deployd/apps/{world.name}/production/current"
    start = (
        f"cd {current}/ && systemd-run --quiet --unit bench-node --setenv=PORT=4000 --setenv=HOSTNAME=0.0.0.0 "
        f"--setenv=NODE_ENV=production --working-directory=$(readlink -f .) $(readlink -f .deployd/node) server.js"
    )
    lab.run(LAB, host.name, ["sh", "-c", start])
    try:
        time.sleep(3)
        page = wrk_get(f"http://{host.address}/")
        asset = re.search(r"/_next/static/[^\"?]+\.js", page)
        assert asset
        for what, path, compressed, least in (
            ("dynamic page", "/dynamic", False, 0.85),
            ("hashed static file, as browsers ask for it", asset[0], True, 3.0),
            ("hashed static file, not compressed", asset[0], False, 1.0),
        ):
            web, node = [], []
            for _ in range(rounds):
                node.append(wrk(f"http://{host.address}:4000{path}", seconds=6, compressed=compressed)["rate"])
                web.append(wrk(f"http://{host.address}{path}", seconds=6, compressed=compressed)["rate"])
            ratio = statistics.median(a / b for a, b in zip(web, node, strict=True))
            say(f"{what}: {median(web):.0f}/s through the web server, {median(node):.0f}/s straight to Node.js; "
                f"ratio {ratio:.2f} (at least {least})")  # fmt: skip
    finally:
        lab.run(LAB, host.name, ["systemctl", "stop", "bench-node"], check=False)


def wrk_get(url: str) -> str:
    import urllib.request

    with urllib.request.urlopen(url, timeout=20) as answer:
        return str(answer.read().decode())


def known_hosts(world: World) -> list[Host]:
    from deployd.domain.host import Host

    return [Host(name=HostName(host.name), address=host.address, host_key=host.host_key) for host in world.hosts]


def runtime_of(world: World) -> Runtime:
    (folder,) = [path for path in (world.state / "runtimes").iterdir() if path.name.startswith("node-")]
    node = folder / "bin" / "node"
    return Runtime(
        name=RuntimeName.parse(folder.name),
        path=str(node),
        sha256=(folder / "sha256").read_text().strip(),
        size=node.stat().st_size,
    )


def timed(do: Callable[[], object]) -> float:
    began = time.monotonic()
    do()
    return time.monotonic() - began


def median(numbers: Sequence[float]) -> float:
    return statistics.median(numbers)


# ship is last: it flips to releases that the store does not know
PARTS = {
    "rollback": bench_rollback,
    "flips": lambda world: bench_flips(world, first=live_ones(world), say=say),
    "throughput": bench_throughput,
    "delta": lambda world: bench_delta(world, say=say),
    "daemon": lambda world: bench_daemon(world, say=say),
    "visitors": lambda world: bench_visitors(world, say=say),
    "ship": bench_ship,
}


def main() -> None:
    wanted = sys.argv[1:] or ["build", "hooks", *PARTS]
    if "hooks" in wanted:
        bench_hooks(say=say)
        wanted.remove("hooks")
    if "build" in wanted:  # no host is needed
        with tempfile.TemporaryDirectory(prefix="deployd-bench-") as folder:
            bench_build(Path(folder), say=say)
        wanted.remove("build")
    if not wanted:
        return
    with tempfile.TemporaryDirectory(prefix="deployd-bench-") as folder:
        try:
            world = prepare(Path(folder))
            for name in wanted:
                PARTS[name](world)
        finally:
            lab.down(LAB)


if __name__ == "__main__":
    main()
