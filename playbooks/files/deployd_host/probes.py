"""A release comes in; that it answers well goes out, or why it does not."""

from __future__ import annotations

import time

from deployd_host.addresses import has_site, probe_socket
from deployd_host.asking import ask
from deployd_host.documents import Fields
from deployd_host.doors import maintenance_of
from deployd_host.files import read_json
from deployd_host.places import not_started, require_sealed
from deployd_host.programs import unit_facts
from deployd_host.replies import RefusedError, bad_request
from deployd_host.words import matches

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from deployd_host.asking import Answer
    from deployd_host.calls import Call
    from deployd_host.places import Place
    from deployd_host.replies import Json

_HASHED = "/_next/static"
_WARM_TIMES, _WARM_SECONDS = 50, 1.0


def home_of(place: Place, release: str) -> tuple[str, bool]:
    """Where the pages of a Next.js app begin (its basePath), and whether one stands there: `/` is a 404 otherwise."""
    manifest = read_json(f"{place.release(release)}/.deployd/manifest.json") or {}
    served = manifest.get("assets") or {}
    bases = sorted((prefix[: -len(_HASHED)] for prefix in served if prefix.endswith(_HASHED)), key=len)
    if not bases:
        return "", True
    dist = str(served[bases[0] + _HASHED]).rpartition("/")[0]
    routes = read_json(f"{place.release(release)}/{dist}/routes-manifest.json")
    if not isinstance(routes, dict):  # an exported site
        return bases[0], True
    pages = [str(one.get("page")) for kind in ("staticRoutes", "dynamicRoutes") for one in routes.get(kind) or []]
    return str(routes.get("basePath") or ""), any(page == "/" or page.startswith("/[[") for page in pages)


class Probe:
    """Asks a release until it answered well several times in a row, or the time is over, or it keeps exiting."""

    def __init__(self, call: Call, *, web: bool) -> None:
        self.place, self.release, self.web = call.place, call.release, web
        fields = Fields(call.document)
        self.path = fields.text("path", kind="url", longest=2000, default="/")
        base, begins = home_of(self.place, self.release) if self.path == "/" else ("", True)
        self.path = base or self.path
        status = fields.get("status", [200])
        if not isinstance(status, list) or not all(isinstance(one, int) and 100 <= one <= 599 for one in status):
            raise bad_request("'status' is not a list of HTTP statuses")
        self.status = {*status, *(() if begins else (404,))}
        self.timeout = fields.number("timeout", 0, 3600, default=30)
        self.interval = fields.number("interval", 0, 60, default=0.25)
        self.successes = fields.whole("successes", 1, 100, default=2)
        self.request_timeout = fields.number("request_timeout", 0.01, 600, default=5)
        host = fields.get("host")
        if host is not None and not matches("host", host):
            raise bad_request("'host' is not a host name")
        self.warm = fields.texts("warm", kind="url", most=200)
        fields.finish()
        config = self.place.state()["config"] or {}
        names = [name for name in config.get("domains", ()) if not name.startswith("*")]
        self.host = host or (names[0] if names else "localhost")
        port = config.get("port", 80)
        self.static = self.place.is_static(self.release)
        self.address: str | tuple[str, int] = ("127.0.0.1", port) if web else self.place.socket(self.release)
        self.headers = ""
        # In maintenance visitors are turned away; previews have no site; a certificate says nothing about a release.
        has_own = has_site(self.place, {"domains": [], **config})
        if web and (maintenance_of(self.place) or config.get("tls") or not has_own):
            self.address = probe_socket(self.place)
            self.headers = "X-Deployd-Release: current\r\n"
        if self.static and not web:  # the web server answers from the release's files, before it is current
            self.address = probe_socket(self.place)
            self.headers = f"X-Deployd-Release: {self.release}\r\n"
        self.attempts = 0
        self.last_status: int | None = None
        self.last_error: str | None = None
        self.started = time.monotonic()
        self.looked = self.started
        self.restarts = 0
        self.first_restarts: int | None = None
        self.exited = False

    def shown_address(self) -> str:
        """The address for people."""
        if isinstance(self.address, tuple):
            return f"http://{self.address[0]}:{self.address[1]}{self.path} (Host: {self.host})"
        return f"unix:{self.address} {self.path} (Host: {self.host})"

    def run(self) -> Json:
        """Ask, then warm up; the reply's fields."""
        in_a_row = 0
        while True:
            answer = self._attempt()
            in_a_row = in_a_row + 1 if answer else 0
            if answer and in_a_row >= self.successes:
                return {
                    "attempts": self.attempts,
                    "waited_s": self._waited(),
                    "status": answer.status,
                    "first_byte_ms": answer.first_byte_ms,
                    "warmed": self._warm_up(),
                }
            if self._waited() + self.interval > self.timeout:
                raise self._failed(f"did not become healthy within {self.timeout:g} s")
            self._pause()

    def _waited(self) -> float:
        return round(time.monotonic() - self.started, 3)

    def _pause(self) -> None:
        time.sleep(self.interval)
        if self.last_error:
            self._watch()

    def _attempt(self) -> Answer | None:
        self.attempts += 1
        timeout = min(self.request_timeout, max(0.05, self.timeout - self._waited()))
        try:
            answer = self._ask(self.path, timeout=timeout, watch=self._watch)
        except OSError as error:
            if timeout == self.request_timeout or not self.last_error:  # one that was cut short says less than before
                self.last_status, self.last_error = None, error.strerror or str(error) or type(error).__name__
            return None
        self.last_status = answer.status
        if answer.status not in self.status:
            self.last_error = f"status {answer.status}, not one of {sorted(self.status)}"
        elif (self.web or self.static) and answer.release != self.release:
            self.last_error = f"the web server answered from release {answer.release}"
        else:
            self.last_error = None
            return answer
        return None

    def _ask(self, path: str, *, timeout: float, watch: Callable[[], None]) -> Answer:
        return ask(self.address, path, self.host, timeout=timeout, watch=watch, headers=self.headers)

    def _watch(self) -> None:
        """Look once a second whether the server keeps exiting: then waiting is in vain."""
        now = time.monotonic()
        if self.web or self.static or now - self.looked < 1.0:
            return
        self.looked = now
        facts = unit_facts(*self.place.service_units(self.release))
        self.restarts = max((int(one.get("NRestarts") or 0) for one in facts.values()), default=0)
        if self.first_restarts is None:
            self.first_restarts = self.restarts
        self.exited = any(one.get("SubState") in {"auto-restart", "failed"} for one in facts.values())
        if self.restarts >= 3 and self.restarts > self.first_restarts:
            self.exited = True
            raise self._failed(f"exits as soon as it starts ({self.restarts} times)")

    def _failed(self, why: str) -> RefusedError:
        from deployd_host.logs import log_tail

        if self.last_error is None and self.last_status is None:
            self.last_error = "no answer"
        return RefusedError(
            "probe-failed",
            f"release {self.release} {why}: {self.shown_address()}: {self.last_error}",
            fix="read the server's last lines; check the probe's `path`, `status` and `host` in deployd.toml",
            details={
                "address": self.shown_address(),
                "attempts": self.attempts,
                "last_status": self.last_status,
                "last_error": self.last_error,
                "waited_s": self._waited(),
                "log": log_tail(self.place, self.release),
                "exited": self.exited,
                "restarts": self.restarts,
            },
        )

    def _warm_up(self) -> list[Json]:
        """Each once, and what a new server answers well again: after some tens of answers its code runs twice as fast.

        What was live before has run, and going back to it does not wait.
        """
        warmed: list[Json] = []
        most = 1 if self.static or self.place.was_live(self.release) else _WARM_TIMES
        for path in self.warm:
            until, times = time.monotonic() + _WARM_SECONDS, 1
            try:
                first = answer = self._warm(path)
                while answer.status < 300 and times < most and time.monotonic() < until:
                    answer, times = self._warm(path), times + 1
                warmed.append({"path": path, "status": answer.status, "ms": first.ms, "times": times})
            except OSError as error:
                warmed.append({"path": path, "status": None, "ms": None, "times": times, "error": str(error)})
        return warmed

    def _warm(self, path: str) -> Answer:
        return self._ask(path, timeout=self.request_timeout * 4, watch=lambda: None)


def verb_probe(call: Call) -> Json:
    """Ask the release itself, by its own socket; a static one through the web server, which is what answers for it."""
    require_sealed(call.place, call.release)
    probe = Probe(call, web=False)
    if not call.place.is_started(call.release):
        raise not_started(call.release)
    return probe.run()


def verb_probe_web(call: Call) -> Json:
    """Ask through the web server, which must answer from this release."""
    return Probe(call, web=True).run()
