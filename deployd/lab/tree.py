"""The base tree: a suite's name comes in, a cached Debian tree that the hosts' overlays stand on comes out.

A recipe is hashed; its tree is `trees/<hash>/root`, built aside and renamed, never changed afterwards. Callers hold the
lab's global lock, so one tree is built once.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import TYPE_CHECKING

from deployd import process
from deployd.errors import CommandError
from deployd.lab import commands

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Collection
    from pathlib import Path

SUITE = "bookworm"
SUITES = ("bookworm", "trixie")
# What a cloud image of a bare server has, as far as deployd can tell the difference.
INSTALLED = (
    "systemd-sysv", "libpam-systemd", "dbus", "openssh-server", "python3", "iproute2", "procps", "e2fsprogs",
)  # fmt: skip
# What `apt-get install` finds inside, with all that these need: the playbook's packages, and what people look for.
OFFERED = (
    "rsync", "sudo", "acl", "attr", "ca-certificates", "python3-apt", "curl", "zstd", "xz-utils", "libcap2-bin",
    "logrotate", "jq", "nftables", "strace", "bubblewrap", "git",
)  # fmt: skip
# They would wake up in the middle of a test, take apt's lock, or draw a login prompt on a console that nobody sees.
MASKED = (
    "apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer", "e2scrub_reap.service",
    "fstrim.timer", "console-getty.service", "getty@tty1.service", "systemd-pstore.service",
)  # fmt: skip
POOL = "var/local/apt"
_FILES = {
    "etc/hosts": "127.0.0.1 localhost\n::1 localhost ip6-localhost\n",
    "etc/resolv.conf": "",
    "etc/default/locale": "LANG=C.UTF-8\n",
    "etc/apt/sources.list": f"deb [trusted=yes] file:/{POOL} ./\n",
    "etc/apt/apt.conf.d/90lab": 'Acquire::Languages "none";\n',
    "etc/dpkg/dpkg.cfg.d/90lab": "force-unsafe-io\n",
    "etc/systemd/journald.conf.d/lab.conf": "[Journal]\nSystemMaxUse=32M\nRuntimeMaxUse=16M\n",
}
_REMOVED = (
    "etc/ssh/ssh_host_*", "etc/apt/apt.conf.d/99mmdebstrap", "etc/dpkg/dpkg.cfg.d/99mmdebstrap", "etc/hostname",
    "etc/apt/sources.list.d/*", "var/log/*.log", "var/log/apt/*", "var/cache/apt/*.bin", "var/lib/apt/lists/*_*",
)  # fmt: skip
# Runs on this machine, once the tree stands: apt's own resolver says what the offered packages still need.
_HOOK = (
    'set -eu; export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"; '
    "apt-get --yes --no-install-recommends --download-only install {offered}; "
    'mkdir -p "$1/{pool}"; mv "$1"/var/cache/apt/archives/*.deb "$1/{pool}/"'
)
_VERSION = 1
_FIELDS = (
    "Package", "Version", "Architecture", "Multi-Arch", "Priority", "Section", "Essential", "Provides", "Depends",
    "Pre-Depends", "Recommends", "Conflicts", "Breaks", "Replaces", "Installed-Size", "Maintainer", "Description",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Trees:
    """The folder of trees."""

    folder: Path

    def root(self, name: str) -> Path:
        """The file tree of the tree `name`."""
        return self.folder / name / "root"

    def sweep(self) -> None:
        """Remove what a killed build left."""
        for left in self.folder.glob(".*"):
            shutil.rmtree(left, ignore_errors=True)

    def prune(self, keep: Collection[str]) -> None:
        """Remove every tree that is not in `keep`."""
        for tree in self.folder.glob("*"):
            if tree.name not in keep:
                aside = tree.with_name(f".old-{tree.name}")
                tree.rename(aside)
                shutil.rmtree(aside)

    def ensure(self, suite: str, *, report: Callable[[str], None], cancel: threading.Event) -> str:
        """The name of the suite's tree, built now if it is not there."""
        name = recipe_name(suite)
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o755)
        self.sweep()
        if (self.folder / name).is_dir():
            return name
        report(f"building the base tree, Debian {suite} (once; later labs start from it)")
        building = self.folder / f".building-{os.getpid()}"
        try:
            building.mkdir(mode=0o755)
            seconds = _build(building / "root", suite=suite, report=report, cancel=cancel)
            building.rename(self.folder / name)
        finally:
            shutil.rmtree(building, ignore_errors=True)
        report(f"base tree built in {seconds:.0f} s")
        return name


def recipe_name(suite: str) -> str:
    """The recipe of a suite's tree as a name: changes with all that goes into the tree, except what the archive has."""
    recipe = [_VERSION, suite, platform.machine(), INSTALLED, OFFERED, MASKED, POOL, _FILES, _REMOVED, _HOOK]
    return f"{suite}-{hashlib.sha256(json.dumps(recipe).encode()).hexdigest()[:16]}"


def _build(root: Path, *, suite: str, report: Callable[[str], None], cancel: threading.Event) -> float:
    argv = commands.mmdebstrap(
        suite=suite,
        root=root,
        include=INSTALLED,
        hook=_HOOK.format(offered=" ".join(OFFERED), pool=POOL),
        sources=_sources(suite),
        apt_options=_proxies(),
    )
    proxies = {key: value for key, value in os.environ.items() if key.lower().endswith("_proxy")}

    def tell(line: str) -> None:
        if line.startswith("I: "):
            report(f"  {line[3:]}")

    own = root.with_name("tmp")  # what it leaves there when it is killed goes with all of this
    own.mkdir()
    env = {**proxies, "TMPDIR": str(own)}
    done = process.run(argv, env=env, timeout=1800, check=False, on_line=tell, cancel=cancel)
    if done.returncode != 0:
        raise CommandError(
            f"mmdebstrap could not make the Debian {suite} tree (exit {done.returncode})",
            code="lab-tree-failed",
            details="\n".join(done.error_text.splitlines()[-20:]),
            fix="see that `apt-get update` works on this machine, then run `deployd lab up` again",
        )
    shutil.rmtree(own)
    furnish(root)
    return done.seconds


def furnish(root: Path) -> None:
    """Make the tree a bare server without a network: one apt source, inside; nothing that wakes up by itself."""
    for pattern in _REMOVED:
        for path in root.glob(pattern):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
    for name, text in _FILES.items():
        path = root / name
        _make_folder(path.parent)
        path.unlink(missing_ok=True)
        _write(path, text)
    for unit in MASKED:
        path = root / "etc/systemd/system" / unit
        path.unlink(missing_ok=True)
        path.symlink_to("/dev/null")
    for wanted in root.glob("etc/systemd/system/*.wants/*"):
        if wanted.name in MASKED:
            wanted.unlink()
    index(root / POOL)


def index(pool: Path) -> None:
    """Write `Packages` and `Release` beside the .deb files, so that apt takes the folder for an archive."""
    stanzas = []
    for deb in sorted(pool.glob("*.deb")):
        deb.chmod(0o644)
        fields = process.run(["dpkg-deb", "--field", str(deb), *_FIELDS]).text.rstrip("\n")
        digest = hashlib.sha256(deb.read_bytes()).hexdigest()
        stanzas.append(f"{fields}\nFilename: ./{deb.name}\nSize: {deb.stat().st_size}\nSHA256: {digest}\n")
    packages = "\n".join(stanzas)
    _write(pool / "Packages", packages)
    digest = hashlib.sha256(packages.encode()).hexdigest()
    date = format_datetime(datetime.now(UTC), usegmt=True)
    _write(pool / "Release", f"Suite: lab\nDate: {date}\nSHA256:\n {digest} {len(packages.encode())} Packages\n")
    pool.chmod(0o755)


def _make_folder(path: Path) -> None:
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(0o755)


def _write(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o644)


def _sources(suite: str) -> list[str]:
    """This machine's own apt sources for that suite, so that its mirror is used; none lets mmdebstrap choose."""
    listing = process.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)", "Created-By: Packages"],
        check=False,
    )
    wanted = {suite, f"{suite}-updates", f"{suite}-security"}
    found = [line.split() for line in listing.text.splitlines()]
    lines = [f"deb {uri} {release} main" for uri, release, part in found if release in wanted and part == "main"]
    return sorted(set(lines)) if any(f" {suite} " in line for line in lines) else []


def _proxies() -> list[str]:
    dump = process.run(["apt-config", "dump", "--format", "%f %v%n", "Acquire"], check=False)
    pairs = [line.partition(" ")[::2] for line in dump.text.splitlines()]
    return [f'{key} "{value}"' for key, value in pairs if key.lower().endswith("::proxy") and value]
