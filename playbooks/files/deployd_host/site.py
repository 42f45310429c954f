"""An app's configuration comes in, its site for the web server goes out."""

from __future__ import annotations

from deployd_host.addresses import has_site, outer_blocks, probe_name
from deployd_host.hashed import fastest_snippet
from deployd_host.paths import WEB_OWN
from deployd_host.proxies import passed_on, untrusted_headers
from deployd_host.requestlog import request_log
from deployd_host.visitors import visitors_snippets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from deployd_host.places import Place
    from deployd_host.replies import Json

# Where frameworks put what they name by content. It is served without a matcher that looks for the file first, which
# costs as much as serving it; a hashed file elsewhere, or of an earlier release, is found by the matchers after it.
HASHED_PATHS = ("/_next/static/*", "/_nuxt/*", "/_astro/*", "/_app/immutable/*")

# What an app did not compress itself. A stream of events is left alone: its head must not wait for its first event.
_COMPRESSED = """\
			@compressed {
				not header Accept *text/event-stream*
				not header Upgrade *
				not header Range *
			}
			encode @compressed {
				zstd
				gzip
				minimum_length 1024
				match {
					header Content-Type text/html*
					header Content-Type text/css*
					header Content-Type text/plain*
					header Content-Type text/xml*
					header Content-Type text/javascript*
					header Content-Type text/x-component*
					header Content-Type application/json*
					header Content-Type application/*+json*
					header Content-Type application/javascript*
					header Content-Type application/xml*
					header Content-Type application/*+xml*
					header Content-Type image/svg+xml*
				}
			}
"""


def site_file(
    place: Place,
    config: Json,
    certificate: str | None = None,
    previews: Sequence[str] = (),
    lacking: Sequence[str] = (),
) -> str:
    """One app's site, and the same for probes of any of its releases, on a socket that only root can dial.

    `rel` is read once for each request, so what is answered, and the header, are of one release even during a flip.
    How a release is served is decided by what `seal` put into its `.deployd`, so a release never changes this file:
    `static/site` makes it a site without a process, `ask-first` an app that sets headers on its own assets.
    A path ending in "/" is never a file; without that rule the file matcher would find the folder. Each root is the
    one folder that may be seen: a root above it, with the rest in `try_files`, would let `..%2f` into the rest.
    `certificate` names the files of the one that deployd brought, and `lacking` the names that it is not good for;
    `previews` are the domains of previews' addresses.
    """
    return f"""\
# Made by deployd-host configure; it makes it again: {place.app} {place.environment}
({place.name}) {{
	import ending
	import errors {place.releases}/{{vars.rel}}/.error-pages
	header -Server
	import {place.name}-app
}}

({place.name}-app) {{
	route {{
		@health path /.deployd/health
		handle @health {{
			log_skip
			@empty vars {{vars.rel}} ""
			header @empty Cache-Control no-store
			respond @empty "not ready" 503
			import health {place.name}
		}}

		@none vars {{vars.rel}} ""
		handle @none {{
			import unreleased
		}}

		header {{
			X-Deployd-Release {{vars.rel}}
			-Via
			defer
		}}

		@hashed {{
			method GET HEAD
			not path */
			path {" ".join(HASHED_PATHS)}
		}}
		route @hashed {{
			header {{
				Cache-Control "public, max-age=31536000, immutable"
				-Last-Modified
				match {{
					status 2xx 304
					header !Cache-Control
				}}
			}}
			request_header -If-Modified-Since
			log_skip
			file_server {{
				root {place.releases}/{{vars.rel}}/.deployd/www
				precompressed br zstd gzip
				pass_thru
			}}
			vars log_skip no
		}}

		@own {{
			method GET HEAD
			not path */
			file {{
				root {place.releases}/{{vars.rel}}/.deployd/www
				try_files {{path}}
			}}
		}}
		handle @own {{
			import hashed_file {place.releases}/{{vars.rel}}/.deployd/www
		}}

		@static file {{
			root {place.releases}
			try_files /{{vars.rel}}/.deployd/static/site/
		}}
		handle @static {{
			import {place.name}-static
		}}

		@public {{
			method GET HEAD
			not path */
			file {{
				root {place.releases}/{{vars.rel}}/.deployd/public
				try_files {{path}}
			}}
		}}
		handle @public {{
			header {{
				Cache-Control "public, max-age=0"
				-Last-Modified
				defer
			}}
			import file {place.releases}/{{vars.rel}}/.deployd/public
		}}

		@earlier {{
			method GET HEAD
			not path */
			not file {{
				root {place.releases}
				try_files /{{vars.rel}}/.deployd/ask-first
			}}
			file {{
				root {place.static}
				try_files {{path}}
			}}
		}}
		handle @earlier {{
			import hashed_file {place.static}
		}}

		handle {{
{_body_limit(config)}{untrusted_headers(config)}{_COMPRESSED}\
			reverse_proxy unix/{place.run}/{{vars.rel}}.sock {{
{passed_on(config)}\
				header_down Location "^https?://localhost:3000(/.*)$" $1
				lb_try_duration 5s
				lb_try_interval 100ms
				lb_retries 3
				transport http {{
					keepalive 5s
					keepalive_idle_conns_per_host 256
					dial_timeout 10s
					response_header_timeout 5m
					expect_continue_timeout 1s
					compression off
				}}

				@missing status 404
				handle_response @missing {{
					@kept {{
						method GET HEAD
						not path */
						file {{
							root {place.static}
							try_files {{path}}
						}}
					}}
					handle @kept {{
						import hashed_file {place.static}
					}}
					handle {{
						copy_response
					}}
				}}
			}}
		}}
	}}
}}

({place.name}-static) {{
	route {{
		@other not method GET HEAD
		header @other Allow "GET, HEAD"
		error @other 405
		vars own {place.releases}/{{vars.rel}}/.deployd/static
		vars site {place.releases}/{{vars.rel}}/.deployd/static/site

		# The address without its last slash, and its query. One that a browser may read otherwise becomes no redirect.
		@parts vars_regexp parts {{uri}} ^([^?]*?)/?([?].*)?$
		vars @parts bare {{re.parts.1}}
		vars @parts query {{re.parts.2}}
		@odd vars_regexp {{uri}} "(?i)^[^?]*(//|/[.][.]?(/|[?]|$)|%2e|%2f|%5c|\\\\)"
		vars @odd odd yes
		@slashed path_regexp slashed ^(.+)/$
		vars @slashed page {{re.slashed.1}}
		@slash file {{
			root {{vars.own}}
			try_files /slash
		}}
		vars @slash slash yes

		@exact {{
			not path */
			file {{
				root {{vars.site}}
				try_files {{path}}
			}}
		}}
		handle @exact {{
			import site_file
		}}

		# /about, where the site's addresses end in a slash
		@lacks_slash {{
			not path */
			not vars odd yes
			vars slash yes
			file {{
				root {{vars.site}}
				try_files {{path}}/index.html {{path}}.html
			}}
		}}
		redir @lacks_slash {{vars.bare}}/{{vars.query}} 308

		@page {{
			not path */
			file {{
				root {{vars.site}}
				try_files {{path}}.html {{path}}/index.html
			}}
		}}
		handle @page {{
			import site_file
		}}

		@folder {{
			path */
			file {{
				root {{vars.site}}
				try_files {{path}}index.html
			}}
		}}
		handle @folder {{
			import site_file
		}}

		# /about/ of about.html
		@bare {{
			path */
			file {{
				root {{vars.site}}
				try_files {{vars.page}}.html
			}}
		}}
		handle @bare {{
			@drop_slash {{
				not vars odd yes
				not vars slash yes
			}}
			redir @drop_slash {{vars.bare}}{{vars.query}} 308
			import site_file
		}}

		@before {{
			not path */
			file {{
				root {place.static}
				try_files {{path}}
			}}
		}}
		handle @before {{
			import hashed_file {place.static}
		}}

		# What a page asks for by itself is better missing than answered with another page.
		@fallback {{
			not path *.js *.mjs *.css *.map *.json *.wasm
			file {{
				root {{vars.own}}
				try_files /fallback.html
			}}
		}}
		handle @fallback {{
			vars site {{vars.own}}
			import site_file
		}}

		@not_found file {{
			root {{vars.own}}
			try_files /404.html
		}}
		handle @not_found {{
			rewrite {{file_match.relative}}
			request_header -If-*
			request_header -Range
			header {{
				Cache-Control no-cache
				-Last-Modified
				-ETag
				-Accept-Ranges
				defer
			}}
			encode zstd gzip
			file_server {{
				root {{vars.own}}
				precompressed br zstd gzip
				status 404
			}}
		}}
		error 404
	}}
}}

{fastest_snippet(place)}
{visitors_snippets(place, config, () if config["domains"] else previews)}
{request_log(place)}
{outer_blocks(place, config, certificate, lacking) if has_site(place, config) else ""}
http:// {{
	bind unix/{WEB_OWN}/{probe_name(place)}|0600 {{
		protocols h1
	}}
	route {{
		vars rel {{header.X-Deployd-Release}}
		@current vars {{vars.rel}} current
		vars @current rel {{file.{place.current}/.deployd/id}}
	}}
	import {place.name}
}}
"""


def _body_limit(config: Json) -> str:
    """What a request's body may be at most."""
    return f"\t\t\trequest_body {{\n\t\t\t\tmax_size {config['body']}\n\t\t\t}}\n" if config.get("body") else ""
