"""A first look at a server as its admin user, before anything is changed there: what Ansible's errors would hide.

The one place where a person's own login is used (their identity file or agent), and where fabric is.
"""

from __future__ import annotations

import base64
import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deployd.errors import HostError, UnreachableError
from deployd.hosts import causes, keys, webserver

if TYPE_CHECKING:
    from deployd.domain.host import Host

_MARK = "deployd-looks"  # a login shell may print words of its own before
_LOOK = (
    f"echo {_MARK}; "
    "uname -m; id -u; command -v python3 || echo none; "
    "if [ $(id -u) = 0 ] || sudo -n true 2>/dev/null; then echo root; fi"
)
# What paramiko says, as a plain SSHException, when there is no agent and no key in ~/.ssh.
_NOTHING_TO_OFFER = "No authentication methods available"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bare:
    """A server that can be bootstrapped: its CPU, and whether the admin user is root."""

    cpu: str
    is_root: bool


def look(host: Host, *, connect_timeout: float = 10.0) -> Bare:
    """Log in as the admin user and look. Raises UnreachableError, HostKeyError or HostError; changes nothing."""
    import fabric
    import paramiko

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
        if str(error) == _NOTHING_TO_OFFER:
            raise _refused(host) from error
        raise causes.unreachable(host, error, seconds=time.monotonic() - started) from error
    finally:
        connection.close()
        connection.client.close()  # fabric closes only what was connected to its end
    return _read(host, _own_words(done.stdout))


def _refused(host: Host) -> UnreachableError:
    how = f"the key {host.identity}" if host.identity else "any key of yours (agent, ~/.ssh)"
    return UnreachableError(
        f"{host.name} ({host.address} port {host.port}) does not accept {how} for {host.admin_user}",
        code="admin-auth-failed",
        host=host.name,
        live="unchanged",
        fix=f"see that `ssh {host.admin_user}@{host.address}` works without a password, or add the host again with "
        "`--identity FILE`",
    )


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
    if rest != ["root"]:
        raise _unfit(
            host,
            "sudo-refused",
            f"{host.admin_user} is not root and may not use sudo without a password",
            fix="allow it while bootstrapping, by a file in /etc/sudoers.d with "
            f"`{host.admin_user} ALL=(ALL) NOPASSWD: ALL`, or add the host again as root@ADDRESS",
        )
    return Bare(cpu=webserver.cpu_of(machine), is_root=uid == "0")


def _unfit(host: Host, code: str, what: str, *, fix: str) -> HostError:
    return HostError(
        f"{host.name} cannot be bootstrapped: {what}", code=code, host=host.name, live="unchanged", fix=fix
    )
