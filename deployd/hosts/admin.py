"""A first look at a server as its admin user, before anything is changed there: what Ansible's errors would hide.

The one place where a person's own login is used (their identity file or agent), and where fabric is.
"""

from __future__ import annotations

import base64
import logging
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from deployd.errors import HostError, UnreachableError
from deployd.hosts import causes, keys, webserver

if TYPE_CHECKING:
    import paramiko

    from deployd.domain.host import Host

_MARK = "deployd-looks"  # a login shell may print words of its own before
_LOOK = (
    f"echo {_MARK}; "
    "uname -m; id -u; command -v python3 || echo none; "
    "if [ $(id -u) = 0 ] || sudo -n true 2>/dev/null; then echo root; fi; "
    "sed -n 's/.* ssh-ed25519 /lets-in /p' /etc/deployd/authorized_keys 2>/dev/null"
)
# What paramiko says, as a plain SSHException, when there is no agent and no key in ~/.ssh.
_NOTHING_TO_OFFER = "No authentication methods available"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bare:
    """A server that can be bootstrapped: its CPU, whether the admin user is root, and whom it obeys until now.

    `lets_in` is the base64 text of that deployd's public key, None on a bare server.
    """

    cpu: str
    is_root: bool
    lets_in: str | None = None


def look(host: Host, *, connect_timeout: float = 10.0) -> Bare:
    """Log in as the admin user and look. Raises UnreachableError, HostKeyError or HostError; changes nothing."""
    import fabric
    import paramiko

    if host.identity:
        _check_identity(host)
    logging.getLogger("paramiko").setLevel(logging.CRITICAL)
    started = time.monotonic()
    connection = fabric.Connection(
        host.address,
        user=host.admin_user,
        port=host.port,
        forward_agent=False,
        connect_timeout=max(1, round(connect_timeout)),
        connect_kwargs={
            # fabric goes through the names: None would end it
            **({"key_filename": host.identity} if host.identity else {}),
            "look_for_keys": host.identity is None,
            "banner_timeout": connect_timeout,
            "auth_timeout": connect_timeout,
        },
        config=fabric.Config(ssh_config=paramiko.SSHConfig(), lazy=True),
    )
    # fabric accepts any key by default.
    connection.client.set_missing_host_key_policy(paramiko.RejectPolicy())
    kind, data = host.host_key.split()[:2]
    pinned = paramiko.PKey.from_type_string(kind, base64.b64decode(data))
    connection.client.get_host_keys().add(keys.known_hosts_name(host.address, host.port), kind, pinned)
    try:
        done = connection.run(_LOOK, hide=True, warn=True, in_stream=False, timeout=30)
    except paramiko.BadHostKeyException as error:
        shown = keys.fingerprint(f"{error.key.get_name()} {error.key.get_base64()}")
        raise causes.changed_key(host, pinned=keys.fingerprint(host.host_key), shown=shown) from error
    except (paramiko.AuthenticationException, paramiko.PasswordRequiredException) as error:
        raise _refused(host) from error
    except (OSError, EOFError, paramiko.SSHException) as error:
        if str(error) == _NOTHING_TO_OFFER or _is_stranger(connection.client.get_transport()):
            raise _refused(host) from error
        raise causes.unreachable(host, error, seconds=time.monotonic() - started) from error
    finally:
        connection.close()
        connection.client.close()  # fabric closes only what was connected to its end
    return _read(host, _own_words(done.stdout))


def _is_stranger(transport: paramiko.Transport | None) -> bool:
    """Whether the host was spoken to, and let nobody in: of several keys the last one's error says little."""
    return transport is not None and bool(transport.initial_kex_done) and not transport.is_authenticated()


def _check_identity(host: Host) -> None:
    """What OpenSSH would not use, Ansible cannot; its own words for it come late."""
    place = Path(host.identity or "")
    try:
        mode, text = place.stat().st_mode, place.read_bytes()
    except OSError as error:
        raise _useless(
            host, f"cannot be read: {error.strerror}", "add the host again with `--identity FILE`"
        ) from error
    if b"PRIVATE KEY-----" not in text[:200]:
        raise _useless(host, "is no private key", "add the host again with the private half (its name has no .pub)")
    if mode & 0o077 and place.stat().st_uid == os.getuid():
        raise _useless(host, "can be read by others, so ssh refuses it", f"chmod 600 {place}")


def _useless(host: Host, what: str, fix: str) -> UnreachableError:
    return UnreachableError(
        f"{host.name} cannot be logged in to: the key {host.identity} {what}",
        code="admin-auth-failed",
        host=host.name,
        live="unchanged",
        fix=fix,
    )


def _has_passphrase(identity: str) -> bool:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_ssh_private_key

    data = Path(identity).read_bytes()
    for load in (load_ssh_private_key, load_pem_private_key):
        try:
            load(data, password=None)
        except TypeError:
            return True
        except (ValueError, UnsupportedAlgorithm):
            continue
        return False
    return False


def _refused(host: Host) -> UnreachableError:
    if host.identity and _has_passphrase(host.identity):
        return _useless(
            host,
            f"has a passphrase, and no agent offers it, or {host.admin_user} may not log in by it",
            f"run `ssh-add {host.identity}` first, then see that {_login(host)} asks for nothing",
        )
    how = f"the key {host.identity}" if host.identity else "any key of yours (agent, ~/.ssh)"
    return UnreachableError(
        f"{host.name} ({host.address} port {host.port}) does not accept {how} for {host.admin_user}",
        code="admin-auth-failed",
        host=host.name,
        live="unchanged",
        fix=f"see that {_login(host)} works without a password, or add the host again with `--identity FILE`",
    )


def _login(host: Host) -> str:
    port = "" if host.port == 22 else f"-p {host.port} "  # noqa: PLR2004 - SSH's port
    return f"`ssh {port}{host.admin_user}@{host.address}`"


def _own_words(said: str) -> list[str]:
    return said.rpartition(_MARK)[2].split()


def _read(host: Host, words: list[str]) -> Bare:
    if len(words) < 3:  # noqa: PLR2004 - machine, uid, python
        raise _unfit(
            host,
            "shell-unfit",
            f"the login shell of {host.admin_user} does not run plain commands",
            fix="use an admin user with a POSIX shell",
        )
    machine, uid, python, *rest = words
    if python == "none":
        raise _unfit(host, "python-missing", "python3 is not installed", fix="install it there: `apt install python3`")
    if "root" not in rest[:1]:
        raise _unfit(
            host,
            "sudo-refused",
            f"{host.admin_user} is not root and may not use sudo without a password",
            fix="allow it while bootstrapping, by a file in /etc/sudoers.d with "
            f"`{host.admin_user} ALL=(ALL) NOPASSWD: ALL`, or add the host again as root@ADDRESS",
        )
    obeyed = rest[rest.index("lets-in") + 1 :] if "lets-in" in rest else []
    return Bare(cpu=webserver.cpu_of(machine), is_root=uid == "0", lets_in=obeyed[0] if obeyed else None)


def _unfit(host: Host, code: str, what: str, *, fix: str) -> HostError:
    return HostError(
        f"{host.name} cannot be bootstrapped: {what}", code=code, host=host.name, live="unchanged", fix=fix
    )
