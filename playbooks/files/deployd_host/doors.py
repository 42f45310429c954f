"""Who is let in, and to which release, comes in; files that the web server looks for at each request go out."""

from __future__ import annotations

import os

from deployd_host.documents import Fields
from deployd_host.files import make_folder, names_in, read_bytes, remove_tree, write_file
from deployd_host.names import pin
from deployd_host.paths import LOTS, MAX_ALLOWED, MAX_PAGE
from deployd_host.places import not_started, refuse_current, require_sealed
from deployd_host.replies import bad_request
from deployd_host.words import checked, matches

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from deployd_host.calls import Call
    from deployd_host.places import Place
    from deployd_host.replies import Json


def maintenance_of(place: Place) -> Json | None:
    """Since when the app is in maintenance, and who is let in; None when it is not."""
    try:
        since = os.stat(place.maintenance + "/on").st_mtime
    except OSError:
        return None
    said = read_bytes(place.maintenance + "/allowed")
    return {
        "since": since,
        "allow": names_in(place.maintenance + "/allow") if said is None else said.decode().split(),
        "page": os.path.exists(place.maintenance + "/page.html"),
    }


def settle_special(place: Place) -> None:
    """The one file that the web server looks for, before it looks for maintenance and a canary.

    Hashed files are given out before that, through a link to the current release's; in maintenance there is none.
    """
    path = place.base + "/special"
    closed = maintenance_of(place)
    if closed:
        remove_tree(place.hashed)
    elif not os.path.lexists(place.hashed):
        os.symlink("current/.deployd/www", place.hashed)
    if closed or canary_of(place):
        write_file(path, "")
    else:
        remove_tree(path)


def end_canary(place: Place) -> None:
    """Give everybody the current release."""
    if os.path.lexists(place.canary):
        remove_tree(place.canary)
        settle_special(place)


def verb_maintenance(call: Call) -> Json:
    """Turn visitors away with 503 until it is off again, or let them in. Saying it again changes list and page."""
    place = call.place
    fields = Fields(call.document)
    wanted, allow, page = fields.get("on"), fields.get("allow", []), fields.get("page")
    fields.finish()
    if not isinstance(wanted, bool) or not isinstance(allow, list) or not (page is None or isinstance(page, str)):
        raise bad_request("'on', 'allow' or 'page' is not valid")
    if len(allow) > MAX_ALLOWED or len(page or "") > MAX_PAGE:
        raise bad_request(f"at most {MAX_ALLOWED} addresses, and a page of at most {MAX_PAGE} bytes")
    allowed = sorted({_plain_network(one) for one in allow})
    names = set(_names_of(allowed))
    place.config()
    folder = place.maintenance
    with place.locked("state"):
        before = maintenance_of(place)
        if not wanted:
            if before:
                os.unlink(folder + "/on")  # this lets visitors in; the rest is only tidied
            remove_tree(folder)
            settle_special(place)
            return {"maintenance": None, "changed": before is not None}
        make_folder(folder)
        make_folder(folder + "/allow")
        for name in names - set(names_in(folder + "/allow")):
            write_file(f"{folder}/allow/{name}", "")
        for name in set(names_in(folder + "/allow")) - names:
            remove_tree(f"{folder}/allow/{name}")
        write_file(folder + "/allowed", "\n".join(allowed))
        if page is None:
            remove_tree(folder + "/page.html")
        else:
            write_file(folder + "/page.html", page)
        if before is None:
            write_file(folder + "/on", "")
        settle_special(place)
    return {"maintenance": maintenance_of(place), "changed": before is None}


def canary_of(place: Place) -> Json | None:
    """Which release some visitors get, and how many of a hundred; None when all get the current one."""
    release = (read_bytes(place.canary + "/release") or b"").decode()
    if not matches("release", release):
        return None
    return {"release": release, "percent": round(len(names_in(place.canary + "/in")) / LOTS * 100, 1)}


def verb_canary(call: Call) -> Json:
    """Give some visitors another release that is started, or (with none) all of them the current one again.

    Who is in with few of a hundred is in with more, too. A flip ends it.
    """
    place = call.place
    fields = Fields(call.document)
    release = fields.get("release")
    percent = fields.number("percent", 0, 100, default=0)
    fields.finish()
    with place.locked("state"):
        before = canary_of(place)
        if release is None:
            end_canary(place)
            return {"canary": None, "was": before}
        checked("release", str(release))
        require_sealed(place, release)
        if not place.is_started(release):
            raise not_started(release)
        refuse_current(place, release, "a canary")
        pin(place, release)
        make_folder(place.canary)
        make_folder(place.canary + "/in")
        if before and before["release"] != release:
            os.unlink(place.canary + "/release")
        few = 1 if percent else 0  # who asks for a little does not mean none
        lots = {f"{number:02x}" for number in range(max(round(percent / 100 * LOTS), few))}
        for lot in set(names_in(place.canary + "/in")) - lots:
            remove_tree(f"{place.canary}/in/{lot}")
        for lot in lots - set(names_in(place.canary + "/in")):
            os.close(os.open(f"{place.canary}/in/{lot}", os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o644))
        write_file(place.canary + "/release", release)
        settle_special(place)
    return {"canary": canary_of(place), "was": before}


def _plain_network(text: object) -> str:
    """An IP address or a network, as the web server writes it."""
    import ipaddress

    try:
        found = ipaddress.ip_network(text if isinstance(text, str) and "%" not in text else "", strict=False)
    except ValueError as error:
        raise bad_request(f"{text!r} is no IP address and no network") from error
    return str(found.network_address if found.num_addresses == 1 else found)


def _names_of(networks: Sequence[str]) -> list[str]:
    """The names of the files that let these in."""
    from deployd_host.networks import names_of

    try:
        return names_of(networks)
    except ValueError as error:
        raise bad_request(str(error)) from error
