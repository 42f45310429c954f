"""An app's environments with previews come in, the site of their addresses goes out."""

from __future__ import annotations

from deployd_host.addresses import certificate_of, hsts_line, lacking_of, leads_to, site_block, tls_lines
from deployd_host.paths import BASE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from deployd_host.places import Place
    from deployd_host.replies import Json


def previews_file(found: Sequence[tuple[Place, Json]]) -> str:
    """The addresses of one app's releases: `<release>.<app>.<preview domain>`, and of branches and pull requests.

    Where environments share a domain, production's releases are looked for first. A name that no started release has
    is answered with 404.
    """
    ordered = sorted(found, key=lambda one: (one[0].environment != "production", one[0].environment))
    groups: dict[tuple[str, int], list[tuple[Place, Json]]] = {}
    for place, config in ordered:
        domain = config["preview"]["domain"]
        secure = any(other["preview"]["domain"] == domain and other.get("tls") for _, other in ordered)
        groups.setdefault((domain, 443 if secure else config["port"]), []).append((place, config))
    blocks = [_preview_blocks(domain, port, group) for (domain, port), group in groups.items()]
    return "# Made by deployd-host configure; it makes it again: previews.\n\n" + "\n".join(blocks)


def _preview_blocks(domain: str, port: int, found: Sequence[tuple[Place, Json]]) -> str:
    address = f"*.{found[0][0].app}.{domain}"
    inner = f"""\
	import ending
	import errors {BASE}/apps/{found[0][0].app}/{{vars.env}}/releases/{{vars.rel}}/.error-pages
	header -Server
	header X-Robots-Tag "noindex, nofollow"

	route {{
		@label vars_regexp label {{labels.{address.count(".")}}} ^([a-z0-9-]{{1,63}})$
		vars @label label {{re.label.1}}
{"".join(_preview_route(place, config) for place, config in found)}\
		error 404
	}}
"""
    if port != 443:
        where, bind = ("", "\timport plain\n\timport answers\n") if port == 80 else (f":{port}", "")
        return site_block([f"http://{address}{where}"], f"{bind}{inner}")
    place, config = next((place, config) for place, config in found if config.get("tls"))
    plain = "\timport plain\n\timport ending\n\timport answers\n\theader -Server\n"
    lacking = config["tls"] == "files" and lacking_of(place, [address])
    tls = _preview_tls(tls_lines(place, config, None if lacking else certificate_of(place)))
    return "\n".join(
        [
            site_block([f"https://{address}"], f"\timport secure\n{tls}{hsts_line(config)}{inner}"),
            site_block([f"http://{address}"], f"{plain}{leads_to('https://{host}')}"),
        ]
    )


def _preview_tls(lines: str) -> str:
    """The same way to a certificate. An authority out there is asked for each name when that is first asked for, if
    there is such a release; the host's own gives one for all of them, so that a made-up name gets its 404.
    """
    if lines.endswith("internal\n"):
        return lines
    return lines.removesuffix("\t}\n") + "\t\ton_demand\n\t}\n" if lines.endswith("\t}\n") else lines


def _preview_route(place: Place, config: Json) -> str:
    """To the release of that name in one environment, for those who may see it."""
    password = config["preview"].get("password")
    own = place.environment
    return f"""\

		@{own} file {{
			root {place.names}
			try_files /{{vars.label}}/*
		}}
		vars @{own} named {own}{{file_match.relative}}
		@in_{own} vars_regexp {own} {{vars.named}} ^{own}/[a-z0-9-]+/([0-9a-z-]+)$
		handle @in_{own} {{
			vars rel {{re.{own}.1}}
			vars env {own}
			import {place.name}-gate
{_preview_lock(place, password) if password else ""}\
			import {place.name}-app
		}}
"""


def _preview_lock(place: Place, password: str) -> str:
    """Who has no link that was given out must know the password. A link's key stays with the visitor as a cookie."""
    return f"""\
			route {{
				@share_cookie vars_regexp share {{cookie.__deployd_share}} ^([A-Za-z0-9_-]{{20,64}})$
				vars @share_cookie share {{re.share.1}}
				@share_query vars_regexp share {{query.deployd_share}} ^([A-Za-z0-9_-]{{20,64}})$
				vars @share_query share {{re.share.1}}
				@share_any not vars {{vars.share}} ""
				route @share_any {{
					@share_good file {{
						root {place.shares}
						try_files /{{vars.label}}/{{vars.share}}
					}}
					vars @share_good shared yes
				}}
				@share_new {{
					vars shared yes
					not vars {{query.deployd_share}} ""
				}}
				header @share_new +Set-Cookie "__deployd_share={{vars.share}}; Path=/; HttpOnly; SameSite=Lax"
				@share_none not vars shared yes
				basic_auth @share_none bcrypt preview {{
					preview {password}
				}}
				request_header @share_none -Authorization
			}}
"""
