"""A host in a folder: the real helper on a root of its own, with programs in place of systemctl, caddy, journalctl."""

from __future__ import annotations

import gzip
import hashlib
import http.server
import json
import os
import socket
import socketserver
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

ONE_SHOT = {"hold", "logs", "exec", "serve", "boot", "web-setup"}
RUNTIME = "node-22.22.3-linux-x64-glibc"
BUILT = 1_790_000_000
A, B, C = "20261121-101530-3fa9c01-k2x7", "20261121-101631-4fa9c01-m3y8", "20261121-101732-5fa9c01-n4z9"

SYSTEMCTL = """\
#!/bin/sh
here=$(dirname "$0")
echo "$*" >> "$here/calls"
verb=$1; shift
if [ -e "$here/fail-$verb" ]; then echo "Job failed. See logs." >&2; exit 1; fi
cd "$here/units" || exit 1
case $verb in --version) echo "systemd 252 (252.39)"; exit 0;; esac
for unit in "$@"; do
  case $unit in -*) continue;; esac
  for one in $unit; do
    name=${one#deployd-}; name=${name%.*}; path="RUN/${name%@*}/${name#*@}.sock"
    case $verb:$one in
      start:*.socket) mkdir -p "${path%/*}"; [ -e "$path" ] || cp -a "$here/socket" "$path"; echo active > "$one";;
      start:*|restart:*) echo active > "$one";;
      stop:*) case $one in *.socket) rm -f "$path";; esac; [ -e "$one" ] && echo inactive > "$one";;
      show:*) state=inactive; [ -e "$one" ] && state=$(cat "$one")
        restarts=0; [ -e "$here/restarts" ] && restarts=$(cat "$here/restarts")
        printf 'Id=%s\\nActiveState=%s\\nSubState=x\\n' "$one" "$state"
        printf 'NRestarts=%s\\nMemoryCurrent=1000\\n\\n' "$restarts";;
    esac
  done
done
exit 0
"""

CADDY = """\
#!/bin/sh
here=$(dirname "$0")
echo "caddy $*" >> "$here/calls"
if [ -e "$here/fail-caddy" ]; then echo "unrecognized directive" >&2; exit 1; fi
"""

JOURNALCTL = """\
#!/bin/sh
here=$(dirname "$0")
echo "journalctl $*" >> "$here/calls"
cat "$here/journal"
"""


def names(path: Path) -> list[str]:
    """The names in a folder."""
    return sorted(entry.name for entry in path.iterdir())


class Reply:
    """What the helper answered."""

    def __init__(self, code: int, lines: list[dict[str, Any]], stderr: str = "") -> None:
        self.exit = code
        self.stderr = stderr
        self.lines = lines
        self.json: dict[str, Any] = lines[-1] if lines else {}

    def __getitem__(self, name: str) -> Any:
        return self.json[name]

    def __repr__(self) -> str:
        return f"exit {self.exit}: {self.json} {self.stderr}"


class FakeHost:
    """A host in a folder."""

    def __init__(self, root: Path, library: Path) -> None:
        self.root = root
        self.library = library
        self.process: subprocess.Popen[bytes] | None = None
        self.bin = root / "fake"
        (self.bin / "units").mkdir(parents=True)
        for name, text in (("systemctl", SYSTEMCTL), ("caddy", CADDY), ("journalctl", JOURNALCTL)):
            path = self.bin / name
            path.write_text(text.replace("RUN", str(root / "run/deployd")))
            path.chmod(0o755)
        (self.bin / "journal").write_text("")
        (self.bin / "calls").write_text("")
        with socket.socket(socket.AF_UNIX) as made:
            here = Path.cwd()
            os.chdir(self.bin)  # the path may be longer than a socket's may be
            try:
                made.bind("socket")
            finally:
                os.chdir(here)
        node = root / f"srv/deployd/runtimes/{RUNTIME}/bin/node"
        node.parent.mkdir(parents=True)
        node.write_text("#!/bin/sh\n")

    def close(self) -> None:
        if self.process:
            self.process.communicate(timeout=10)

    def environment(self, **extra: str) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "DEPLOYD_HOST_ROOT": str(self.root),
            "DEPLOYD_HOST_SYSTEMCTL": str(self.bin / "systemctl"),
            "DEPLOYD_HOST_CADDY": str(self.bin / "caddy"),
            "DEPLOYD_HOST_JOURNALCTL": str(self.bin / "journalctl"),
            **extra,
        }

    def argv(self, *argv: str) -> list[str]:
        return [sys.executable, "-IS", str(self.library / "start"), *argv]

    def raw(self, *argv: str, stdin: bytes = b"", **env: str) -> Reply:
        """One call in a process of its own."""
        done = subprocess.run(
            self.argv(*argv), input=stdin, capture_output=True, env=self.environment(**env), timeout=60, check=False
        )
        return Reply(done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr.decode())

    def call(self, *argv: str, doc: Any = None, **env: str) -> Reply:
        """One call, over the host's open `serve` where that can be: it saves a start of Python."""
        if not env and argv[0] not in ONE_SHOT:
            if self.process is None:
                self.process = subprocess.Popen(
                    self.argv("serve"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=self.environment()
                )
            assert self.process.stdin
            assert self.process.stdout
            self.process.stdin.write(json.dumps({"argv": argv, "stdin": doc}).encode() + b"\n")
            self.process.stdin.flush()
            answer = json.loads(self.process.stdout.readline())
            return Reply(answer["exit"], [answer["reply"]])
        return self.raw(*argv, stdin=b"" if doc is None else json.dumps(doc).encode(), **env)

    def ok(self, *argv: str, doc: Any = None, **env: str) -> Reply:
        reply = self.call(*argv, doc=doc, **env)
        assert reply.exit == 0, reply
        assert reply["ok"] is True
        return reply

    def refused(self, *argv: str, code: str, doc: Any = None, **env: str) -> Reply:
        reply = self.call(*argv, doc=doc, **env)
        assert reply.exit != 0, reply
        assert reply.json.get("code") == code, reply
        assert set(reply.json) == {"ok", "code", "what", "fix", "details", "live"}
        assert reply["fix"]
        return reply

    def served(self, requests: list[tuple[list[str], Any]]) -> list[dict[str, Any]]:
        """Many calls in one process: what each replied."""
        lines = [json.dumps({"argv": argv, "stdin": doc}) for argv, doc in requests]
        done = subprocess.run(
            self.argv("serve"),
            input="".join(line + "\n" for line in lines).encode(),
            capture_output=True,
            env=self.environment(),
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return [json.loads(line)["reply"] for line in done.stdout.splitlines()]

    def by_key(self, command: str, *, stdin: bytes = b"") -> Reply:
        return self.raw(stdin=stdin, SSH_ORIGINAL_COMMAND=command)

    def calls(self) -> list[str]:
        return (self.bin / "calls").read_text().splitlines()

    def path(self, path: str = "") -> Path:
        return self.root / "srv/deployd/apps/shop/production" / path

    def release(self, release: str) -> Path:
        return self.path("releases") / release

    def current(self) -> str | None:
        link = self.path("current")
        return str(link.readlink()).removeprefix("releases/") if link.is_symlink() else None

    def epoch(self) -> int:
        """Hold once and let go: the epoch that the holder got."""
        reply = self.raw("hold", "shop", "production", stdin=b'{"owner": "me", "rollout": "r-1"}\n')
        return int(reply["epoch"])

    # -- the way of a release --

    def configure(self, **config: Any) -> Reply:
        return self.ok("configure", "shop", "production", doc=config)

    def begin(self, release: str, package: Package, *, compressed: bool = False) -> Reply:
        doc = {"manifest": package.manifest(), "runtime": RUNTIME}
        begin = ("begin", "shop", "production", release)
        if compressed:
            return self.raw(*begin, stdin=gzip.compress(json.dumps(doc).encode(), mtime=0))
        return self.call(*begin, doc=doc)

    def send(self, release: str, package: Package, missing: list[str]) -> Path:
        folder = self.root / "srv/deployd/incoming/shop-production" / release
        for sha256 in missing:
            (folder / sha256).write_bytes(package.contents[sha256])
        return folder

    def seal(self, release: str, package: Package | None = None) -> Reply:
        package = package or Package()
        begun = self.begin(release, package)
        assert begun["ok"], begun
        self.send(release, package, begun["missing"])
        return self.ok("seal", "shop", "production", release, doc={"provenance": {"commit": "c0ffee"}})

    def start(self, release: str, package: Package | None = None) -> None:
        self.seal(release, package)
        self.ok("start", "shop", "production", release)

    def flip(self, release: str, expect: str | None, epoch: int) -> Reply:
        return self.call("flip", "shop", "production", release, "--expect", expect or "none", "--epoch", str(epoch))

    def live(self, release: str, package: Package | None = None) -> None:
        self.start(release, package)
        reply = self.flip(release, self.current(), self.epoch())
        assert reply.exit == 0, reply

    def serve(self, release: str, *, status: int = 200, header: str | None = None) -> None:
        """Answer on the release's socket."""
        path = self.root / "run/deployd/shop-production" / f"{release}.sock"
        path.unlink()
        answering(UnixServer, path, status=status, header=header)


class Package:
    """A packaged app: what the control machine has."""

    def __init__(self, files: dict[str, bytes] | None = None, **fields: Any) -> None:
        base = {"server.js": b"serve()", ".deployd/listen.cjs": b"listen()", ".next/static/a.js": b"a1"}
        self.files = files if files is not None else base
        self.links: dict[str, str] = fields.pop("links", {})
        self.modes: dict[str, int] = fields.pop("modes", {})
        self.times: dict[str, str] = fields.pop("times", {})
        self.fields = fields
        self.contents = {hashlib.sha256(data).hexdigest(): data for data in self.files.values()}

    def with_files(self, **files: bytes) -> Package:
        return Package({**self.files, **files}, **self.fields)

    def manifest(self) -> dict[str, Any]:
        entries: list[dict[str, Any]] = [
            {
                "path": path,
                "mode": self.modes.get(path, 0o644),
                "size": len(data),
                "sha256": hashlib.sha256(data).hexdigest(),
                **({"time": self.times[path]} if path in self.times else {}),
            }
            for path, data in self.files.items()
        ]
        entries += [{"path": path, "link": target} for path, target in self.links.items()]
        return {
            "v": 1,
            "entry": "server.js",
            "files": entries,
            "writable": {"cache": ".next/cache"},
            "assets": {"/_next/static": ".next/static"},
            "public": {},
            "built": BUILT,
            **self.fields,
        }


class UnixServer(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True


class TcpServer(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True


SERVERS: list[socketserver.BaseServer] = []


def answering(kind: type[UnixServer | TcpServer], address: Any, *, status: int = 200, header: str | None = None) -> Any:
    """A web server that gives one answer; ended by the fixture."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            if header:
                self.send_header("X-Deployd-Release", header)
            self.end_headers()
            self.wfile.write(b"hello")

        def address_string(self) -> str:
            return "probe"

        def log_message(self, *_: Any) -> None:
            return

    server = kind(str(address) if isinstance(address, Path) else address, Handler)  # type: ignore[arg-type]
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    SERVERS.append(server)
    return server.server_address
