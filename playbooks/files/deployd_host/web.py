"""Site files come in, a web server that has loaded them goes out, or the one as it was before."""

from __future__ import annotations

import os

from deployd_host.addresses import certificate_of, has_site, lacking_of, names_of
from deployd_host.files import make_folder, names_in, read_bytes, remove_tree, write_file
from deployd_host.paths import BASE, CADDY, WEB_CONFIG
from deployd_host.places import places
from deployd_host.previews import previews_file
from deployd_host.programs import run, systemctl
from deployd_host.replies import RefusedError
from deployd_host.requestlog import LOGS
from deployd_host.reserve import keep_reserve
from deployd_host.site import site_file
from deployd_host.webmain import WEB_ASK, WEB_DEFAULT, WEB_DEFAULT_PLAIN, WEB_MAIN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from deployd_host.calls import Call
    from deployd_host.places import Place
    from deployd_host.replies import Json


def caddy_program() -> str | None:
    """The pinned web server, or None where there is none."""
    path = CADDY or BASE + "/web/current/caddy"
    return path if os.path.exists(path) else None


def site_path(place: Place) -> str:
    """The app's site file."""
    return f"{WEB_CONFIG}/sites/{place.name}.caddy"


def wanted_sites(place: Place | None, config: Json | None) -> dict[str, str]:
    """All site files as they ought to be, with this app's as `config` says (None: taken away)."""
    sites: dict[str, str] = {}
    configs = {other.name: (other, other.state()["config"]) for other in places()}
    if place:
        configs[place.name] = (place, config)
    present = {name: (other, one) for name, (other, one) in configs.items() if one}
    previews = sorted({one["preview"]["domain"] for _, one in present.values() if one.get("preview")})
    for app in {other.app for other, one in present.values() if one.get("preview")}:
        sites[f"{app}.previews.caddy"] = previews_file(
            [(other, one) for other, one in present.values() if other.app == app and one.get("preview")]
        )
    for name, (other, one) in configs.items():
        if one:
            lacking = lacking_of(other, names_of(one)) if one.get("tls") == "files" else []
            sites[name + ".caddy"] = site_file(other, one, certificate_of(other), previews, lacking)
    has_all = any(one["port"] == 80 and not one["domains"] and has_site(other, one) for other, one in present.values())
    sites["default.caddy"] = WEB_DEFAULT + ("" if has_all else WEB_DEFAULT_PLAIN) + WEB_ASK
    return sites


def present_sites() -> dict[str, str]:
    """All site files that are there."""
    folder = WEB_CONFIG + "/sites"
    found = {name: read_bytes(f"{folder}/{name}") for name in names_in(folder) if name.endswith(".caddy")}
    return {name: data.decode(errors="replace") for name, data in found.items() if data is not None}


def check_web(sites: Mapping[str, str]) -> None:
    """Let Caddy itself read the configuration that is about to be; refuses what it refuses."""
    program = caddy_program()
    if program is None:
        raise RefusedError("web-missing", "this host has no web server of deployd's", fix="bootstrap the host again")
    aside = f"{WEB_CONFIG}/.check-{os.getpid()}"
    make_folder(aside + "/sites", mode=0o700)
    try:
        write_file(aside + "/Caddyfile", WEB_MAIN)
        for name, text in sites.items():
            # who only reads a configuration opens its logs too, and these are the web server's own
            write_file(f"{aside}/sites/{name}", text.replace(LOGS, aside + "/requests"))
        done = run([program, "validate", "--adapter", "caddyfile", "--config", aside + "/Caddyfile"], home=aside)
    finally:
        remove_tree(aside)
    if done.code != 0:
        raise RefusedError(
            "web-refused",
            "the web server refuses the new configuration; the old one goes on",
            fix="look at domains and port in deployd.toml, and at the details",
            details=done.error[-2000:],
        )


def apply_web(sites: Mapping[str, str], *, how: str = "reload-or-restart") -> bool:
    """Write the web server's files and make it load them; False if nothing changed. They are checked already."""
    folder = WEB_CONFIG + "/sites"
    make_folder(folder)
    before = present_sites()
    main_before = read_bytes(WEB_CONFIG + "/Caddyfile")
    if before == sites and main_before == WEB_MAIN.encode():
        return False
    _write_sites(WEB_MAIN, sites)
    problem = reload_web(how)
    if problem:
        _write_sites(main_before.decode() if main_before else WEB_MAIN, before)
        raise RefusedError(
            "web-reload-failed",
            "the web server did not load the new configuration; the old one goes on",
            fix="see `journalctl -u deployd-web` on the host",
            details=problem[-2000:],
        )
    return True


def _write_sites(main_text: str, sites: Mapping[str, str]) -> None:
    folder = WEB_CONFIG + "/sites"
    write_file(WEB_CONFIG + "/Caddyfile", main_text)
    for name, text in sites.items():
        write_file(f"{folder}/{name}", text)
    for name in present_sites():
        if name not in sites:
            os.unlink(f"{folder}/{name}")


def reload_web(how: str) -> str | None:
    """Load the configuration; returns what went wrong. It is a new web server beside the one before: deployd_web."""
    done = systemctl(how, "deployd-web.service")
    return None if done.code == 0 else done.error or f"systemctl exited with {done.code}"


def verb_web_setup(_call: Call) -> Json:
    """Write the web server's configuration as it ought to be, and load it if it changed."""
    keep_reserve()
    sites = wanted_sites(None, None)
    changed = present_sites() != sites or read_bytes(WEB_CONFIG + "/Caddyfile") != WEB_MAIN.encode()
    if changed:
        check_web(sites)
        apply_web(sites, how="try-reload-or-restart")
    return {"changed": ["site"] if changed else []}
