"""A laid out artifact and variables -> its server, running in a sandbox with no network, and answers to questions.

The server gets its socket as on a host: a listening descriptor that the artifact's own preload hands to `listen()`. It
sees the system's programs, the pinned Node.js and the artifact; nothing of the checkout, of deployd or of the network.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from deployd import process, sandbox

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator, Mapping, Sequence

    from deployd.stages.verify.laying import Laid
    from deployd.stages.verify.routes import Question

ROOT = "/release"
"""Where the server sees the artifact."""
_TOLD = "/told"
_SHIM = ".deployd/listen.cjs"
_WATCH = Path(__file__).with_name("watch.cjs")
_MOST = 1 << 22  # of one answer, and of the output
_LATEST = 10.0  # seconds for one answer
_ENDING = 15.0  # a sandbox ends at once; where another user had the files, they are taken back first


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back: an HTTP status, or None with why not. `page` is the text of an HTML page, else ""."""

    question: Question
    status: int | None
    seconds: float
    error: str | None = None
    content_type: str = ""
    page: str = ""


class Server:
    """The server of one trial. `folder` is an empty folder of its own, reachable by its owner alone."""

    def __init__(
        self,
        laid: Laid,
        *,
        entry: str,
        node: Path,
        variables: Mapping[str, str],
        watched: Sequence[str],
        folder: Path,
        private: str,
    ) -> None:
        self._laid, self._entry, self._node, self._private = laid, entry, node, private
        self._variables, self._folder = variables, folder
        self._watched = (ROOT, *watched)
        self._process: process.Child | None = None
        self._starts = 0
        shutil.copyfile(_WATCH, folder / "watch.cjs")
        (folder / "watch.cjs").chmod(0o644)
        (folder / "told").mkdir(mode=0o700)
        sandbox.give(folder / "told")
        sandbox.show(node)

    def __enter__(self) -> Self:
        """Nothing runs yet."""
        return self

    def __exit__(self, *_: object) -> None:
        """End it, and all that it started."""
        self.end()

    def start(self) -> None:
        """Start it, listening on a socket that is there at once."""
        self.end()
        self._starts += 1
        words = [f"{ROOT}/.deployd/node", "--require", "/watch.cjs"]
        words += ["--require", f"{ROOT}/{_SHIM}"] if (self._laid.tree / _SHIM).is_file() else []
        inside = sandbox.alone(
            [*words, f"{ROOT}/{self._entry}"],
            readonly={
                str(self._laid.tree): ROOT,
                str(self._node): f"{ROOT}/.deployd/node",
                str(self._folder / "watch.cjs"): "/watch.cjs",
            },
            writable={
                str(self._folder / "told"): _TOLD,
                **{str(folder): f"{ROOT}/{place}" for place, folder in self._laid.writable.items()},
            },
            network=False,
            cwd=ROOT,
            private=self._private,
        )
        with self._listen() as listening, self._output.open("ab") as out:
            # descriptor 3 is where a service finds its socket; deployd has something else there
            self._process = process.spawn(
                ["sh", "-c", 'exec "$@" 3<&0 0</dev/null', "sh", *inside],
                cwd="/",
                env=self._environment(),
                stdin=listening.fileno(),
                stdout=out.fileno(),
                stderr=out.fileno(),
            )

    def end(self) -> None:
        """End it; safe to repeat. What it has told can be read afterwards."""
        if self._process is not None:
            process.end(self._process, grace=_ENDING)

    def exit_code(self, *, within: float = 0.0) -> int | None:
        """With what it ended by itself, or None when it still runs after `within` seconds."""
        until = time.monotonic() + within
        while self._process is not None and self._process.poll() is None and time.monotonic() < until:
            time.sleep(0.02)
        return self._process.poll() if self._process is not None else None

    @property
    def output(self) -> str:
        """What it has said."""
        with contextlib.suppress(FileNotFoundError), self._output.open("rb") as opened:
            return opened.read(_MOST).decode(errors="replace")
        return ""

    @property
    def events(self) -> list[str]:
        """The lines that watch.cjs has written."""
        with contextlib.suppress(OSError):
            return (self._folder / "told" / "events").read_text(errors="replace").splitlines()
        return []

    def ask(self, question: Question, *, host: str, deadline: float, cancel: threading.Event | None = None) -> Answer:
        """Ask once. An answer without an end counts with its status."""
        begun = time.monotonic()
        if begun >= deadline or (cancel and cancel.is_set()):
            return Answer(question=question, status=None, seconds=0.0, error="there was no time left to ask")
        connection = _Connection(self._folder, f"s{self._starts}", timeout=min(_LATEST, deadline - begun))
        headers = {"Host": host, "Accept": question.accept, "Connection": "close"}
        try:
            connection.request("GET", question.path, headers=headers)
            response = connection.getresponse()
            kind = response.getheader("content-type", "")
            body = _body(response, deadline=deadline)
        except TimeoutError:
            return _unanswered(question, begun, f"none within {connection.timeout:.0f} s")
        except (OSError, http.client.HTTPException) as fault:
            return _unanswered(question, begun, f"the connection ended ({type(fault).__name__})")
        finally:
            connection.close()
        return Answer(
            question=question,
            status=response.status,
            seconds=time.monotonic() - begun,
            content_type=kind,
            page=body.decode(errors="replace") if kind.startswith("text/html") else "",
        )

    @property
    def _output(self) -> Path:
        return self._folder / "output"

    def _listen(self) -> socket.socket:
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with _reached(self._folder) as folder:
            listening.bind(f"{folder}/s{self._starts}")
        listening.listen(512)
        return listening

    def _environment(self) -> dict[str, str]:
        return {
            "NODE_ENV": "production",
            "PORT": "3000",
            "HOSTNAME": "localhost",
            "KEEP_ALIVE_TIMEOUT": "75000",
            **self._variables,
            "HOME": "/tmp",  # noqa: S108 - the sandbox's own
            "PATH": f"{ROOT}/.deployd:/usr/local/bin:/usr/bin:/bin",
            "LISTEN_FDS": "1",
            "DEPLOYD_WATCH": f"{_TOLD}/events",
            "DEPLOYD_WATCH_ROOTS": ":".join(self._watched),
        }


def _unanswered(question: Question, begun: float, error: str) -> Answer:
    return Answer(question=question, status=None, seconds=time.monotonic() - begun, error=error)


def _body(response: http.client.HTTPResponse, *, deadline: float) -> bytes:
    """The body, as far as it comes: a stream may have no end."""
    found = bytearray()
    with contextlib.suppress(OSError, http.client.HTTPException):
        while len(found) < _MOST and (chunk := response.read1(65536)) and time.monotonic() < deadline:
            found += chunk
    return bytes(found)


class _Connection(http.client.HTTPConnection):
    """HTTP to a unix socket, named through a descriptor of its folder: a path may be longer than a socket's address."""

    def __init__(self, folder: Path, name: str, *, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._folder, self._name = folder, name

    def connect(self) -> None:
        """Connect."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        with _reached(self._folder) as folder:
            self.sock.connect(f"{folder}/{self._name}")


@contextlib.contextmanager
def _reached(folder: Path) -> Iterator[str]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
