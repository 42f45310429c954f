"""The cache that hosts share and a real Redis in bad weather: a stand-in for Next.js's own cache, kept by two servers."""

from __future__ import annotations

import json
import os
import subprocess
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from deployd.stages.package.artifacts import shim
from tests.support.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

OWN_CACHE = """
exports.default = class {
  constructor() { this.kept = new Map(); this.gone = new Map(); }
  async get(key) {
    const one = this.kept.get(key);
    return one && one.tags.some((tag) => (this.gone.get(tag) || 0) >= one.lastModified) ? null : one || null;
  }
  async set(key, value, context) { this.kept.set(key, { value, tags: context.tags || [], lastModified: Date.now() }); }
  async revalidateTag(tags) { for (const tag of [].concat(tags)) this.gone.set(tag, Date.now()); }
};
"""
SERVER = """
const { FetchCache } = globalThis[Symbol.for("@next/cache-handlers")];
const cache = new FetchCache({});
const work = {
  set: (key, body, ...tags) => cache.set(key, { kind: "FETCH", body }, { tags }),
  get: async (key, ...tags) => (await cache.get(key, { tags }))?.value?.body ?? null,
  tag: (tag) => cache.revalidateTag([tag]),
};
require("node:readline").createInterface({ input: process.stdin }).on("line", async (line) => {
  const [verb, ...words] = JSON.parse(line);
  console.log(JSON.stringify((await work[verb](...words)) ?? null));
});
"""


@dataclass
class Weather:
    """One Redis, and servers that share it."""

    folder: Path
    port: int = field(default_factory=free_port)
    redis: subprocess.Popen[bytes] | None = None
    servers: list[subprocess.Popen[str]] = field(default_factory=list)

    def start_redis(self, *words: str) -> None:
        argv = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", *words]
        self.redis = subprocess.Popen(argv, cwd=self.folder, stdout=subprocess.DEVNULL)
        until(lambda: self.tell("PING", fails=True) == "PONG")

    def tell(self, *words: str, fails: bool = False) -> str:
        argv = ["redis-cli", "-p", str(self.port), "--no-auth-warning", *words]
        done = subprocess.run(argv, capture_output=True, text=True, check=not fails, timeout=60)
        return done.stdout.strip()

    def stop_redis(self) -> None:
        if self.redis:
            self.redis.kill()
            self.redis.wait()

    def start(self, password: str = "") -> int:
        next_folder = self.folder / "node_modules/next"
        inner = next_folder / "dist/server/lib/incremental-cache"
        inner.mkdir(parents=True, exist_ok=True)
        (next_folder / "package.json").write_text('{"version": "15.0.0"}')
        (inner / "file-system-cache.js").write_text(OWN_CACHE)
        (self.folder / "shim.cjs").write_bytes(shim())
        (self.folder / "server.js").write_text(SERVER)
        where = f"redis://{':' + password + '@' if password else ''}127.0.0.1:{self.port}"
        environment = {
            "PATH": os.environ["PATH"], "DEPLOYD_RELEASE": "r1", "REDIS_URL": where,
            "NODE_DEPLOYD_CACHE": json.dumps({"env": "REDIS_URL", "of": "shop-production"}),
        }  # fmt: skip
        with self.log(len(self.servers)).open("w") as log:
            self.servers.append(
                subprocess.Popen(
                    ["node", "--require", str(self.folder / "shim.cjs"), "server.js"], cwd=self.folder, env=environment,
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
                )
            )  # fmt: skip
        return len(self.servers) - 1

    def log(self, number: int) -> Path:
        return self.folder / f"log{number}"

    def ask(self, number: int, *words: str) -> Any:
        server = self.servers[number]
        assert server.stdin
        assert server.stdout
        server.stdin.write(json.dumps(words) + "\n")
        server.stdin.flush()
        return json.loads(server.stdout.readline())

    def close(self) -> None:
        for one in self.servers:
            one.kill()
            one.communicate()
        self.stop_redis()


def until(holds: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture
def weather(tmp_path: Path) -> Iterator[Weather]:
    made = Weather(tmp_path)
    try:
        yield made
    finally:
        made.close()


def test_a_wrong_password_is_told_once_and_not_shown(weather: Weather) -> None:
    weather.start_redis()
    weather.tell("CONFIG", "SET", "requirepass", "right-one")
    here = weather.start("wrong-one")
    assert weather.ask(here, "set", "a", "1") is None
    assert [weather.ask(here, "get", "a") for _ in range(3)] == ["1"] * 3, "it goes on with its own"
    text = weather.log(here).read_text()
    assert "does not answer (WRONGPASS): each host goes on with its own" in text
    assert text.count("the shared cache at") == 1
    assert "wrong-one" not in text


def test_a_redis_that_is_full_is_told_and_tags_reach_the_others_once_there_is_room(weather: Weather) -> None:
    weather.start_redis()
    here, there = weather.start(), weather.start()
    weather.ask(here, "set", "a", "1", "items")
    assert weather.ask(there, "get", "a", "items") == "1"
    weather.ask(there, "set", "a", "1", "items")

    weather.tell("CONFIG", "SET", "maxmemory", "1")  # with noeviction, Redis's default: reads are answered, no write is
    weather.ask(here, "tag", "items")
    assert weather.ask(there, "get", "a", "items") == "1", "nobody can tell it now"
    assert weather.ask(here, "get", "a", "items") is None
    assert "refuses what it is told (OOM): each host goes on with its own" in weather.log(here).read_text()

    weather.tell("CONFIG", "SET", "maxmemory", "0")
    until(lambda: weather.ask(here, "get", "a", "items") is None and weather.ask(there, "get", "a", "items") is None)
    until(lambda: "takes what it is told again" in weather.log(here).read_text())
    assert weather.log(here).read_text().count("refuses what it is told (OOM)") == 1


def test_what_is_evicted_is_made_anew_by_whoever_asks(weather: Weather) -> None:
    weather.start_redis()
    here, there = weather.start(), weather.start()
    weather.ask(here, "set", "a", "1", "items")
    assert weather.ask(there, "get", "a", "items") == "1"
    weather.tell("FLUSHALL")
    assert weather.ask(here, "get", "a", "items") == "1"
    assert weather.ask(there, "get", "b", "items") is None
    weather.ask(there, "set", "a", "2", "items")
    until(lambda: weather.ask(here, "get", "a", "items") == "2")
    assert weather.log(here).read_text() == weather.log(there).read_text() == ""


def test_a_redis_that_stops_and_comes_back(weather: Weather) -> None:
    weather.start_redis()
    here, there = weather.start(), weather.start()
    weather.ask(here, "set", "a", "1")
    assert weather.ask(there, "get", "a") == "1"
    weather.stop_redis()
    assert weather.ask(here, "get", "a") == "1"
    weather.ask(here, "set", "b", "2")
    weather.start_redis()
    until(lambda: bool(weather.ask(there, "set", "c", "3") or weather.ask(here, "get", "c") == "3"))
    assert "answers again" in weather.log(here).read_text()
