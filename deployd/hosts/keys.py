"""Keys: the one that hosts show (scanned once, then pinned), and deployd's own (made once).

A host key is its type and its base64 text, as in known_hosts without the address: `ssh-ed25519 AAAA...`.
"""

from __future__ import annotations

import base64
import hashlib
import os
import socket
import time
from typing import TYPE_CHECKING

from deployd.errors import UnreachableError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from deployd.domain.host import Host
    from deployd.paths import StatePaths

# One type is pinned, the best that the host has: with several, SSH libraries check only the first.
_PREFERRED = ("ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "rsa-sha2-512")

_NO_ALIAS = "; `~/.ssh/config` is not read (aliases, ProxyJump): `ssh -G NAME` prints what an alias stands for"


def fingerprint(host_key: str) -> str:
    """`SHA256:...` of a host key, as OpenSSH shows it. Raises UsageError when it is no key."""
    try:
        blob = base64.b64decode(host_key.split()[1], validate=True)
    except (IndexError, ValueError) as error:
        raise UsageError(
            f"{host_key[:60]!r} is not a host key",
            fix="it looks like `ssh-ed25519 AAAA...`; see `deployd host add --help`",
        ) from error
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def algorithms(host_key: str) -> tuple[str, ...]:
    """The signature algorithms by which a host may show this key."""
    kind = host_key.split(maxsplit=1)[0]
    return ("rsa-sha2-512", "rsa-sha2-256") if kind == "ssh-rsa" else (kind,)


def known_hosts_name(address: str, port: int) -> str:
    """How known_hosts names an address: `[address]:port` off port 22."""
    return address if port == 22 else f"[{address}]:{port}"  # noqa: PLR2004 - SSH's port


def known_hosts(hosts: Iterable[Host]) -> str:
    """The text of a known_hosts file: one line for each host, nothing else is trusted."""
    return "".join(f"{known_hosts_name(host.address, host.port)} {host.host_key}\n" for host in hosts)


def write_known_hosts(hosts: Iterable[Host], file: Path) -> None:
    """Write a known_hosts file, 0600, in one rename."""
    _write(file, known_hosts(hosts).encode())


def scan(address: str, port: int = 22, *, timeout: float = 10.0) -> tuple[str, str]:
    """Ask a host for its key: `("ssh-ed25519 AAAA...", "SHA256:...")`. Raises UnreachableError."""
    import logging

    import paramiko

    logging.getLogger("paramiko").setLevel(logging.CRITICAL)
    started = time.monotonic()
    sock: socket.socket | None = None
    transport: paramiko.Transport | None = None
    try:
        sock = socket.create_connection((address, port), timeout=timeout)
        transport = paramiko.Transport(sock)
        options = transport.get_security_options()
        options.key_types = [kind for kind in _PREFERRED if kind in options.key_types]
        transport.banner_timeout = timeout
        transport.start_client(timeout=timeout)
        key = transport.get_remote_server_key()
    except (OSError, EOFError, paramiko.SSHException) as error:
        raise UnreachableError(
            f"{address} port {port} shows no SSH host key: {str(error) or type(error).__name__} "
            f"(tried for {time.monotonic() - started:.1f} s)",
            host=address,
            live="nothing of deployd's: the host is not known yet",
            fix="see that the address and port are right, and that sshd runs there and can be reached from here"
            f"{_NO_ALIAS if isinstance(error, socket.gaierror) else ''}",
            retryable=True,
        ) from error
    finally:
        if transport is not None:
            transport.close()
        if sock is not None:
            sock.close()
    host_key = f"{key.get_name()} {key.get_base64()}"
    return host_key, fingerprint(host_key)


def ensure_ssh_key(paths: StatePaths) -> str:
    """The public key line that hosts accept for deployd; the pair is made when there is none."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    private, public = paths.ssh_key, paths.ssh_key.with_suffix(".pub")
    if not private.exists():
        private.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        made = Ed25519PrivateKey.generate().private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
        )
        _write(private, made, replace=False)
    key = serialization.load_ssh_private_key(private.read_bytes(), password=None)
    text = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()
    line = f"{text} deployd"
    if not public.exists() or public.read_text().strip() != line:
        _write(public, f"{line}\n".encode())
    return line


def _write(file: Path, data: bytes, *, replace: bool = True) -> None:
    aside = file.with_name(f".{file.name}.{os.getpid()}.{time.monotonic_ns()}")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as handle:
            handle.write(data)
            handle.flush()
            os.fsync(handle.fileno())
        if replace:
            aside.rename(file)
        elif not file.exists():
            os.link(aside, file)  # never over a key that another process made meanwhile
    except FileExistsError:
        return
    finally:
        aside.unlink(missing_ok=True)
