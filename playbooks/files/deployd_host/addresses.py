"""An app's configuration comes in, the addresses that visitors use go out, with how each gets its certificate."""

from __future__ import annotations

import os

from deployd_host.obtained import file_of, folder_of
from deployd_host.paths import AUTHORITIES, CERTIFICATES, PREVIEWS, WEB_RUN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from deployd_host.places import Place
    from deployd_host.replies import Json


def probe_name(place: Place) -> str:
    """The socket at which the web server answers root's probes of a release that is not current, by its name."""
    return f"probe-{place.name}.sock"


def probe_socket(place: Place) -> str:
    """Where that socket is."""
    return f"{WEB_RUN}/{probe_name(place)}"


def outer_blocks(place: Place, config: Json, certificate: str | None, lacking: Sequence[str] = ()) -> str:
    """The addresses that visitors use: what is served as the app, what leads elsewhere, and over what.

    With https, what comes over http is sent there by 308; only a load balancer's question is answered at once. As long
    as a name has no certificate of an authority yet, http is answered: a permanent redirect would lead into nothing.
    `lacking` are names that the certificate which deployd brought is not good for: the host's own authority gives one.
    """
    app = _app(place)
    port, names, redirects = config["port"], config["domains"], config.get("redirects", {})
    if not config.get("tls"):
        where = "" if port == 80 else f":{port}"
        bind = "\timport plain\n\timport answers\n" if port == 80 else ""
        served = [f"http://{name}{where}" for name in names] or [f"http://{where}"]
        asked = "\timport plain\n" + _app(place, answers="\t\timport answers\n") if port == 80 else app
        blocks = [site_block(served, asked)]
        for name, target in sorted(redirects.items()):
            leads = f"{bind}\timport ending\n\theader -Server\n{leads_to(f'http://{target}{where}')}"
            blocks.append(site_block([f"http://{name}{where}"], leads))
        return "\n".join(blocks)
    with_tls = {
        one: f"\timport secure\n{tls_lines(place, config, one)}{hsts_line(config)}" for one in (certificate, None)
    }
    plain = "\timport plain\n\timport ending\n\timport answers\n\theader -Server\n"
    inner = f"\t\timport {place.name}-visitors\n\t\timport {place.name}-app\n"
    early = f"{_uncertified(config, certificate, names, lacking)}\t@early vars early yes\n"
    early += "\t@balancer path /.deployd/health\n"
    answered = f"\thandle @early {{\n{inner}\t}}\n\thandle @balancer {{\n{inner}\t}}\n"
    shown = f"\timport errors {place.releases}/{{vars.rel}}/.error-pages\n"
    blocks = []
    for having in dict.fromkeys((certificate, None)):
        some = [f"https://{name}" for name in names if having == (None if name in lacking else certificate)]
        if some:
            blocks.append(site_block(some, f"{with_tls[having]}{app}"))
    blocks.append(
        site_block(
            [f"http://{name}" for name in names],
            f"{shown}{plain}\troute {{\n{early}{answered}{leads_to('https://{host}')}\t}}\n",
        )
    )
    for name, target in sorted(redirects.items()):
        leads = leads_to(f"https://{target}")
        secure = with_tls[None if name in lacking else certificate]
        blocks.append(site_block([f"https://{name}"], f"{secure}\timport ending\n\theader -Server\n{leads}"))
        first = f"{_uncertified(config, certificate, [target], lacking, always=True)}\t@early vars early yes\n"
        first += f"\tredir @early http://{target}{{uri}} 307\n"
        blocks.append(site_block([f"http://{name}"], f"{plain}\troute {{\n{first}{leads}\t}}\n"))
    return "\n".join(blocks)


def _uncertified(
    config: Json, certificate: str | None, names: Sequence[str], lacking: Sequence[str], *, always: bool = False
) -> str:
    """What sets `vars.early` for a name that has no certificate of an authority yet (`always`: whatever is asked)."""
    if config["tls"] == "files":
        without = [name for name in names if name in lacking]
        if certificate is None or len(without) == len(names):
            return "\tvars early yes\n"
        return f"\t@lacks host {' '.join(without)}\n\tvars @lacks early yes\n" if without else ""
    if config["tls"] != "acme":
        return ""
    lines = []
    for number, name in enumerate(names):
        asked = "" if always else f"\t\thost {name}\n"
        look = f"\t\tnot file {{\n\t\t\troot {folder_of(config)}\n\t\t\ttry_files {file_of(name)}\n\t\t}}\n"
        lines.append(f"\t@lacks{number} {{\n{asked}{look}\t}}\n\tvars @lacks{number} early yes\n")
    return "".join(lines)


def _app(place: Place, *, answers: str = "") -> str:
    """What visitors get, in the order in which it is decided: hashed files before everything that costs time."""
    name = place.name
    return f"""\
	import {name}-log
	import errors {place.releases}/{{vars.rel}}/.error-pages
	route {{
		import ending
		import {name}-fastest
		header -Server
{answers}\
		import {name}-counted
		import {name}-visitors
		import {name}-app
	}}
"""


def site_block(addresses: Sequence[str], inner: str) -> str:
    """What is answered at these addresses."""
    return f"{', '.join(addresses)} {{\n{inner}}}\n"


def leads_to(target: str) -> str:
    """Every request goes to the same path there, for good."""
    return f"\thandle {{\n\t\tredir {target}{{uri}} 308\n\t}}\n"


def hsts_line(config: Json) -> str:
    """For how long browsers are to take nothing but https; an app's own word wins."""
    return f'\theader ?Strict-Transport-Security "max-age={config["hsts"]}"\n' if config.get("hsts") else ""


def tls_lines(place: Place, config: Json, certificate: str | None) -> str:
    """How a site gets its certificate. Until deployd has brought one, the host's own authority makes one."""
    if config["tls"] == "files" and certificate:
        folder = certificate_folder(place)
        return f"\ttls {folder}/{certificate}.crt {folder}/{certificate}.key\n"
    if config["tls"] != "acme":
        return "\ttls internal\n"
    acme = config.get("acme", {})
    lines = [f"dir {acme['directory']}"] if "directory" in acme else []
    lines += [f"email {acme['email']}"] if "email" in acme else []
    lines += [f"trusted_roots {root_path(acme['root'])}"] if "root" in acme else []
    inner = "".join(f"\t\t\t{line}\n" for line in lines)
    return f"\ttls {{\n\t\tissuer acme {{\n{inner}\t\t}}\n\t}}\n"


def root_path(text: str) -> str:
    """Where the certificate is kept that an authority's own address is checked with."""
    import hashlib

    return f"{AUTHORITIES}/{hashlib.sha256(text.encode()).hexdigest()[:16]}.pem"


def certificate_folder(place: Place) -> str:
    """Where the certificates are that deployd brought for this app."""
    return f"{CERTIFICATES}/{place.name}"


def certificate_of(place: Place) -> str | None:
    """The name of the certificate that deployd brought last, if it is there."""
    kept = place.state().get("certificate")
    name = kept["name"] if kept else ""
    return name if name and os.path.exists(f"{certificate_folder(place)}/{name}.key") else None


def lacking_of(place: Place, names: Sequence[str]) -> list[str]:
    """The names that the certificate which deployd brought is not good for; none while there is no certificate."""
    kept = place.state().get("certificate")
    good = {str(one).lower() for one in kept["names"]} if kept else set(names)
    return [name for name in names if not {name, "*." + name.partition(".")[2]} & good]


def names_of(config: Json) -> list[str]:
    """Every name of an app's: those it answers, and those that lead to them."""
    return sorted({*config["domains"], *config.get("redirects", {})})


def addresses_of(config: Json) -> set[tuple[int, str]]:
    """Every port and name that an app has; the name "" is all that nobody else has."""
    ports = (80, 443) if config.get("tls") else (config["port"],)
    return {(port, name) for port in ports for name in names_of(config) or [""]}


def has_site(place: Place, config: Json) -> bool:
    """Whether the app has an address besides those of its releases. Pull requests' need none, so they share a host.

    `preview` may have domains of its own; `fork` has the options of `preview`, and not its domains.
    """
    if not config.get("preview") or place.environment not in PREVIEWS:
        return True
    return place.environment != "fork" and bool(config["domains"])
