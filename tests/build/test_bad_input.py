"""Bad input with real builds: what an app's code or its registry does to deployd, and what a person is told then."""

from __future__ import annotations

import base64
import hashlib
import http.server
import io
import json
import os
import subprocess
import tarfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from deployd.domain.artifact import FileEntry
from deployd.domain.events import Event
from deployd.domain.options import Build
from deployd.domain.secret import Secret
from deployd.errors import BuildError, PackageError
from deployd.stages import build
from tests.support.workbench import Workbench, put

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.workbench import Made

TOKEN = "npm-canary-5fd1c2b7"
SERVER = 'require("http").createServer((q, r) => r.end("ok")).listen(process.env.PORT);\n'


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Workbench:
    return Workbench(tmp_path_factory.mktemp("state"))


def app(
    root: Path, *, script: str = "true", needs: dict[str, str] | None = None, folder: str = "", **files: str
) -> Path:
    """A plain server, whose build runs `build.js` after `script`."""
    package = {"name": "shop", "version": "1.0.0", "scripts": {"build": script, "start": "node server.js"}}
    lock = {"name": "shop", "version": "1.0.0", "lockfileVersion": 3, "packages": {"": {"name": "shop"}}}
    put(root / folder, {
        "package.json": json.dumps(package | {"dependencies": needs or {}}), "package-lock.json": json.dumps(lock),
        "server.js": SERVER, **files,
    })  # fmt: skip
    return root


def paths(made: Made) -> set[str]:
    return {entry.path for entry in made.manifest.files if isinstance(entry, FileEntry)}


# Names and files


ODD = ["new\nline", 'quo"te', "sing'le", "back\\slash", "-dash", "--help", " sp ace ", "%41", "ünï", "*", "$x", "`id`",
       "a;b", "Read", "read", "x" * 255, os.fsdecode(b"not-\xff\x80-utf8"), "\u202egpj.exe", "\x01\x1b[2J"]  # fmt: skip


def test_names_of_every_kind_are_in_the_artifact(bench: Workbench, tmp_path: Path) -> None:
    """Made by the build; each has the content of its own, so that no two were mixed up (`Read` and `read`)."""
    root = app(tmp_path / "root", script="mkdir -p public && node build.js")
    names = [base64.b64encode(os.fsencode(name)).decode() for name in ODD]
    put(root, {"build.js": f"""
const fs = require("fs");
for (const name of {json.dumps(names)}) {{
  fs.writeFileSync(Buffer.concat([Buffer.from("public/"), Buffer.from(name, "base64")]), name);
}}
fs.linkSync(Buffer.concat([Buffer.from("public/"), Buffer.from({json.dumps(names[0])}, "base64")]), "public/hard");
"""})  # fmt: skip

    made = bench.make(root)

    entries = {entry.path: entry for entry in made.manifest.files if isinstance(entry, FileEntry)}
    for name, encoded in zip(ODD, names, strict=True):
        assert entries[f"public/{name}"].sha256 == hashlib.sha256(encoded.encode()).hexdigest()
    assert entries["public/hard"].sha256 == entries[f"public/{ODD[0]}"].sha256


def test_an_app_whose_folder_has_every_kind_of_name_is_built_and_runs(bench: Workbench, tmp_path: Path) -> None:
    folder = 'ap p\'s "ünï" $x`id`'
    root = app(tmp_path / "re po", folder=folder, script="echo built > marker")

    made = bench.make(root, folder)

    assert (root / folder / "marker").read_text() == "built\n"
    with bench.serve(made, tmp_path / "host" / "release") as server:
        assert server.ask("/") == (200, "ok")


def test_many_files_are_no_problem_of_length(bench: Workbench, tmp_path: Path) -> None:
    """Their names together are longer than any command line may be."""
    long = f"{'n' * 250}/{'m' * 250}"
    root = app(tmp_path / "root", script="node build.js", **{"build.js": f"""
const fs = require("fs");
for (let folder = 0; folder < 20; folder++) {{
  fs.mkdirSync(`public/{long}/${{folder}}`, {{ recursive: true }});
  for (let n = 0; n < 200; n++) fs.writeFileSync(`public/{long}/${{folder}}/${{n}}.txt`, "x");
}}
"""})  # fmt: skip
    assert len([path for path in paths(bench.make(root)) if path.startswith("public/")]) == 4_000


@pytest.mark.parametrize(
    ("script", "code", "named"),
    [
        ("mkfifo public/odd", "file-kind-refused", "public/odd"),
        ("ln -s odd public/odd", "symlink-loop", "public/odd"),
        ("ln -s /etc/passwd public/odd", "symlink-escapes", "public/odd"),
        ("ln -s ../../../../etc/passwd public/odd", "symlink-escapes", "public/odd"),
        ("rm -r server.js public", "build-output-missing", "server.js"),
        ("rm -rf ./* ./.[a-z]* 2>/dev/null; true", "build-output-missing", "server.js"),
    ],
)
def test_what_a_build_may_not_leave_is_refused_by_name(
    bench: Workbench, tmp_path: Path, script: str, code: str, named: str
) -> None:
    root = app(tmp_path / "root", script=f"mkdir -p public; echo 1 > public/a; {script}")
    with pytest.raises((BuildError, PackageError)) as caught:
        bench.make(root)
    assert caught.value.code == code
    assert named in caught.value.what
    assert caught.value.fix


def test_pipes_with_the_names_of_manifests_are_not_waited_for(bench: Workbench, tmp_path: Path) -> None:
    """A hostile build's way to hold deployd for ever."""
    script = "mkdir -p sub .next node_modules/x && mkfifo sub/package.json sub/.npmrc .next/BUILD_ID node_modules/x/package.json"
    made = bench.make(app(tmp_path / "root", script=script))
    build.keep_install(made.output, caches=bench.state / "caches" / "shop")
    assert made.manifest.entry == "server.js"


def test_a_build_that_changes_its_lock_file_is_told(bench: Workbench, tmp_path: Path) -> None:
    made = bench.make(app(tmp_path / "root", script="echo '{}' > package-lock.json"))
    (told,) = [fields for event, fields in made.told if event is Event.WARNING and fields["code"] == "lockfile-changed"]
    assert "package-lock.json" in told["what"]

    same = bench.make(app(tmp_path / "same", script="touch package-lock.json"))
    assert not [
        fields for event, fields in same.told if event is Event.WARNING and fields["code"] == "lockfile-changed"
    ]


def test_a_build_that_is_killed_is_told_of_memory(bench: Workbench, tmp_path: Path) -> None:
    with pytest.raises(BuildError) as caught:
        bench.make(app(tmp_path / "root", script="kill -9 $$"))
    assert (caught.value.code, "137" in caught.value.what) == ("build-failed", True)
    assert "build.memory" in caught.value.fix


def test_a_flood_without_a_line_break_takes_no_memory(bench: Workbench, tmp_path: Path) -> None:
    """200 MB on one line, from a build that fails: neither deployd nor the error holds them."""
    root = app(tmp_path / "root", script="head -c 200000000 /dev/zero | tr '\\0' x; exit 7")
    peak: list[int] = []
    before = resident()

    def watch(_event: Event, /, **_fields: object) -> None:
        peak.append(resident())

    plan = bench.plan(root)
    with pytest.raises(BuildError) as caught:
        build.build(
            bench.tree(root), plan, options=Build(), caches=bench.state / "caches" / "flood", log=bench.state / "flood.log",
            variables={}, node=bench.node(plan.node), report=watch,
        )  # fmt: skip
    assert "exited with 7" in caught.value.what
    assert len(caught.value.details or "") < 200_000
    assert max(peak) - before < 100_000_000
    assert (bench.state / "flood.log").stat().st_size < 70_000_000


def resident() -> int:
    """The bytes of memory that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_more_memory_than_allowed_is_told_as_that(bench: Workbench, tmp_path: Path) -> None:
    root = app(tmp_path / "root", script="node build.js", **{
        "build.js": "const all = []; for (;;) all.push(Buffer.alloc(1 << 24, 1));"
    })  # fmt: skip
    with pytest.raises(BuildError) as caught:
        bench.make(root, options=Build(memory=400 << 20))
    assert caught.value.code == "build-failed"
    assert "build.memory" in caught.value.fix


# Registries and git


class Registry:
    """A registry with one private package, and a git repository over plain HTTP. `asked` are the tokens that came."""

    def __init__(self, folder: Path) -> None:
        self.asked: list[str | None] = []
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as archive:
            for name, text in {"package.json": '{"name":"@acme/priv","version":"1.0.0"}', "index.js": "//"}.items():
                member = tarfile.TarInfo(f"package/{name}")
                member.size = len(text)
                archive.addfile(member, io.BytesIO(text.encode()))
        self.content = packed.getvalue()
        self.integrity = "sha512-" + base64.b64encode(hashlib.sha512(self.content).digest()).decode()
        registry = self

        class Handler(http.server.SimpleHTTPRequestHandler):
            def __init__(self, *words: Any) -> None:
                super().__init__(*words, directory=str(folder))

            def do_GET(self) -> None:
                if self.path.startswith("/dep.git/"):
                    super().do_GET()
                    return
                token = (self.headers.get("authorization") or "").removeprefix("Bearer ") or None
                registry.asked.append(token)
                self.send_response(200 if token == TOKEN else 401)
                self.end_headers()
                if token == TOKEN:
                    self.wfile.write(registry.content)

            def log_message(self, *_words: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    (tmp_path / "web").mkdir()
    found = Registry(tmp_path / "web")
    yield found
    found.server.shutdown()
    found.server.server_close()


def locked(root: Path, name: str, entry: dict[str, str], *, wish: str) -> None:
    """An app that needs one package, as npm writes it into its lock file."""
    app(root, needs={name: wish})
    lock = json.loads((root / "package-lock.json").read_text())
    lock["packages"] = {
        "": {"name": "shop", "version": "1.0.0", "dependencies": {name: wish}},
        f"node_modules/{name}": entry,
    }
    (root / "package-lock.json").write_text(json.dumps(lock))


def test_a_private_registry_wants_the_variable_that_npmrc_names(
    bench: Workbench, tmp_path: Path, registry: Registry
) -> None:
    root = tmp_path / "root"
    url = f"http://{registry.address}/@acme/priv/-/priv-1.0.0.tgz"
    entry = {"version": "1.0.0", "resolved": url, "integrity": registry.integrity}
    locked(root, "@acme/priv", entry, wish="1.0.0")
    settings = f"@acme:registry=http://{registry.address}/\n//{registry.address}/:_authToken=${{ACME_TOKEN}}\n"
    put(root, {".npmrc": settings})

    with pytest.raises(BuildError) as caught:
        bench.make(root)
    assert caught.value.code == "install-failed"
    assert "`deployd env set --build ACME_TOKEN`" in caught.value.fix

    told: list[Any] = []
    plan = bench.plan(root)
    output = build.build(
        bench.tree(root), plan, options=Build(), caches=bench.state / "caches" / "token", log=bench.state / "token.log",
        variables={"ACME_TOKEN": Secret(TOKEN)}, node=bench.node(plan.node),
        report=lambda event, /, **fields: told.append((str(event), fields)),
    )  # fmt: skip
    assert TOKEN in registry.asked
    assert (root / "node_modules" / "@acme" / "priv" / "index.js").is_file()
    build.keep_install(output, caches=bench.state / "caches" / "token")
    kept = subprocess.run(["grep", "-rlF", TOKEN, str(bench.state)], capture_output=True, text=True, check=False).stdout
    assert not kept
    assert TOKEN not in json.dumps(told)


def test_a_git_dependency_is_had_and_one_behind_ssh_says_why_not(
    bench: Workbench, tmp_path: Path, registry: Registry
) -> None:
    work, bare = tmp_path / "dep", tmp_path / "web" / "dep.git"
    put(work, {"package.json": '{"name":"dep","version":"1.0.0"}', "index.js": "// by git\n"})
    who = {f"GIT_{who}_{what}": "d@example.com" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    for words in (
        ["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-qm", "one"], ["clone", "-q", "--bare", ".", str(bare)],
        ["--git-dir", str(bare), "update-server-info"],
    ):  # fmt: skip
        subprocess.run(["git", *words], cwd=work, env=os.environ | who, check=True)
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=work, check=True, capture_output=True, text=True).stdout

    root, url = tmp_path / "root", f"git+http://{registry.address}/dep.git"
    locked(root, "dep", {"version": "1.0.0", "resolved": f"{url}#{commit.strip()}"}, wish=url)
    bench.make(root)
    assert (root / "node_modules" / "dep" / "index.js").read_text() == "// by git\n"

    other, url = tmp_path / "other", "git+ssh://git@127.0.0.1:1/acme/dep.git"
    locked(other, "dep", {"version": "1.0.0", "resolved": f"{url}#{commit.strip()}"}, wish=url)
    with pytest.raises(BuildError) as caught:
        bench.make(other)
    assert caught.value.code == "install-failed"
    assert "SSH keys" in caught.value.fix
