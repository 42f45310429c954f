"""The daemon's process: a state folder and settings come in; it serves until SIGTERM, and leaves nothing half done.

The folder's lock is held first and for the whole life, then the engine starts, then the past is settled, and only then
is systemd told. SIGHUP reads the settings (and the certificate) again. SIGTERM begins nothing more and waits for what
runs; what is not at its end after `stop_grace` seconds is parked: the next start goes on with it.
"""

from __future__ import annotations

import asyncio
import gc
import grp
import signal
import ssl
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deployd import __version__, logs, sandbox
from deployd.daemon import sockets, systemd, wiring
from deployd.daemon.api.app import make_app
from deployd.errors import ConfigError, DeploydError
from deployd.rollouts import locks

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping, Sequence

    from deployd.daemon.sockets import Server
    from deployd.daemon.wiring import Daemon
    from deployd.domain.host import Host
    from deployd.hosts.pool import Pool
    from deployd.paths import StatePaths

STOP_GRACE = 30.0
_LATE = 30.0  # a dispatcher without a beat for so long hangs: systemd starts a new process


def serve(
    paths: StatePaths,
    settings: Mapping[str, Any],
    *,
    load: Callable[[], Mapping[str, Any]] | None = None,
    who: str = "deployd",
    connect: Callable[[Sequence[Host]], Pool] | None = None,
) -> int:
    """Serve until told to stop. `load` reads the settings again. Raises BusyError when another owns the folder."""
    logs.set_up()
    paths.make()
    with locks.folder_lock(paths) as folder:
        if not folder.take(locks.held_by(who=who, command="deployd serve")):
            raise folder.busy("this state folder")
        daemon = wiring.make(paths, dict(settings), folder=folder, connect=connect)
        daemon.store.keyring.check()  # it must be there, and the same for every daemon on the database
        life = _Life(daemon, load or (lambda: settings))
        asyncio.run(life.run())
        daemon.store.close()
    return 0


class _Life:
    """One run of a daemon, from its sockets to its end."""

    def __init__(self, daemon: Daemon, load: Callable[[], Mapping[str, Any]]) -> None:
        self._daemon = daemon
        self._load = load
        self._log = logs.logger("daemon")
        self._servers: list[Server] = []
        self._stopping = asyncio.Event()
        self._hurry = threading.Event()

    async def run(self) -> None:
        """Live."""
        began = time.monotonic()
        daemon, loop = self._daemon, asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        local, remote = self._listen()
        await asyncio.to_thread(self._begin)
        app = make_app(daemon)
        self._servers = [sockets.server(app)]
        serving = [asyncio.create_task(self._servers[0].serve(local))]
        if remote:
            self._servers.append(sockets.server(app, tls=_tls(daemon.settings)))
            serving.append(asyncio.create_task(self._servers[1].serve(remote)))
        watching = asyncio.create_task(self._watchdog())
        systemd.notify("READY=1", f"STATUS={_described(daemon)}")
        self._log.info(
            "daemon_ready",
            version=__version__,
            state=str(daemon.paths.root),
            listen=[sockets.port_of(one) for one in remote],
            seconds=round(time.monotonic() - began, 3),
        )
        stopped = asyncio.create_task(self._stopping.wait())
        await asyncio.wait([stopped, *serving], return_when=asyncio.FIRST_COMPLETED)
        systemd.notify("STOPPING=1")
        watching.cancel()
        await asyncio.to_thread(self._end)
        for server in self._servers:
            server.end()
        await asyncio.gather(*serving)
        self._log.info("daemon_ended")

    def _listen(self) -> tuple[list[socket.socket], list[socket.socket]]:
        settings, paths = self._daemon.settings, self._daemon.paths
        listen, tls = settings.get("listen"), _tls(settings)
        if listen and tls:
            _load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), tls)
        group = _group(str(settings.get("group") or "deployd"))
        local = [sockets.listen_unix(paths.socket)]
        if settings.get("socket"):
            local.append(sockets.listen_unix(Path(str(settings["socket"])), group=group))
        remote = [sockets.listen_tcp(str(listen))] if listen else []
        if remote and not tls and not sockets.is_loopback(remote[0]):
            self._log.warning("listens_in_clear", listen=listen, fix="set tls_certificate and tls_key")
        return local, remote

    def _begin(self) -> None:
        daemon = self._daemon
        try:
            sandbox.take_back(daemon.paths.checkouts, daemon.paths.caches, daemon.paths.artifacts)
        except DeploydError as error:
            self._log.warning("builds_files_left", reason=error.what, fix="systemctl status deployd-build.socket")
        daemon.workshop.start_engine()
        _ = daemon.workshop.engine  # imported and launched before the first push comes
        daemon.hub.start()
        daemon.dispatcher.start()
        for part in (*daemon.parts, daemon.collector):
            part.start(daemon)
        gc.collect()
        gc.freeze()  # what was imported stays: each look for garbage among it takes 0.1 s, and everyone else waits

    def _end(self) -> None:
        daemon = self._daemon
        for part in reversed((*daemon.parts, daemon.collector)):
            part.stop()
        given = daemon.settings.get("stop_grace")
        parked = daemon.dispatcher.stop(grace=STOP_GRACE if given is None else float(given), hurry=self._hurry)
        if parked:
            self._log.warning("rollouts_parked", rollouts=list(parked), fix="the next start goes on with them")
        daemon.hub.stop()

    def _stop(self) -> None:
        if self._stopping.is_set():
            self._hurry.set()  # the second signal: park at once
        self._stopping.set()

    def _reload(self) -> None:
        systemd.reloading()
        try:
            fresh = self._load()
            changed = sorted(
                name for name in {*fresh, *self._daemon.settings} if fresh.get(name) != self._daemon.settings.get(name)
            )
            tls, context = _tls(fresh), self._servers[1].config.ssl if len(self._servers) > 1 else None
            if tls and context:
                _load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), tls)  # a wrong key would break the one in use
                _load(context, tls)
            self._daemon.change_settings(fresh)
            self._log.info("settings_reloaded", changed=changed)
        except (DeploydError, OSError) as error:
            self._log.error("settings_refused", error=str(error), fix="correct the file; those before stay in force")
        systemd.notify("READY=1", f"STATUS={_described(self._daemon)}")

    async def _watchdog(self) -> None:
        every = systemd.watchdog_every()
        while every is not None:
            if time.monotonic() - self._daemon.dispatcher.beat < _LATE:
                systemd.notify("WATCHDOG=1", f"STATUS={_described(self._daemon)}")
            await asyncio.sleep(every)


def _described(daemon: Daemon) -> str:
    return f"{len(daemon.dispatcher.running())} rollouts run"


def _tls(settings: Mapping[str, Any]) -> tuple[Path, Path] | None:
    certificate, key = settings.get("tls_certificate"), settings.get("tls_key")
    if bool(certificate) != bool(key):
        there, lacks = ("tls_certificate", "tls_key") if certificate else ("tls_key", "tls_certificate")
        raise ConfigError(
            f"`{there}` is set, and `{lacks}` is not", code="setting-invalid", fix="set both, or neither of them"
        )
    return (Path(str(certificate)), Path(str(key))) if certificate and key else None


def _load(context: ssl.SSLContext, tls: tuple[Path, Path]) -> None:
    try:
        context.load_cert_chain(*tls)
    except OSError as error:  # it names neither of them
        what = f"{tls[0]} and {tls[1]} cannot be used: {error.strerror or error}"
        raise ConfigError(what, code="setting-invalid", fix="give a certificate and its own key, as PEM") from error


def _group(name: str) -> int | None:
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return None
