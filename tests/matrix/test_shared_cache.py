"""Two servers of one release and a real Redis: what one makes anew, or revalidates by tag, the other shows."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from deployd.stages.package.artifacts import shim

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

VERSIONS = {"13": "13.5.11", "14": "14.2.35", "15": "15.5.29", "16": "16.4.6"}
PASSWORD = "a:b@c/d"  # needs encoding in an address
STAMP = (
    'import { unstable_cache } from "next/cache";\n'
    "const stamp = unstable_cache(async () => Date.now() + '-' + Math.random(), ['KEY'], "
    '{ tags: ["items"], revalidate: 600 });\n'
)
FILES = {
    "app/layout.js": "export default function L({ children }) { return <html><body>{children}</body></html> }",
    "app/isr/page.js": "export const revalidate = 2;\n"
    "export default function P() { return <p>{'made ' + Date.now() + '-' + Math.random()}</p> }",
    "app/item/[id]/page.js": STAMP.replace("KEY", "item") + "export const revalidate = 600;\n"
    "export function generateStaticParams() { return [] }\n"
    "export default async function P() { return <p>{'made ' + (await stamp())}</p> }",
    "app/data/route.js": STAMP.replace("KEY", "data") + 'export const dynamic = "force-dynamic";\n'
    "export async function GET() { return new Response('made ' + (await stamp())) }",
}
TAG = (
    'import { revalidateTag } from "next/cache";\nexport const dynamic = "force-dynamic";\n'
    'export async function POST() { revalidateTag("items"MORE); return new Response("ok") }'
)
USED = (
    'import { Suspense } from "react";\nimport { cacheTag, cacheLife } from "next/cache";\n'
    'import { connection } from "next/server";\n'
    'async function stamp() { "use cache"; cacheTag("items"); cacheLife("hours"); '
    "return Date.now() + '-' + Math.random() }\n"
    "async function Inner() { await connection(); return <p>{'made ' + (await stamp())}</p> }\n"
    "export default function P() { return <Suspense><Inner /></Suspense> }"
)


def build(folder: Path, major: str) -> Path:
    react = "^18" if int(major) < 15 else "^19"
    needed = {"next": VERSIONS[major], "react": react, "react-dom": react}
    files = {
        **FILES,
        "package.json": json.dumps({"private": True, "dependencies": needed}),
        "app/tag/route.js": TAG.replace("MORE", ", { expire: 0 }" if major == "16" else ""),
        **({"app/used/page.js": USED, "next.config.js": "module.exports = { experimental: { useCache: true } }"}
           if major == "16" else {}),
    }  # fmt: skip
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    environment = {**os.environ, "NEXT_PRIVATE_STANDALONE": "1", "NEXT_TELEMETRY_DISABLED": "1"}
    for argv in (["npm", "install", "--no-audit", "--no-fund"], ["npx", "next", "build"]):
        done = subprocess.run(argv, cwd=folder, env=environment, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return folder / ".next/standalone"


@dataclass
class Fleet:
    """Two servers, each with its own copy of the release."""

    folder: Path
    redis_port: int
    ports: list[int]
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)
    redis: subprocess.Popen[bytes] | None = None

    def start_redis(self) -> None:
        words = ["--port", str(self.redis_port), "--bind", "127.0.0.1", "--save", "", "--requirepass", PASSWORD]
        self.redis = subprocess.Popen(["redis-server", *words], cwd=self.folder, stdout=subprocess.DEVNULL)
        until(lambda: reachable(self.redis_port))

    def stop_redis(self) -> None:
        if self.redis:
            self.redis.kill()
            self.redis.wait()

    def start(self, tree: Path) -> None:
        (self.folder / "shim.cjs").write_bytes(shim())
        encoded = urllib.parse.quote(PASSWORD, safe="")
        for number, port in enumerate(self.ports):
            place = self.folder / f"host{number}"
            shutil.copytree(tree, place, symlinks=True)
            environment = {
                "PATH": os.environ["PATH"], "PORT": str(port), "HOSTNAME": "localhost", "NODE_ENV": "production",
                "DEPLOYD_RELEASE": "r1", "REDIS_URL": f"redis://:{encoded}@127.0.0.1:{self.redis_port}/2",
                "NODE_DEPLOYD_CACHE": json.dumps({"env": "REDIS_URL", "of": "shop-production"}),
            }  # fmt: skip
            with self.log(number).open("wb") as log:
                self.running.append(
                    subprocess.Popen(
                        ["node", "--require", str(self.folder / "shim.cjs"), "server.js"],
                        cwd=place,
                        env=environment,
                        stdout=log,
                        stderr=log,
                    )
                )
        for port in self.ports:
            until(lambda port=port: reachable(port))

    def log(self, number: int) -> Path:
        return self.folder / f"log{number}"

    def ask(self, number: int, path: str, method: str = "GET") -> str:
        """What was made, by its time and a random number."""
        request = urllib.request.Request(f"http://localhost:{self.ports[number]}{path}", method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            found = re.search(r"made ([0-9.-]+)", answer.read().decode().replace("<!-- -->", ""))
        return found[1] if found else ""

    def close(self) -> None:
        for one in self.running:
            one.send_signal(signal.SIGKILL)
            one.wait()
        self.stop_redis()


def reachable(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def until(holds: Callable[[], bool], seconds: float = 40) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    with ExitStack() as stack:
        held = [stack.enter_context(socket.socket()) for _ in range(3)]
        for one in held:
            one.bind(("127.0.0.1", 0))
        ports = [int(one.getsockname()[1]) for one in held]
    made = Fleet(tmp_path, ports[0], ports[1:])
    try:
        yield made
    finally:
        made.close()


@pytest.mark.parametrize("major", VERSIONS)
def test_what_one_host_makes_the_other_shows(fleet: Fleet, tmp_path: Path, major: str) -> None:
    tree = build(tmp_path / "app", major)
    fleet.start_redis()
    fleet.start(tree)
    paths = ["/data", "/item/7", *(["/used"] if major == "16" else [])]

    for path in paths:
        first = fleet.ask(0, path)
        assert first
        until(lambda path=path, first=first: fleet.ask(1, path) == first)

    for here, there in ((0, 1), (1, 0)):
        before = {path: fleet.ask(there, path) for path in paths}
        fleet.ask(here, "/tag", "POST")
        for path in paths:
            assert fleet.ask(there, path) != before[path], f"{path}: the tag did not reach the other host"
            until(lambda path=path: fleet.ask(0, path) == fleet.ask(1, path))

    before_isr = fleet.ask(0, "/isr")
    until(lambda: fleet.ask(0, "/isr") != before_isr)
    until(lambda: fleet.ask(0, "/isr") == fleet.ask(1, "/isr"))

    fleet.stop_redis()
    until(
        lambda: all(
            "does not answer" in fleet.log(number).read_text() or not fleet.ask(number, "/data") for number in (0, 1)
        )
    )
    for _ in range(5):
        assert all(fleet.ask(number, path) for number in (0, 1) for path in paths), "each host goes on with its own"
    before_there = fleet.ask(1, "/data")
    fleet.ask(0, "/tag", "POST")
    assert fleet.ask(1, "/data") == before_there, "nobody can tell it now"
    fleet.start_redis()
    until(lambda: fleet.ask(0, "/data") != "" and fleet.ask(1, "/data") != before_there)
    for number in (0, 1):
        text = fleet.log(number).read_text()
        assert text.count("the shared cache at") == 1, "told once"
        assert PASSWORD not in text
        assert urllib.parse.quote(PASSWORD, safe="") not in text
