"""An app's trusted proxies come in, the lines of its site that tell what is believed of a request go out.

What a visitor says of himself is never believed. Where a load balancer stands before the host, it is the one that is
connected, and it says who asked it, and whether by https: in `X-Forwarded-For` and `X-Forwarded-Proto`. Before it there
may be a CDN: each adds whom it was asked by at the end, so the visitor is the last address that is no trusted proxy's;
what stands before that is his own word. The name that was asked for is `Host`, whoever sends it.
"""

from __future__ import annotations

from deployd_host.networks import ADDRESS, pattern_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from deployd_host.replies import Json

# Headers by which a server behind a proxy is told things. A visitor's own are dropped; the web server sets its own.
UNTRUSTED_HEADERS = (
    "Forwarded",
    "X-Forwarded-*",
    "X-Real-Ip",
    "X-Original-*",
    "X-Rewrite-Url",
    "X-Deployd-*",
    # Next.js's, between its own parts; `x-middleware-prefetch` is the browser's
    "X-Middleware-Subrequest*",
    "X-Middleware-Invoke",
    "X-Middleware-Next",
    "X-Middleware-Override-Headers",
    "X-Middleware-Redirect",
    "X-Middleware-Request-*",
    "X-Middleware-Rewrite",
    "X-Middleware-Set-Cookie",
    "X-Middleware-Skip",
    "X-Invoke-*",
    "X-Matched-Path",
    "X-Now-Route-Matches",
    "Next-Resume",
)
_DROPPED = "".join(f"\t\t\trequest_header -{name}\n" for name in UNTRUSTED_HEADERS)


def visitor(config: Json) -> str:
    """The placeholder of the visitor's address."""
    return "{vars.visitor}" if config.get("proxies") else "{client_ip}"


def who_asks(config: Json) -> str:
    """What finds the visitor's address; nothing where no proxy is trusted."""
    proxies: Sequence[str] = config.get("proxies") or ()
    if not proxies:
        return ""
    seen = rf"{ADDRESS}\s*(?:,\s*{pattern_of(proxies)}\s*)*"
    return f"""\
		vars visitor {{client_ip}}
		@proxied {{
			remote_ip {" ".join(proxies)}
			vars_regexp seen {{http.request.header.X-Forwarded-For}} `^(?:|.*?,)\\s*{seen}$`
		}}
		vars @proxied visitor {{re.seen.1}}{{re.seen.2}}{{re.seen.3}}
"""


# The port that the visitor asked: Next.js would tell apps the 3000 that it takes for its own.
_PORT = """\
				vars usual_port 80
				@secure vars {vars.scheme} https
				vars @secure usual_port 443
				vars asked_port {http.request.port}
				@no_port vars {vars.asked_port} ""
				vars @no_port asked_port {vars.usual_port}
"""


def untrusted_headers(config: Json) -> str:
    """What drops the headers that only a proxy may send, keeps a trusted one's, and finds the port that was asked."""
    proxies: Sequence[str] = config.get("proxies") or ()
    if not proxies:
        return f"\t\t\troute {{\n\t\t\t\tvars scheme {{http.request.scheme}}\n{_PORT}\t\t\t}}\n{_DROPPED}"
    trusted = " ".join(proxies)
    return f"""\
			route {{
				@for {{
					remote_ip {trusted}
					header X-Forwarded-For *
				}}
				@proto {{
					remote_ip {trusted}
					header_regexp X-Forwarded-Proto ^https?$
				}}
				vars scheme {{http.request.scheme}}
				vars for ""
				vars proto ""
				vars @for for {{http.request.header.X-Forwarded-For}}
				vars @proto proto {{http.request.header.X-Forwarded-Proto}}
				vars @proto scheme {{vars.proto}}
{_PORT}\
{_DROPPED}\
				@told_for not vars {{vars.for}} ""
				@told_proto not vars {{vars.proto}} ""
				request_header @told_for X-Forwarded-For {{vars.for}}
				request_header @told_proto X-Forwarded-Proto {{vars.proto}}
			}}
"""


def passed_on(config: Json) -> str:
    """What the app is told of the visitor."""
    proxies: Sequence[str] = config.get("proxies") or ()
    trusted = f"\t\t\t\ttrusted_proxies {' '.join(proxies)}\n" if proxies else ""
    real = f"\t\t\t\theader_up X-Real-Ip {visitor(config) if proxies else '{remote_host}'}\n"
    return f"{trusted}{real}\t\t\t\theader_up X-Forwarded-Port {{vars.asked_port}}\n"
