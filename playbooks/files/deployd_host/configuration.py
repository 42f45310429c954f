"""What an app asks of this host comes in, units and site go out; everything is checked before anything is changed."""

from __future__ import annotations

from deployd_host.addresses import addresses_of, has_site, root_path
from deployd_host.documents import Fields
from deployd_host.doors import settle_special
from deployd_host.files import make_folder, read_bytes, write_file
from deployd_host.locks import Lock
from deployd_host.paths import AUTHORITIES, MAX_INSTANCES, RUN, UNITS
from deployd_host.places import places
from deployd_host.ports import listening
from deployd_host.replies import RefusedError, bad_request
from deployd_host.units import installed_units, unit_files, write_units
from deployd_host.web import apply_web, check_web, present_sites, wanted_sites
from deployd_host.words import matches

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from deployd_host.calls import Call
    from deployd_host.places import Place
    from deployd_host.replies import Json


def read_config(value: Json) -> Json:
    """The configuration in its stored form."""
    fields = Fields(value)
    instances = fields.get("instances", 1)
    if instances != "cores":
        instances = fields.whole("instances", 1, MAX_INSTANCES, default=1)
    memory = fields.get("memory")
    config = {
        "instances": instances,
        "memory": None if memory is None else fields.whole("memory", 16 << 20, 1 << 50),
        "drain": round(fields.number("drain", 0, 86_400, default=30)) or 1,
        "domains": sorted(set(fields.texts("domains", kind="domain", most=100))),
        "port": fields.whole("port", 1, 65_535, default=80),
    }
    body = fields.get("body")
    if body is not None:  # absent for all who never asked for it, so that nobody's stored configuration changes
        config["body"] = fields.whole("body", 1, 1 << 50)
    proxies = fields.texts("proxies", kind="network", most=100)
    if proxies:
        config["proxies"] = sorted({_network(text) for text in proxies})
    fields.get("cores")
    _read_sites(fields, config)
    preview = fields.get("preview")
    if preview is not None:
        shown_at = Fields(preview)
        config["preview"] = {"domain": shown_at.text("domain", kind="domain", longest=150)}
        if shown_at.get("password") is not None:
            config["preview"]["password"] = shown_at.text("password", kind="bcrypt")
        shown_at.finish()
        if config["preview"]["domain"].startswith("*"):
            raise bad_request("'preview' has no domain of its own")
    fields.finish()
    return config


def _network(text: str) -> str:
    import ipaddress

    try:
        return str(ipaddress.ip_network(text, strict=False))
    except ValueError:
        raise bad_request(f"{text!r} is no network") from None


def _read_sites(fields: Fields, config: Json) -> None:
    """Redirects and https; absent for all who never asked for them."""
    redirects = fields.get("redirects", {})
    if not isinstance(redirects, dict) or len(redirects) > 100 or not _all_domains([*redirects, *redirects.values()]):
        raise bad_request("'redirects' is not a table of domains")
    if set(redirects) & set(config["domains"]) or any(target.startswith("*") for target in redirects.values()):
        raise bad_request("'redirects' is at odds with 'domains'")
    if redirects:
        config["redirects"] = dict(sorted(redirects.items()))
    tls = fields.get("tls")
    acme = Fields(fields.get("acme", {}))
    hsts = fields.whole("hsts", 0, 1 << 40, default=0)
    if tls is None:
        return
    if tls not in ("acme", "internal", "files") or not config["domains"] or config["port"] != 80:
        raise bad_request("'tls' is not one of acme, internal and files, or there are no domains, or another port")
    config["tls"] = tls
    if hsts:
        config["hsts"] = hsts
    kinds = {"email": ("email", 254), "directory": ("https url", 1000), "root": ("pem", 100_000)}
    asked = {name: acme.text(name, kind=kind, longest=most) for name, (kind, most) in kinds.items() if acme.get(name)}
    acme.finish()
    if asked:
        config["acme"] = asked


def _all_domains(values: Sequence[object]) -> bool:
    return all(matches("domain", value) for value in values)


def require_free_address(place: Place, config: Json) -> None:
    """Refuse a domain, or a port's catch-all, that another app has; and a port that another program has."""
    others = [(other, other.state()["config"]) for other in places() if other.name != place.name]
    wanted = addresses_of(config) if has_site(place, config) else set()
    for other, theirs in others:
        taken = wanted & addresses_of(theirs) if theirs and has_site(other, theirs) else set()
        if taken:
            port, name = min(taken)
            what = f"the domain {name}" if name else f"port {port} without a domain"
            raise RefusedError(
                "domain-taken",
                f"{what} belongs to {other.app} {other.environment} on this host",
                fix="give each app domains of its own in deployd.toml (`domains = [...]`), or another port",
                details={"app": other.app, "environment": other.environment},
            )
    ours = {80} | {theirs["port"] for _, theirs in others if theirs}
    before = place.state()["config"] or {}
    port = config["port"]
    if port not in ours and port != before.get("port") and listening(port):
        raise RefusedError(
            "port-taken",
            f"another program on this host listens on port {port}",
            fix="choose another `port` in deployd.toml, or stop that program (`ss -ltnp` names it)",
        )


def verb_configure(call: Call) -> Json:
    """Bring units and site to what the app asks; with --check only say what would change."""
    place = call.place
    config = read_config(call.document)
    with Lock(f"{RUN}/locks/web"):
        require_free_address(place, config)
        units = unit_files(place, config)
        sites = wanted_sites(place, config)
        changed = []
        if any(read_bytes(f"{UNITS}/{name}") != text.encode() for name, text in units.items()) or set(units) != set(
            installed_units(place)
        ):
            changed.append("units")
        if sites != present_sites():
            changed.append("site")
        if "--check" in call.options:
            return {"changed": changed}
        if "root" in config.get("acme", {}):
            make_folder(AUTHORITIES)
            write_file(root_path(config["acme"]["root"]), config["acme"]["root"])
        if "site" in changed:
            check_web(sites)
        place.make()
        if "units" in changed:
            write_units(place, units)
        before = place.state()["config"] or {}
        with place.locked("state"):
            state = place.state()
            if state["config"] != config:
                state["config"] = config
                place.save(state)
            settle_special(place)
        if "site" in changed:
            apply_web(sites, how="restart" if asks_another(before, config) else "reload-or-restart")
    return {"changed": changed}


def asks_another(before: Json, config: Json) -> bool:
    """Whether another authority is asked from now on: a reload would keep the certificate of the one before."""
    first, then = (one.get("acme", {}).get("directory") for one in (before, config))
    return before.get("tls") == "acme" and (config.get("tls") == "internal" or first != then)
