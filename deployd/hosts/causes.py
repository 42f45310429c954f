"""Why a host could not be spoken to: a socket's or SSH library's exception comes in, an error for people goes out."""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING

from deployd.errors import HostError, HostKeyError, UnreachableError

if TYPE_CHECKING:
    from deployd.domain.host import Host
    from deployd.domain.ids import HostName

NOT_ASKED = "unknown: the host could not be asked"


def unreachable(host: Host, error: BaseException, *, seconds: float) -> UnreachableError:
    """No TCP or SSH connection came about; `seconds` is how long that took."""
    return UnreachableError(
        f"{host.name} ({host.address} port {host.port}) {_cause(error)} (tried for {seconds:.1f} s)",
        host=host.name,
        live=NOT_ASKED,
        fix=f"see that {host.address} is up and lets this machine reach port {host.port}, then try again; "
        f"`deployd host check {host.name}` tells more",
        retryable=True,
    )


def _cause(error: BaseException) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "refuses the connection: nothing listens there"
    if isinstance(error, TimeoutError):
        return "does not answer"
    if isinstance(error, socket.gaierror):
        return f"cannot be found: the name does not resolve ({error.strerror})"
    if isinstance(error, OSError) and error.errno in {errno.EHOSTUNREACH, errno.ENETUNREACH}:
        return "cannot be reached: no route to it"
    if isinstance(error, ConnectionResetError | EOFError):
        return "closed the connection before it was set up"
    return f"gave no usable SSH connection: {str(error) or type(error).__name__}"


def refused_key(host: Host, *, user: str) -> UnreachableError:
    """The host is there, and does not accept deployd's key."""
    return UnreachableError(
        f"{host.name} ({host.address} port {host.port}) does not accept deployd's key for the user {user}",
        code="ssh-auth-failed",
        host=host.name,
        live=NOT_ASKED,
        fix=f"run `deployd host bootstrap {host.name}`: it installs the key, and takes away that of another machine's "
        "deployd, if one bootstrapped it since",
    )


def no_key(host: Host, *, path: str) -> UnreachableError:
    """This machine has no usable private key."""
    return UnreachableError(
        f"there is no usable SSH key at {path}, so no host can be logged in to",
        code="ssh-auth-failed",
        host=host.name,
        live=NOT_ASKED,
        fix=f"run `deployd host bootstrap {host.name}`: it makes a key and installs it",
    )


def changed_key(host: Host, *, pinned: str, shown: str) -> HostKeyError:
    """The host shows another key than the pinned one; both given as fingerprints."""
    return HostKeyError(
        f"{host.name} ({host.address} port {host.port}) shows another host key than the pinned one: "
        "it was installed anew, or something stands between",
        host=host.name,
        live=NOT_ASKED,
        details=f"pinned  {pinned}\nshown   {shown}",
        fix="compare with `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` on the host's own console; only if it is "
        f"the same, pin it: `deployd host remove {host.name}`, then `deployd host add {host.name} ... "
        f"--fingerprint {shown}`",
    )


def lost(name: HostName, *, address: str, doing: str, live: str | None) -> UnreachableError:
    """The wire broke while the host was doing something: whether it was done is unknown."""
    return UnreachableError(
        f"the connection to {name} ({address}) broke during `{doing}`: whether that was done is not known",
        code="connection-lost",
        host=name,
        live=f"{live} when last asked" if live else NOT_ASKED,
        fix="run the same command again once the host answers: everything it does may be repeated",
        retryable=True,
    )


def timed_out(name: HostName, *, doing: str, seconds: float) -> HostError:
    """The host is connected and takes too long."""
    return HostError(
        f"{name} took longer than {seconds:g} s for `{doing}`",
        code="host-timeout",
        host=name,
        live=NOT_ASKED,
        fix=f"see what the host is busy with (load, disk), then try again; `deployd host check {name}` tells more",
        retryable=True,
    )
