"""The example app through source, build, trace and package, for real; and then run from its artifact, as a host does it."""

from __future__ import annotations

import base64
import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from deployd.domain.artifact import Artifact, FileEntry, LinkEntry, Manifest, content_time
from deployd.domain.events import Event
from deployd.domain.options import Build
from deployd.domain.secret import Secret
from deployd.domain.stages import BuildOutput, BuildPlan, FileSet, SourceRequest
from deployd.errors import BuildError, CancelledError
from deployd.stages import build, package, source, trace
from deployd.stages.build import runtime

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLE = Path(__file__).parents[2] / "examples" / "nextjs"
KEY = base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()
CANARY = "canary-7f3a91-value"
VARIABLES = {
    "NEXT_SERVER_ACTIONS_ENCRYPTION_KEY": KEY,
    "BUILD_SECRET": CANARY,
    "NEXT_PUBLIC_GREETING": "good morning",
}


def git(*words: str, cwd: Path) -> None:
    who = {f"GIT_{who}_{what}": "ada@example.com" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    subprocess.run(["git", *words], cwd=cwd, env=os.environ | who, check=True, capture_output=True)


def commit(repository: Path, **files: str) -> None:
    for name, text in files.items():
        (repository / name).parent.mkdir(parents=True, exist_ok=True)
        (repository / name).write_text(text)
    git("add", "--all", "--force", cwd=repository)
    git("commit", "--quiet", "-m", "change", cwd=repository)


@dataclass
class Made:
    """What one run of the chain gave."""

    plan: BuildPlan
    output: BuildOutput
    files: FileSet
    artifact: Artifact
    manifest: Manifest
    events: list[tuple[Event, dict[str, Any]]]
    assembled: FileSet

    def told(self, event: Event) -> list[dict[str, Any]]:
        return [fields for told, fields in self.events if told is event]


class Shop:
    """A person's repository with the example app, and a state folder."""

    def __init__(self, folder: Path) -> None:
        self.repository, self.state = folder / "repository", folder / "state"
        names = [
            name
            for name in sorted(path.name for path in EXAMPLE.iterdir())
            if name not in ("node_modules", ".next", "next-env.d.ts")
        ]
        self.repository.mkdir()
        for name in names:
            copy = shutil.copytree if (EXAMPLE / name).is_dir() else shutil.copy2
            copy(EXAMPLE / name, self.repository / name)
        git("init", "--quiet", "--initial-branch=main", cwd=self.repository)
        commit(self.repository, **{
            ".env": f"COMMITTED={CANARY}\n", ".env.production": "X=1\n", "public/key.pem": "k", "public/.env.example": "",
        })  # fmt: skip

    @property
    def artifacts(self) -> Path:
        return self.state / "artifacts"

    @property
    def caches(self) -> Path:
        return self.state / "caches" / "shop"

    def make(self, *, options: Build | None = None, **more: Any) -> Made:
        options = options or Build()
        events: list[tuple[Event, dict[str, Any]]] = []

        def report(event: Event, /, **fields: object) -> None:
            events.append((event, json.loads(json.dumps(fields))))

        into = self.state / "checkouts" / "shop-production"
        shutil.rmtree(into, ignore_errors=True)
        tree = source.checkout(
            SourceRequest(repository=str(self.repository)), mirrors=self.state / "mirrors", into=into, report=report
        )
        plan = build.plan(tree, options, app="shop", environment="production", variables=VARIABLES)
        node = runtime.fetch(plan.node, runtimes=self.state / "runtimes")
        log = self.state / "logs" / "build.log"
        output = build.build(
            tree, plan, options=options, caches=self.caches, log=log, node=Path(node.path), report=report,
            variables={name: Secret(value) for name, value in VARIABLES.items()}, **more,
        )  # fmt: skip
        files = trace.trace(output, tools=self.state / "tools")
        standalone = Path(output.app_dir) / ".next" / "standalone"
        standalone.rename(self.state / "aside")
        assembled = trace.trace(output, tools=self.state / "tools")
        (self.state / "aside").rename(standalone)
        artifact = package.package(files, built=output.built, artifacts=self.artifacts)
        build.keep_install(output, caches=self.caches)
        return Made(plan, output, files, artifact, package.load(self.artifacts, artifact.name), events, assembled)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return Shop(tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="module")
def made(shop: Shop) -> Made:
    return shop.make()


@pytest.fixture(scope="module")
def again(shop: Shop, made: Made) -> Made:
    return shop.make()


def lay_out(manifest: Manifest, *, artifacts: Path, into: Path) -> Path:
    """What a host's seal does: files and links from the manifest, nothing else, read-only."""
    for entry in manifest.files:
        path = into / entry.path
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(entry, LinkEntry):
            path.symlink_to(entry.target)
            continue
        shutil.copyfile(artifacts / "objects" / entry.sha256[:2] / entry.sha256, path)
        path.chmod(0o555 if entry.mode & 0o111 else 0o444)
        moment = manifest.built if entry.time == "build" else content_time(entry.sha256)
        os.utime(path, (moment, moment))
    for name, place in manifest.writable.items():
        (into.parent / "writable" / name).mkdir(parents=True)
        (into / place).parent.mkdir(parents=True, exist_ok=True)
        (into / place).symlink_to(into.parent / "writable" / name)
    return into


class Served:
    """A running release, asked over TCP."""

    def __init__(self, port: int) -> None:
        self.port = port

    def ask(
        self, path: str, *, method: str = "GET", body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, str, dict[str, str]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, body=body, headers=headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read().decode(errors="replace"), {k.lower(): v for k, v in answer.getheaders()}
        finally:
            connection.close()


@contextmanager
def running(tree: Path, *, entry: str, node: Path, log: Path) -> Iterator[Served]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    env = {
        "PATH": "/usr/bin:/bin", "NODE_ENV": "production", "PORT": str(port), "HOSTNAME": "localhost", "HOME": "/tmp",
        "DEPLOYD_RELEASE": "20261121-101530-3fa9c01-k2x7", "NEXT_SERVER_ACTIONS_ENCRYPTION_KEY": KEY,
        "GREETING": "from the environment",
    }  # fmt: skip
    with log.open("wb") as out:
        process = subprocess.Popen(
            [str(node), "--require", str(tree / ".deployd" / "listen.cjs"), str(tree / entry)],
            cwd=tree, env=env, stdout=out, stderr=out,
        )  # fmt: skip
        try:
            served = Served(port)
            for _ in range(200):
                try:
                    if served.ask("/health")[0] == 200:
                        break
                except OSError:
                    assert process.poll() is None, log.read_text()
                time.sleep(0.05)
            yield served
        finally:
            process.terminate()
            process.wait(timeout=20)


@pytest.fixture(scope="module")
def tree(shop: Shop, made: Made, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lay_out(made.manifest, artifacts=shop.artifacts, into=tmp_path_factory.mktemp("host") / "release")


@pytest.fixture(scope="module")
def served(shop: Shop, made: Made, tree: Path) -> Iterator[Served]:
    away = Path(made.output.app_dir)
    if away.is_dir():
        away.rename(away.with_name("away"))  # nothing of the build's own tree may be needed
    node = shop.state / "runtimes" / f"node-{made.plan.node}-linux-x64-glibc" / "bin" / "node"
    with running(tree, entry=made.manifest.entry, node=node, log=tree.parent / "server.log") as found:
        yield found


# What was planned and built


def test_the_plan_says_what_will_be_done(made: Made) -> None:
    assert made.plan.framework == "nextjs"
    assert (made.plan.manager, made.plan.install[:2], made.plan.command) == (
        "npm", ("npm", "ci"), ("npm", "run", "build"),
    )  # fmt: skip
    assert made.plan.node == "22.23.3"
    assert re.fullmatch(r"b[0-9a-f]{20}", made.plan.build_id)


def test_the_example_lock_file_serves_every_registry_and_platform() -> None:
    lock = json.loads((EXAMPLE / "package-lock.json").read_text())
    assert not [name for name, entry in lock["packages"].items() if "resolved" in entry]
    for platform in ("darwin-arm64", "darwin-x64", "win32-x64-msvc", "win32-arm64-msvc", "linux-arm64-gnu"):
        entry = lock["packages"][f"node_modules/@next/swc-{platform}"]
        assert entry["optional"]
        assert entry["os"] == [platform.split("-")[0]]
        assert entry["cpu"] == [platform.split("-")[1]]


def test_the_output_is_told_and_kept_without_the_secret(made: Made) -> None:
    told = "\n".join(fields["line"] for fields in made.told(Event.BUILD_OUTPUT))
    log = Path(made.output.log)
    assert "Compiled successfully" in told
    assert told in log.read_text()
    assert log.stat().st_mode & 0o777 == 0o600


def test_next_is_told_the_build_id_and_telemetry_is_off(made: Made, tree: Path) -> None:
    assert json.loads((tree / ".next" / "routes-manifest.json").read_text())["deploymentId"] == made.plan.build_id


# What travels


def test_the_traces_alone_give_the_files_of_the_standalone_tree(made: Made) -> None:
    assert {file.path: file.symlink for file in made.assembled.files} == {
        file.path: file.symlink for file in made.files.files
    }
    assert made.assembled.entry == made.files.entry
    assert [file.path for file in made.assembled.files if "made by deployd" in file.reasons] == ["server.js"]


def test_no_secret_file_travels_and_each_is_named(made: Made, tree: Path) -> None:
    names = [path.name for path in tree.rglob("*")]
    assert not [name for name in names if name.startswith(".env") or name == "key.pem"]
    warned = "\n".join(made.files.warnings)
    for path in (".env", ".env.production", "public/key.pem", "public/.env.example"):
        assert path in warned


def test_no_secret_value_is_in_any_file(shop: Shop, made: Made) -> None:
    for value in (CANARY, base64.b64encode(CANARY.encode()).decode()):
        found = [
            entry.path
            for entry in made.manifest.files
            if isinstance(entry, FileEntry)
            and value.encode() in (shop.artifacts / "objects" / entry.sha256[:2] / entry.sha256).read_bytes()
        ]
        assert not found


def test_the_manifest_says_how_it_is_run_and_served(made: Made) -> None:
    manifest = made.manifest
    assert manifest.entry == "server.js"
    assert dict(manifest.writable) == {"cache": ".next/cache", "route-cache": ".next/server/route-cache"}
    assert dict(manifest.assets) == {"/_next/static": ".next/static"}
    assert dict(manifest.public) == {"/": "public"}
    assert made.artifact.size == manifest.size
    paths = {entry.path: entry for entry in manifest.files}
    assert list(paths) == sorted(paths)
    assert {".deployd/listen.cjs", "public/robots.txt", ".next/BUILD_ID"} <= set(paths)
    prerendered = {path for path, entry in paths.items() if isinstance(entry, FileEntry) and entry.time == "build"}
    assert ".next/server/app/fresh.html" in prerendered
    assert all(path.startswith((".next/server/app/", ".next/server/pages/")) for path in prerendered)


# It runs


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/", "Fresh from a commit"),
        ("/dynamic", "from the environment"),
        ("/fresh", "Never old"),
        ("/action", "Press it"),
        ("/picture", "A picture"),
        ("/release", "20261121-101530-3fa9c01-k2x7"),
        ("/api/hello?name=deployd", '"hello":"deployd"'),
        ("/health", "ok"),
        ("/robots.txt", "User-agent"),
    ],
)
def test_every_page_answers(served: Served, path: str, text: str) -> None:
    status, body, _ = served.ask(path)
    assert status == 200
    assert text in body


def test_a_page_that_is_not_there_is_404(served: Served) -> None:
    assert served.ask("/nothing")[0] == 404


def test_an_image_is_made_smaller_and_kept_in_the_writable_place(served: Served, tree: Path) -> None:
    page = served.ask("/picture")[1]
    address = re.search(r'/_next/image\?url=[^"\s]+', page)
    assert address
    status, _, headers = served.ask(address[0].replace("&amp;", "&"), headers={"Accept": "image/webp"})
    assert (status, headers["content-type"]) == (200, "image/webp")
    assert list((tree.parent / "writable" / "cache").rglob("*.webp"))


def test_assets_are_as_the_page_names_them(served: Served, tree: Path) -> None:
    addresses = set(re.findall(r'/_next/static/[^"?\\]+', served.ask("/")[1]))
    assert addresses
    for address in addresses:
        assert served.ask(address)[0] == 200
        assert (tree / ".next" / address.removeprefix("/_next/")).is_file()


def test_a_server_action_answers(served: Served) -> None:
    page = served.ask("/action")[1]
    action = re.search(r'name="(\$ACTION_ID_[0-9a-f]+)"', page)
    assert action
    body = f'--x\r\nContent-Disposition: form-data; name="{action[1]}"\r\n\r\n\r\n--x--\r\n'.encode()
    status, _, headers = served.ask(
        "/action", method="POST", body=body,
        headers={"Content-Type": "multipart/form-data; boundary=x", "Origin": f"http://127.0.0.1:{served.port}",
                 "Host": f"127.0.0.1:{served.port}"},
    )  # fmt: skip
    assert status in (200, 303)
    assert "times=1" in headers["set-cookie"]


def test_an_old_page_is_made_again_in_the_writable_place(served: Served, tree: Path) -> None:
    def moment() -> str:
        found = re.search(r"<time>([^<]+)</time>", served.ask("/fresh")[1])
        assert found
        return found[1]

    built = (tree / ".next" / "server" / "app" / "fresh.html").read_text()
    first = moment()
    deadline = time.monotonic() + 20
    while moment() == first and time.monotonic() < deadline:
        time.sleep(0.5)
    assert moment() != first
    assert list((tree.parent / "writable" / "route-cache").rglob("fresh.html"))
    assert (tree / ".next" / "server" / "app" / "fresh.html").read_text() == built
    log = (tree.parent / "server.log").read_text()
    assert "Failed to update prerender cache" not in log
    assert "EACCES" not in log


# Again


def test_the_second_build_skips_the_install_and_starts_from_the_cache(made: Made, again: Made) -> None:
    assert not made.told(Event.INSTALL_SKIPPED)
    assert again.told(Event.INSTALL_SKIPPED) == [{"manager": "npm", "lockfile": "package-lock.json"}]
    first, second = ("\n".join(f["line"] for f in one.told(Event.BUILD_OUTPUT)) for one in (made, again))
    assert "No build cache found" in first
    assert "No build cache found" not in second
    assert again.output.seconds < made.output.seconds
    assert again.plan == made.plan


def test_two_builds_of_a_tree_differ_only_where_the_app_or_docker_makes_them(made: Made, again: Made) -> None:
    first, second = ({entry.path: entry for entry in one.manifest.files} for one in (made, again))
    differing = {path for path in first.keys() | second.keys() if first.get(path) != second.get(path)}
    # a page that prints the time of its build
    differing -= {path for path in differing if path.startswith(".next/server/app/fresh")}
    if Path("/.dockerenv").exists():  # Next.js keeps its preview keys in the build cache, but not in a container
        differing -= {".next/prerender-manifest.json", ".next/server/preview-props.json"}
    assert not differing


def test_an_artifact_in_a_file_is_the_same_artifact(shop: Shop, made: Made, tmp_path: Path) -> None:
    size = package.export(shop.artifacts, made.artifact.name, to=tmp_path / "one.tar.gz")
    package.export(shop.artifacts, made.artifact.name, to=tmp_path / "two.tar.gz")
    assert (tmp_path / "one.tar.gz").read_bytes() == (tmp_path / "two.tar.gz").read_bytes()
    assert size == (tmp_path / "one.tar.gz").stat().st_size
    imported, _ = package.import_(tmp_path / "one.tar.gz", artifacts=tmp_path / "artifacts")
    assert imported.name == made.artifact.name
    assert package.load(tmp_path / "artifacts", imported.name) == made.manifest


# Bad input and bad weather; these come last, because they change the repository


@pytest.fixture
def changed(shop: Shop, again: Made) -> Iterator[Shop]:
    yield shop
    git("reset", "--quiet", "--hard", "HEAD~1", cwd=shop.repository)


def test_a_failing_build_shows_the_lines_that_matter(changed: Shop) -> None:
    commit(
        changed.repository, **{"app/page.tsx": "export default function Home() { return <p>{nothing.there}</p>; }\n"}
    )
    with pytest.raises(BuildError) as caught:
        changed.make()
    error = caught.value
    assert error.code == "build-failed"
    assert error.details
    assert "app/page.tsx" in error.details
    assert "nothing" in error.details
    assert len(error.details.splitlines()) <= 33
    assert "build.log" in error.fix


def test_a_secret_in_a_failing_builds_output_is_hidden(changed: Shop) -> None:
    script = "console.log(process.env.BUILD_SECRET, btoa(process.env.BUILD_SECRET)); console.error('Error: ' + process.env.BUILD_SECRET); process.exit(1)"
    commit(changed.repository, **{"fail.mjs": script})
    events: list[Any] = []
    with pytest.raises(BuildError) as caught:
        changed.make(options=Build(command="node fail.mjs"))
    assert "***" in (caught.value.details or "")
    shown = json.dumps(caught.value.to_json()) + json.dumps(events)
    log = (changed.state / "logs" / "build.log").read_text()
    for text in (shown, log):
        assert CANARY not in text
        assert base64.b64encode(CANARY.encode()).decode().rstrip("=") not in text


def test_a_build_that_hangs_is_ended_with_all_its_children(changed: Shop) -> None:
    commit(changed.repository, **{"hang.sh": "sleep 4711 & echo started; sleep 4711\n"})
    with pytest.raises(BuildError) as caught:
        changed.make(options=Build(command="sh hang.sh", timeout=2.0, install="true"))
    assert caught.value.code == "build-timeout"
    assert "build.timeout" in caught.value.fix
    time.sleep(0.2)
    assert not [pid for pid in _pids() if b"sleep\x004711" in _command(pid)]


def test_a_cancelled_build_ends(changed: Shop) -> None:
    import threading

    commit(changed.repository, **{"hang.sh": "echo started; sleep 4712\n"})
    cancel = threading.Event()
    timer = threading.Timer(2.0, cancel.set)
    timer.start()
    with pytest.raises(CancelledError):
        changed.make(options=Build(command="sh hang.sh", install="true"), cancel=cancel)
    time.sleep(0.2)
    assert not [pid for pid in _pids() if b"sleep\x004712" in _command(pid)]


def test_a_lock_file_that_does_not_fit_is_an_install_error(changed: Shop) -> None:
    package_json = json.loads((changed.repository / "package.json").read_text())
    package_json["dependencies"]["left-pad"] = "1.3.0"
    commit(changed.repository, **{"package.json": json.dumps(package_json)})
    with pytest.raises(BuildError) as caught:
        changed.make()
    assert caught.value.code == "install-failed"
    assert "lock file" in caught.value.fix


def test_a_build_that_makes_no_standalone_server_is_told(changed: Shop) -> None:
    commit(changed.repository, x="1")
    with pytest.raises(BuildError) as caught:
        changed.make(options=Build(command="echo nothing", install="true"))
    assert caught.value.code == "build-output-missing"


def test_nothing_of_the_operators_environment_reaches_the_build(changed: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPERATORS_SECRET", "theirs")
    monkeypatch.setenv("npm_config_omit", "dev")
    commit(changed.repository, **{"env.mjs": "console.log(JSON.stringify(process.env)); process.exit(1)"})
    with pytest.raises(BuildError) as caught:
        changed.make(options=Build(command="node env.mjs", install="true"))
    seen = json.loads(next(line for line in (caught.value.details or "").splitlines() if line.startswith("{")))
    assert "OPERATORS_SECRET" not in seen
    assert "npm_config_omit" not in seen
    assert seen["NODE_ENV"] == "production"
    assert seen["NEXT_PUBLIC_GREETING"] == "good morning"
    assert seen["CI"] == "1"
    assert seen["HOME"] == "/home/build"
    assert "node-22.23.3-linux-x64-glibc/bin" in seen["PATH"].split(":")[0]


def test_options_that_decide_the_build_change_its_id(shop: Shop, made: Made, tmp_path: Path) -> None:
    tree = source.checkout(
        SourceRequest(repository=str(shop.repository)), mirrors=shop.state / "mirrors", into=tmp_path / "into"
    )

    def build_id(*, options: Build | None = None, environment: str = "production", **more: str) -> str:
        variables = VARIABLES | more
        return build.plan(tree, options or Build(), app="shop", environment=environment, variables=variables).build_id

    base = build_id()
    assert base == made.plan.build_id
    others = {
        build_id(X="1"), build_id(X="2"), build_id(environment="staging"), build_id(options=Build(node="24")),
        build_id(options=Build(command="npm run other")), build_id(options=Build(install="npm ci --foo")),
    }  # fmt: skip
    assert len(others | {base}) == 7
    assert build_id(options=replace(Build(), timeout=5.0, memory=1)) == base


def _pids() -> list[str]:
    return [path.name for path in Path("/proc").iterdir() if path.name.isdigit()]


def _command(pid: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
