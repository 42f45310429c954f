"""Certificates and answers to an authority's questions come in, what visitors are shown goes out."""

from __future__ import annotations

import os
import time

from deployd_host.addresses import certificate_folder, certificate_of, names_of
from deployd_host.documents import Fields
from deployd_host.files import make_folder, names_in, write_file
from deployd_host.locks import Lock
from deployd_host.obtained import why_not
from deployd_host.paths import ANSWERS, CERTIFICATES, RUN, WEB_GROUP
from deployd_host.replies import RefusedError
from deployd_host.web import apply_web, check_web, present_sites, wanted_sites

TYPE_CHECKING = False
if TYPE_CHECKING:
    from deployd_host.calls import Call
    from deployd_host.places import Place
    from deployd_host.replies import Json


def verb_certificate(call: Call) -> Json:
    """Keep a certificate and its key, and serve it if the app is configured so; the one before goes."""
    import hashlib

    place = call.place
    fields = Fields(call.document)
    chain, key = fields.text("chain", kind="pem", longest=200_000), fields.text("key", kind="pem", longest=50_000)
    names = fields.texts("names", kind="domain", most=200)
    since, until = fields.number("since", 0, 1e11), fields.number("until", 0, 1e11)
    fields.finish()
    name = hashlib.sha256(f"{chain}\n{key}".encode()).hexdigest()[:16]
    folder = certificate_folder(place)
    with Lock(f"{RUN}/locks/web"):
        if certificate_of(place) == name:
            return {"changed": []}
        _make_secret_folder(CERTIFICATES)
        _make_secret_folder(folder)
        write_secret(f"{folder}/{name}.crt", chain)
        write_secret(f"{folder}/{name}.key", key)
        _check_pair(f"{folder}/{name}.crt", f"{folder}/{name}.key")
        place.make()
        before = _keep_certificate(place, {"name": name, "names": names, "since": since, "until": until})
        config = place.state()["config"]
        sites = wanted_sites(None, None)
        if config and config.get("tls") == "files" and sites != present_sites():
            try:
                check_web(sites)
                apply_web(sites)
            except RefusedError:
                _keep_certificate(place, before)
                raise
        for other in names_in(folder):
            if other.partition(".")[0] != name:
                os.unlink(f"{folder}/{other}")
    return {"changed": ["certificate"]}


def _keep_certificate(place: Place, kept: Json | None) -> Json | None:
    """Note in the state which certificate is served; returns which was."""
    with place.locked("state"):
        state = place.state()
        before = state.get("certificate")
        state["certificate"] = kept
        place.save(state)
    return before


def _make_secret_folder(path: str) -> None:
    make_folder(path, mode=0o750)
    os.chown(path, 0, _web_gid())


def write_secret(path: str, text: str) -> None:
    """A file for root and the web server only."""
    write_file(path, text, mode=0o600)
    os.chown(path, 0, _web_gid())
    os.chmod(path, 0o640)


def _web_gid() -> int:
    import grp

    try:
        return grp.getgrnam(WEB_GROUP).gr_gid
    except KeyError:
        return 0


def _check_pair(chain: str, key: str) -> None:
    """Refuse a key that is not the certificate's. (Names and times are checked where it comes from.)"""
    import ssl

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(chain, key)
    except (ssl.SSLError, OSError) as error:
        os.unlink(chain)
        os.unlink(key)
        raise RefusedError(
            "certificate-refused",
            "the certificate and the key do not belong together, or are damaged",
            fix="give both files anew; the web server goes on with what it had",
            details=str(error)[:500],
        ) from error


def verb_answer(call: Call) -> Json:
    """Answer an authority's question for a token; without a text no longer. Old answers go by themselves."""
    fields = Fields(call.document)
    text = fields.text("text", kind="acme answer") if call.document else None
    fields.finish()
    with Lock(f"{RUN}/locks/web"):
        make_folder(ANSWERS)
        for name in names_in(ANSWERS):
            path = f"{ANSWERS}/{name}"
            if (name == call.values["token"] + ".txt" and text is None) or time.time() - os.lstat(path).st_mtime > 3600:
                os.unlink(path)
        if text is not None:
            write_file(f"{ANSWERS}/{call.values['token']}.txt", text)
    return {"answered": text is not None}


def verb_served(call: Call) -> Json:
    """What the web server shows for each of the app's names, asked as a visitor would."""
    import base64

    config = call.place.state()["config"] or {"domains": []}
    found: list[Json] = []
    for name in names_of(config) if config.get("tls") else []:
        try:
            shown = shown_certificate(f"deployd-check{name[1:]}" if name.startswith("*") else name)
            found.append({"name": name, "certificate": base64.b64encode(shown).decode()})
        except OSError as error:
            why = why_not(name) if config["tls"] == "acme" else None
            found.append({"name": name, "error": why or str(error)[:300] or type(error).__name__})
    return {"names": found}


def shown_certificate(name: str) -> bytes:
    """The certificate that is shown to who asks for this name, in DER. Raises OSError."""
    import socket
    import ssl

    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with (
        socket.create_connection(("127.0.0.1", 443), timeout=5) as connection,
        context.wrap_socket(connection, server_hostname=name) as secured,
    ):
        return secured.getpeercert(binary_form=True) or b""
