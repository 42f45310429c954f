"""An app's names come in; which certificates its web server got from an authority, and why it got none, go out."""

from __future__ import annotations

import re

from deployd_host.files import read_bytes
from deployd_host.paths import ROOT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from deployd_host.replies import Json

STORE = ROOT + "/var/lib/deployd-web/caddy/certificates"
_LETS_ENCRYPT = "https://acme-v02.api.letsencrypt.org/directory"
# From when until when a certificate is good, as DER has it: two times of 13 or 15 letters, one after the other.
_TIME = rb"(?:\x17\x0d([0-9]{12}Z)|\x18\x0f([0-9]{14}Z))"
_SPAN = re.compile(rb"\x30[\x1e-\x22]" + _TIME + _TIME)
_LINES = 2000  # of the web server's journal


def folder_of(config: Json) -> str:
    """Where the web server keeps what this authority gave it; the name is made as Caddy makes it."""
    directory = config.get("acme", {}).get("directory", _LETS_ENCRYPT).lower()
    host, _, path = re.sub(r"^[a-z]+://", "", directory).partition("/")
    path = re.split(r"[?#]", path)[0].replace("/", "-").strip("-")
    key = (f"{host}-{path}" if path else host).replace(" ", "_").replace("+", "_plus_").replace(":", "-")
    return f"{STORE}/{re.sub(r'[^a-z0-9_@.-]', '', key.replace('*', 'wildcard_').replace('..', ''))}"


def file_of(name: str) -> str:
    """Where a name's certificate is below that folder."""
    key = name.replace("*", "wildcard_")
    return f"/{key}/{key}.crt"


def span_of(chain: bytes) -> tuple[float, float] | None:
    """From when until when (epoch seconds) the first certificate of a PEM chain is good."""
    import base64
    import calendar
    import time

    found = re.search(rb"-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END", chain)
    try:
        times = _SPAN.search(base64.b64decode(found[1])) if found else None
    except ValueError:
        return None
    if times is None:
        return None

    def moment(short: bytes | None, long: bytes | None) -> float:
        text = long.decode() if long else ("19" if (short or b"") >= b"50" else "20") + (short or b"").decode()
        return float(calendar.timegm(time.strptime(text, "%Y%m%d%H%M%SZ")))

    return moment(times[1], times[2]), moment(times[3], times[4])


def state_of(config: Json, names: Sequence[str]) -> Json:
    """`since` and `until` of the certificate that ends first (None: there is none), and which names have none."""
    folder = folder_of(config)
    spans = {name: span_of(read_bytes(folder + file_of(name)) or b"") for name in names}
    first = min((span for span in spans.values() if span), key=lambda span: span[1], default=(None, None))
    return {"since": first[0], "until": first[1], "missing": [name for name, span in spans.items() if span is None]}


def why_not(name: str) -> str | None:
    """What the web server's journal says of its last try to get this name's certificate."""
    import json

    from deployd_host.paths import JOURNALCTL
    from deployd_host.programs import run

    argv = [JOURNALCTL, "--no-pager", "--quiet", "--output=cat", f"--lines={_LINES}", "--unit=deployd-web.service"]
    for line in reversed(run(argv, timeout=10).out.splitlines()):
        if '"could not get certificate from issuer"' in line:
            try:
                told = json.loads(line)
            except ValueError:
                continue
            if told.get("identifier") == name:
                return str(told.get("error"))[:500]
    return None
