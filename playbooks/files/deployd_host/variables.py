"""A release's variables come in, a file for systemd that only root reads goes out."""

from __future__ import annotations

from deployd_host.documents import Fields
from deployd_host.files import read_bytes, write_file
from deployd_host.paths import MAX_VARIABLE
from deployd_host.replies import RefusedError, bad_request
from deployd_host.words import matches

TYPE_CHECKING = False
if TYPE_CHECKING:
    from deployd_host.calls import Call
    from deployd_host.replies import Json


def verb_env(call: Call) -> Json:
    """Keep the release's variables for systemd, for root's eyes only. A release that was live keeps those it had."""
    place, release = call.place, call.release
    fields = Fields(call.document)
    variables = fields.get("variables")
    fields.finish()
    text = env_file(variables)
    place.make()
    path = f"{place.env}/{release}"
    before = read_bytes(path)
    if before is not None and before != text.encode() and place.was_live(release):
        raise RefusedError(
            "env-frozen",
            f"release {release} was live with other variables, and keeps them",
            fix="make a new release: `deployd release` takes the new variables",
        )
    return {"written": write_file(path, text, mode=0o600), "variables": len(variables)}


def env_file(variables: object) -> str:
    """Variables in the syntax of EnvironmentFile=. systemd drops silently what it does not like: refuse that here."""
    if not isinstance(variables, dict) or len(variables) > 2000:
        raise bad_request("'variables' is not an object of at most 2000 fields")
    lines = []
    for name, value in sorted(variables.items()):
        if not matches("variable", name) or name.startswith(("DEPLOYD_", "LISTEN_")):
            raise _variable_invalid(name, "this name is not allowed")
        if not isinstance(value, str) or len(value.encode(errors="surrogatepass")) > MAX_VARIABLE:
            raise _variable_invalid(name, f"its value is no text, or longer than {MAX_VARIABLE} bytes")
        if any(
            (ord(character) < 32 and character not in "\t\n") or 0x7F <= ord(character) < 0xA0 for character in value
        ):
            raise _variable_invalid(name, "its value has a control character other than tab and newline")
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise _variable_invalid(name, "its value is not UTF-8") from error
        escaped = "".join("\\" + character if character in '"\\`$' else character for character in value)
        lines.append(f'{name}="{escaped}"\n')
    return "".join(lines)


def _variable_invalid(name: str, why: str) -> RefusedError:
    return RefusedError(
        "variable-invalid",
        f"the variable {name[:100]!r} cannot be given to the server: {why}",
        fix="change it with `deployd env set`; binary values are best kept as base64",
    )
