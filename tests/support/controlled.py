"""A lab server with the daemon as a service, and a laptop that has a token for it."""

from __future__ import annotations

import json
import ssl
import subprocess
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deployd import lab
from deployd.stages.build import nodeversions, runtime
from tests.support import control
from tests.support.certificates import made_certificate

if TYPE_CHECKING:
    from tests.support.world import World


PORT = 8300
SETTINGS = """\
listen = "0.0.0.0:8300"
tls_certificate = "/etc/deployd/tls.crt"
tls_key = "/etc/deployd/tls.key"
public_url = "{url}"
stop_grace = "20s"
"""


@dataclass
class Control:
    """The control machine, and the laptop that has a token for it."""

    lab: str
    host: Any
    laptop: World
    secret: str = ""
    repository: Path | None = None
    releases: list[str] = field(default_factory=list)

    def run(self, *argv: str, stdin: str | None = None, check: int | None = 0, user: str | None = None) -> Any:
        """A command there, as root or as another; its exit code must be `check`."""
        words = ["runuser", "-u", user, "--", *argv] if user else list(argv)
        done = lab.run(self.lab, self.host.name, words, stdin=(stdin or "").encode(), check=False, timeout=180)
        assert check is None or done.returncode == check, f"{argv}: {done.returncode}\n{done.text}\n{done.error_text}"
        return done

    def deployd(self, *words: str, check: int | None = 0, user: str | None = None, stdin: str | None = None) -> Any:
        """`deployd WORDS` there, in the app's folder."""
        return self.run("deployd", words[0], "-C", "/srv/shop", *words[1:], check=check, user=user, stdin=stdin)

    def artifact(self, version: str, **what: Any) -> str:
        """A small app's artifact file on the control machine, in a folder that only root reads."""
        local = Path(self.laptop.artifact(version, **what))
        data = local.read_bytes()
        lab.run(self.lab, self.host.name, ["sh", "-c", f"umask 077; cat >/root/{local.name}"], stdin=data)
        return f"/root/{local.name}"

    def is_active(self) -> bool:
        return control.properties(self.lab, self.host.name, "ActiveState")["ActiveState"] == "active"

    def pid(self) -> int:
        return int(control.properties(self.lab, self.host.name, "MainPID")["MainPID"])

    def until(self, true: Any, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < deadline, control.journal(self.lab, self.host.name)[-10:]
            time.sleep(0.2)

    def token(self, *words: str) -> str:
        told = self.deployd("token", "create", "--json", *words)
        return str(json.loads(told.text)["token"])


def prepare(made: Control, folder: Path) -> None:
    """Carry deployd and a Node.js over, install the service, and let it listen."""
    control.carry(made.lab, made.host.name)
    runtime.fetch(nodeversions.DEFAULT, runtimes=folder / "runtimes")
    control.send_tree(made.lab, made.host.name, folder / "runtimes", "/var/lib/deployd/runtimes")
    made.run("sh", "-c", "useradd ada; groupadd -f deployd; useradd --groups deployd bob; mkdir -p /srv/shop /srv/git")
    control.put(made.lab, made.host.name, "/srv/shop/deployd.toml", (made.laptop.app / "deployd.toml").read_text())
    made.run("deployd", "install")
    address = made.host.address
    certificate, key = certified(folder, address)
    control.put(made.lab, made.host.name, "/etc/deployd/tls.crt", certificate.read_text())
    control.put(made.lab, made.host.name, "/etc/deployd/tls.key", key.read_text(), mode="640", owner="root:deployd")
    settings = SETTINGS.format(url=f"https://{address}:{PORT}")
    control.put(made.lab, made.host.name, "/etc/deployd/deployd.toml", settings, mode="640", owner="root:deployd")
    made.run("systemctl", "restart", "deployd.service")
    log_in(made, certificate)


def log_in(made: Control, certificate: Path | None = None) -> None:
    """The laptop gets a token that may do everything, and knows the host."""
    env = {"DEPLOYD_URL": f"https://{made.host.address}:{PORT}", "DEPLOYD_TOKEN": made.token("--scope", "admin")}
    made.laptop.env |= env | ({"SSL_CERT_FILE": str(certificate)} if certificate else {})
    made.laptop.add_hosts()
    made.laptop.run("host", "bootstrap", "web1", timeout=400)


def certified(folder: Path, address: str) -> tuple[Path, Path]:
    certificate, key = folder / "tls.crt", folder / "tls.key"
    for file, text in zip((certificate, key), made_certificate(address), strict=True):
        file.write_text(text)
    return certificate, key


def version(made: Control, port: int = 80) -> str:
    return made.laptop.ask("/", port=port)[1].strip()


def commit(made: Control, message: str, **files: str) -> None:
    """Commit to the site, and have it on the control machine."""
    """Commit to the site (`make_js` is the file make.js), and have it on the control machine."""
    assert made.repository is not None
    for name, text in files.items():
        (made.repository / name.replace("_", ".")).write_text(text)
    words = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qam", message]
    subprocess.run(words, cwd=made.repository, check=True)
    control.send_tree(made.lab, made.host.name, made.repository, "/srv/git/site")


def healthz(made: Control) -> int:
    """What the daemon's sign of life answers over https: its status."""
    trusted = ssl.create_default_context(cafile=made.laptop.env["SSL_CERT_FILE"])
    with urllib.request.urlopen(f"https://{made.host.address}:{PORT}/healthz", timeout=20, context=trusted) as answer:
        return int(answer.status)
