"""An app comes in, the rules by which the web server decides who is let in, and to which release, go out."""

from __future__ import annotations

from deployd_host.networks import nearby
from deployd_host.paths import MAINTENANCE_RETRY
from deployd_host.proxies import visitor, who_asks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from deployd_host.places import Place
    from deployd_host.replies import Json


def visitors_snippets(place: Place, config: Json, previews: Sequence[str]) -> str:
    """Who is let in, and to which release: decided for each request by files on this host, so nothing is reloaded.

    A deployment id is what Next.js gives its pages and puts into what they ask for: `?dpl=`, `x-deployment-id`, and a
    cookie when it is told so; before 15, the Pages Router names the build in the path alone. The cookie is not for
    whole pages, or nobody would ever see a new release. What is matched has no character that a glob or a path knows. A
    name that no kept release has means the current release, and its answer makes Next.js load the page anew. A name
    below one of `previews` is no name of this site's, though it answers to every name that nobody else has.
    """
    ends = "|".join(one.replace(".", "[.]") for one in previews)
    stray = f"""\
		@stray vars_regexp {{host}} "(?i)^(?:.*[.])?(?:{ends})[.]?$"
		error @stray 404
"""
    return f"""\
({place.name}-visitors) {{
	route {{
{stray if previews else ""}{who_asks(config)}\
		vars live {{file.{place.current}/.deployd/id}}
		vars rel {{vars.live}}

		# One look for both: mostly there is neither.
		@special file {{
			root {place.base}
			try_files /special
		}}
		route @special {{
			import {place.name}-gate
			import {place.name}-canary
		}}

		@by_data path_regexp data /_next/data/([A-Za-z0-9_-]{{1,64}})/
		vars @by_data dpl {{re.data.1}}
		@by_cookie {{
			vars_regexp cookie {{cookie.__vdpl}} ^([A-Za-z0-9_-]{{1,64}})$
			not {{
				method GET HEAD
				header Sec-Fetch-Mode navigate
			}}
			not {{
				method GET HEAD
				header !Sec-Fetch-Mode
				header Accept *text/html*
			}}
		}}
		vars @by_cookie dpl {{re.cookie.1}}
		@by_header vars_regexp header {{header.X-Deployment-Id}} ^([A-Za-z0-9_-]{{1,64}})$
		vars @by_header dpl {{re.header.1}}
		@by_query vars_regexp query {{query.dpl}} ^([A-Za-z0-9_-]{{1,64}})$
		vars @by_query dpl {{re.query.1}}

		@elsewhere {{
			not vars {{vars.dpl}} ""
			not {{
				vars {{vars.dpl}} {{file.{place.current}/.deployd/dpl}}
				not vars canary yes
			}}
		}}
		route @elsewhere {{
			@kept file {{
				root {place.pins}
				try_files /{{vars.dpl}}/*
			}}
			vars @kept pin {{file_match.relative}}
			@of_release vars_regexp pin {{vars.pin}} ^/[A-Za-z0-9_-]+/([0-9a-z-]+)$
			vars @of_release rel {{re.pin.1}}
			@other not vars {{vars.rel}} {{vars.live}}
			header @other {{
				+Vary X-Deployment-Id
				defer
			}}
		}}

		import {place.name}-vitals
	}}
}}

# Some visitors get another release, and keep it: each is given one of 256 lots, and a lot is in, or it is not.
({place.name}-canary) {{
	@canary file {{
		root {place.canary}
		try_files /release
	}}
	route @canary {{
		@lot vars_regexp lot {{cookie.__deployd_canary}} ^([0-9a-f]{{2}})$
		vars @lot lot {{re.lot.1}}
		@page {{
			vars {{vars.lot}} ""
			method GET HEAD
			header Accept *text/html*
		}}
		vars @page draws yes
		@draws {{
			vars draws yes
			vars_regexp drawn {{http.request.uuid}} ^([0-9a-f]{{2}})
		}}
		vars @draws lot {{re.drawn.1}}
		header @draws +Set-Cookie "__deployd_canary={{vars.lot}}; Path=/; Max-Age=2592000; HttpOnly; SameSite=Lax"
		@in file {{
			root {place.canary}/in
			try_files /{{vars.lot}}
		}}
		vars @in canary yes
		vars @in rel {{file.{place.canary}/release}}
	}}
}}

# In maintenance only the addresses that were named come in. Nothing that a visitor sends can make him one of them.
({place.name}-gate) {{
	@maintenance file {{
		root {place.maintenance}
		try_files /on
	}}
	route @maintenance {{
		@asked path /.deployd/health
{nearby(visitor(config))}\
		@stranger not file {{
			root {place.maintenance}/allow
			try_files /{visitor(config)} /{{vars.net1}} /{{vars.net2}} /{{vars.net3}} /{{vars.net4}}
		}}
		handle @asked {{
			header Cache-Control no-store
			respond "not ready" 503
		}}
		handle @stranger {{
			log_skip
			header {{
				Cache-Control no-store
				Retry-After {MAINTENANCE_RETRY}
			}}
			@page file {{
				root {place.maintenance}
				try_files /page.html
			}}
			handle @page {{
				@sends not method GET HEAD
				method @sends GET
				rewrite /page.html
				request_header -If-*
				request_header -Range
				header {{
					-Last-Modified
					-ETag
					-Accept-Ranges
					defer
				}}
				file_server {{
					root {place.maintenance}
					status 503
				}}
			}}
			handle {{
				import maintenance
			}}
		}}
	}}
}}
"""
