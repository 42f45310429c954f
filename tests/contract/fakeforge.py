"""A forge on the loopback: it keeps what it is asked, and answers as a test says."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


@dataclass
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: Any


@dataclass
class FakeForge:
    """`answers` are given in turn (status, JSON, and headers if any), and then `always`; each after `pause` seconds."""

    answers: list[tuple[Any, ...]] = field(default_factory=list)
    always: tuple[Any, ...] = (201, {"id": 77})
    pause: float = 0.0
    requests: list[Request] = field(default_factory=list)

    def __enter__(self) -> Self:
        forge = self

        class Handler(BaseHTTPRequestHandler):
            def handle_any(self) -> None:
                length = int(self.headers.get("content-length") or 0)
                data = self.rfile.read(length)
                headers = {name.lower(): value for name, value in self.headers.items()}
                forge.requests.append(Request(self.command, self.path, headers, json.loads(data) if data else None))
                status, answer, *more = forge.answers.pop(0) if forge.answers else forge.always
                time.sleep(forge.pause)
                text = json.dumps(answer).encode()
                self.send_response(status)
                for name, value in dict(*more).items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(text)))
                self.end_headers()
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it was tired of waiting
                    self.wfile.write(text)

            do_GET = do_POST = do_PUT = do_PATCH = handle_any  # noqa: N815

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
