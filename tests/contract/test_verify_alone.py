"""Small servers tried alone in the real sandbox: what they see, what is missing, and what a trial leaves behind."""

from __future__ import annotations

import json
import os
import shutil
import socket
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deployd.domain.artifact import Manifest, StaticSite
from deployd.domain.ids import ArtifactName, RuntimeName
from deployd.domain.options import Verify
from deployd.domain.secret import Secret
from deployd.domain.stages import FileSet, TracedFile
from deployd.errors import CancelledError
from deployd.stages import package
from deployd.stages import verify as stage
from deployd.stages.verify import Verified, findings

CANARY = "canary-5521-value"
SERVER = """
const http = require("node:http");
const fs = require("node:fs");
const path = require("node:path");
const routes = {
  "/": () => "home",
  "/read": () => fs.readFileSync(path.join(process.cwd(), ["data", "x.json"].join("/"))),
  "/optional": () => { try { return require("left-out"); } catch { return "without"; } },
  "/need": () => require("needed"),
  "/write": () => { fs.writeFileSync(__dirname + "/.cache/x", "1"); return fs.readFileSync(__dirname + "/.cache/x"); },
  "/end": () => process.exit(3),
  "/500": () => { throw new Error("no database"); },
};
http.createServer((request, response) => {
  const route = routes[new URL(request.url, "http://x").pathname];
  if (!route) { response.statusCode = 404; return response.end("no"); }
  try { response.end(route(request)); }
  catch (error) { console.error(error); response.statusCode = 500; response.end("error"); }
}).listen(process.env.PORT, process.env.HOSTNAME);
"""


class Bench:
    """A checkout, an artifact made of some of it, and trials of that."""

    def __init__(self, folder: Path) -> None:
        self.root, self.artifacts, self.trials = folder / "checkout", folder / "artifacts", folder / "trials"
        self.root.mkdir()
        for path, text in {
            "data/x.json": "{}", "node_modules/needed/index.js": "module.exports = 'it'",
            "node_modules/needed/package.json": '{"dependencies": {"deeper": "1"}}',
            "node_modules/deeper/package.json": "{}", "node_modules/left-out/index.js": "module.exports = 'x'",
        }.items():  # fmt: skip
            (self.root / path).parent.mkdir(parents=True, exist_ok=True)
            (self.root / path).write_text(text)

    def manifest(self, *more: str, server: str = SERVER, writable: dict[str, str] | None = None) -> Manifest:
        (self.root / "server.js").write_text(server)
        paths = sorted({"server.js", *more})
        files = tuple(
            TracedFile(path=path, source=str(self.root / path), size=(self.root / path).stat().st_size)
            for path in paths
        )
        traced = FileSet(root=str(self.root), entry="server.js", files=files, writable=writable or {"cache": ".cache"})
        made = package.package(traced, built=1, artifacts=self.artifacts)
        return package.load(self.artifacts, made.name)

    def run(self, manifest: Manifest, *paths: str, **more: Any) -> Verified:
        node = Path(shutil.which("node") or "").resolve()
        more = {"checkout": stage.Checkout(root=self.root), "options": Verify(timeout=20.0), **more}
        return stage.verify(manifest, artifacts=self.artifacts, folder=self.trials, node=node, paths=paths, **more)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_a_server_that_has_all_it_needs_passes_and_leaves_nothing(bench: Bench) -> None:
    found = bench.run(bench.manifest("data/x.json"), "/read", "/none", "/write")

    assert found.findings == ()
    assert found.started
    assert found.paths == ("/", "/read", "/none", "/write")
    assert list(bench.trials.iterdir()) == []


def test_what_is_missing_is_named_with_the_line_that_mends_it(bench: Bench) -> None:
    found = bench.run(bench.manifest(), "/read", "/need", "/optional")

    wanted = {finding.include: finding.error for finding in found.findings}
    assert wanted == {
        ("/read", ("data/x.json",)): True,
        ("/need", ("node_modules/needed/**", "node_modules/deeper/**")): True,
        ("/optional", ("node_modules/left-out/**",)): False,
    }


def test_an_error_that_is_not_of_missing_files_is_told(bench: Bench) -> None:
    found = bench.run(bench.manifest(), "/500")

    (finding,) = found.findings
    assert (finding.kind, finding.error) == ("answer", False)
    assert "/500 answered 500" in finding.what


def test_a_server_that_ends_before_it_listens_is_told_with_its_last_words_and_no_secret(bench: Bench) -> None:
    ends = "console.error('cannot reach ' + process.env.DATABASE_URL); process.exit(4)"
    found = bench.run(bench.manifest(server=ends), variables={"DATABASE_URL": Secret(CANARY)})

    (finding,) = found.findings
    assert (found.started, finding.kind, finding.error) == (False, "start", False)
    assert "ended with 4" in finding.what
    assert "cannot reach ***" in finding.what
    assert stage.refusal(found.findings) is None


def test_a_server_that_cannot_start_for_want_of_a_module_is_refused(bench: Bench) -> None:
    found = bench.run(bench.manifest(server="require('needed')"))

    error = stage.refusal(found.findings)
    assert error is not None
    assert (error.code, error.exit_code) == ("artifact-incomplete", 1)
    assert 'include = { "/*" = ["node_modules/needed/**", "node_modules/deeper/**"] }' in error.fix


def test_an_import_that_is_missing_is_found(bench: Bench) -> None:
    server = (
        SERVER + "\nrequire('node:fs'); import('needed').catch((error) => { console.error(error); process.exit(1); });"
    )
    found = bench.run(bench.manifest(server=server))

    assert [finding.include for finding in found.findings if finding.error] == [
        ("/*", ("node_modules/needed/**", "node_modules/deeper/**"))
    ]


def test_a_server_that_a_question_ends_is_started_again_for_the_others(bench: Bench) -> None:
    found = bench.run(bench.manifest(), "/end", "/none")

    assert {"/", "/none"} <= set(found.paths)
    assert any("/end got no answer" in finding.what for finding in found.findings)
    assert not found.errors


def test_a_server_that_never_listens_ends_with_the_time_limit(bench: Bench) -> None:
    begun = time.monotonic()
    found = bench.run(bench.manifest(server="setInterval(() => {}, 1000)"), options=Verify(timeout=2.0))

    assert time.monotonic() - begun < 15
    assert not found.started
    assert "did not answer" in found.findings[0].what


def test_a_trial_can_be_cancelled(bench: Bench) -> None:
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(CancelledError):
        bench.run(bench.manifest(), cancel=cancel)
    assert list(bench.trials.iterdir()) == []


def test_the_server_sees_the_artifact_and_nothing_else_of_this_machine(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(CANARY)
    looks = """
const fs = require("node:fs"), net = require("node:net"), http = require("node:http"), os = require("node:os");
const look = (name) => { try { return fs.readdirSync(name).length; } catch (error) { return error.code; } };
const write = (name) => { try { fs.writeFileSync(name, "x"); return "written"; } catch (error) { return error.code; } };
http.createServer(async (request, response) => {
  if (request.url === "/") return response.end("ok");
  const reached = await new Promise((done) => {
    const socket = net.connect(OUTSIDE, "127.0.0.1", () => done("reached"));
    socket.on("error", (error) => done(error.code));
  });
  console.log("SEEN " + JSON.stringify({
    checkout: look(CHECKOUT), state: look(STATE), own: write(__dirname + "/server.js"), fresh: write(__dirname + "/new"),
    cache: write(__dirname + "/.cache/x"), reached, uid: process.getuid(), others: fs.readdirSync("/proc").filter((n) => n > 0).length,
    secret: process.env.SECRET, argv: fs.readFileSync("/proc/self/cmdline", "utf8"), interfaces: Object.keys(os.networkInterfaces()),
  }));
  process.exit(7);
}).listen(3000);
"""
    with socket.create_server(("127.0.0.1", 0)) as outside:
        server = (
            f"const OUTSIDE = {outside.getsockname()[1]}, CHECKOUT = {str(bench.root)!r}, STATE = {str(tmp_path)!r};"
            + looks
        )
        said: list[str] = []
        original = findings.judge

        def judge(seen: Any, **more: Any) -> Any:
            said.append(seen.output)
            return original(seen, **more)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(findings, "judge", judge)
            bench.run(bench.manifest(server=server), "/look", variables={"SECRET": Secret(CANARY)})
    seen = json.loads(said[0].partition("SEEN ")[2].splitlines()[0])

    assert seen.pop("others") <= 4
    assert CANARY not in seen.pop("argv")
    assert seen.pop("uid") not in (0, None) or os.geteuid() != 0
    assert seen == {
        "checkout": "ENOENT", "state": "ENOENT", "own": "EROFS", "fresh": "EROFS", "cache": "written",
        "reached": "ECONNREFUSED", "secret": CANARY, "interfaces": ["lo"],
    }  # fmt: skip


def test_a_seeded_folder_is_a_copy_that_may_be_written_over(bench: Bench) -> None:
    over = SERVER.replace('"/": () => "home"', '"/": () => { fs.writeFileSync("data/x.json", "2"); return "home"; }')
    manifest = replace(bench.manifest("data/x.json", server=over), seeded={"pages": "data"})
    found = bench.run(manifest, "/read")

    assert found.findings == ()
    assert (bench.root / "data" / "x.json").read_text() == "{}"
    objects = [path.read_text() for path in (bench.artifacts / "objects").glob("*/*") if path.stat().st_size == 2]
    assert objects == ["{}"]


def test_a_site_without_a_process_is_looked_through(bench: Bench) -> None:
    for name in ("out/index.html", "out/404.html"):
        (bench.root / name).parent.mkdir(exist_ok=True)
        (bench.root / name).write_text("x")
    made = bench.manifest("out/index.html")
    site = Manifest(entry="", files=made.files, static=StaticSite(folder="out", not_found="404.html"))

    (finding,) = bench.run(site).findings
    assert finding.error
    assert "404.html" in finding.what


def test_a_result_is_kept_for_the_same_artifact_runtime_and_paths(tmp_path: Path) -> None:
    artifact, runtime = ArtifactName.parse("a" + "0" * 32), RuntimeName.parse("node-22.22.3-linux-x64-glibc")
    finding = stage.Finding(kind="file", what="x", fix="y", error=True, include=("/*", ("a", "b")))
    found = Verified(paths=("/", "/health"), started=True, findings=(finding,), seconds=0.5)

    assert stage.remembered(tmp_path, artifact, runtime, paths=["/health"]) is None
    stage.remember(tmp_path, artifact, runtime, found)
    assert stage.remembered(tmp_path, artifact, runtime, paths=["/health"]) == found
    assert stage.remembered(tmp_path, artifact, runtime, paths=["/more"]) == found  # what is missing stays missing
    stage.remember(tmp_path, artifact, runtime, replace(found, findings=()))
    assert stage.remembered(tmp_path, artifact, runtime, paths=["/more"]) is None
    (tmp_path / "verified" / f"{artifact}-{runtime}.json").write_text("{")
    assert stage.remembered(tmp_path, artifact, runtime, paths=[]) is None


def test_a_trial_whose_server_did_not_start_is_not_kept(tmp_path: Path) -> None:
    artifact, runtime = ArtifactName.parse("a" + "0" * 32), RuntimeName.parse("node-22.22.3-linux-x64-glibc")
    stage.remember(tmp_path, artifact, runtime, Verified(paths=(), started=False, findings=(), seconds=0.1))
    assert stage.remembered(tmp_path, artifact, runtime, paths=[]) is None
