"""An app comes in, the rule goes out by which hashed files are given out before anything else is decided."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from deployd_host.places import Place

# Where names say the content, with whatever stands before. Next.js's own folder for a build's name is none of these:
# two releases may have another content there.
FASTEST_PATHS = (
    "*/_next/static/chunks/*",
    "*/_next/static/css/*",
    "*/_next/static/media/*",
    "*/_nuxt/*",
    "*/_astro/*",
    "*/_app/immutable/*",
)


def fastest_snippet(place: Place) -> str:
    """What asks for a hashed file gets the current release's, before anything is decided about it.

    The name says the content, so it is the right one for whichever release asks. One that is not there goes the long
    way, and what an app answers there keeps its own headers: an ETag without `W/` and no Cache-Control is the file
    server's. Each thing that is decided costs processor time: with this a file takes little more than by a bare file
    server, which is two thirds of the long way. `place.hashed` is no link while the app is in maintenance.
    """
    return f"""\
({place.name}-fastest) {{
	@fastest {{
		method GET HEAD
		path {" ".join(FASTEST_PATHS)}
		not path */
	}}
	route @fastest {{
		log_skip
		header {{
			Cache-Control "public, max-age=31536000, immutable"
			-Last-Modified
			-Server
			match {{
				status 2xx 304
				header !Cache-Control
				header ETag "\\"*"
			}}
		}}
		file_server {{
			root {place.hashed}
			precompressed br zstd gzip
			pass_thru
		}}
		vars log_skip no
	}}
}}
"""
