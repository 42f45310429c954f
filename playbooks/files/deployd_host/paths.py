"""Where everything is on a host, whose it is, and the limits that hold there."""

from __future__ import annotations

import os

PROTOCOL = 1
SELF = "/usr/local/sbin/deployd-host"
DEPLOY_USER = "deployd"
WEB_GROUP = "caddy"

# Tests put every path below one folder and replace programs; never through the key, where sshd or sudo set these.
_TESTED = not ("SUDO_USER" in os.environ or "SSH_CONNECTION" in os.environ)
ROOT = os.environ.get("DEPLOYD_HOST_ROOT", "").rstrip("/") if _TESTED else ""
SYSTEMCTL = (os.environ.get("DEPLOYD_HOST_SYSTEMCTL") if _TESTED else None) or "/usr/bin/systemctl"
JOURNALCTL = (os.environ.get("DEPLOYD_HOST_JOURNALCTL") if _TESTED else None) or "/usr/bin/journalctl"
WEB_PORT = int((os.environ.get("DEPLOYD_HOST_WEB_PORT") if _TESTED else None) or 80)
WEB_WITHIN = float((os.environ.get("DEPLOYD_HOST_WEB_WITHIN") if _TESTED else None) or 10)  # it may just be starting
CADDY = os.environ.get("DEPLOYD_HOST_CADDY") if _TESTED else None
FAKE_DISK_FREE = os.environ.get("DEPLOYD_HOST_DISK_FREE") if _TESTED else None

BASE = ROOT + "/srv/deployd"
RUN = ROOT + "/run/deployd"
WEB_CONFIG = ROOT + "/etc/deployd/web"
WEB_RUN = ROOT + "/run/deployd-web"
WEB_OWN = "{$DEPLOYD_WEB_RUN:" + WEB_RUN + "}"  # one Caddy's own folder, when one takes over from another
DRAINED = BASE + "/drained"
ANSWERS = WEB_CONFIG + "/answers"
AUTHORITIES = WEB_CONFIG + "/authorities"
CERTIFICATES = WEB_CONFIG + "/certificates"
ASK_ADDRESS = "127.8.4.43"  # the loopback, at an address that nothing else uses: no port of its own is needed
UNITS = ROOT + "/etc/systemd/system"
CACHES = (ROOT + "/var/cache/deployd", ROOT + "/var/cache/private/deployd")

EXIT_FAILED = 1
EXIT_REFUSED = 126
MAX_DOCUMENT = 64 * 1024 * 1024
MAX_ENTRIES = 200_000
DISK_RESERVE = 64 * 1024 * 1024
MAX_VARIABLE = 120_000  # the kernel's limit for one string is 128 KiB
MANY_TO_SYNC = 64
IDLE_SECONDS = 900
RUNTIME_GRACE = 86_400
LOG_TAIL = 20
MAX_INSTANCES = 64
LONGEST_LABEL = 63  # of one word in a domain name
MAX_ALLOWED = 200  # addresses that are let in during maintenance
MAX_PAGE = 2_000_000
PREVIEWS = ("preview", "fork")  # the environments of pull requests
LOTS = 256  # into which visitors are divided while a canary is on
MAINTENANCE_RETRY = 60  # seconds after which a visitor, or a search engine, may try again
WRITABLE_NAMES = ("cache", "route-cache")  # the units make these two
SEEDED_NAMES = ("server-app", "server-pages")  # the units mount these two
# What is loaded and never written; all else in a seeded folder is pages and data, which each release has a copy of.
CODE_SUFFIXES = (b".js", b".cjs", b".mjs", b".node", b".wasm", b".map", b".nft.json")
SHIM = b".deployd/listen.cjs"
