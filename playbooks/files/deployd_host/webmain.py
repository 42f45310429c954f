"""The web server's configuration that is the same for every app."""

from __future__ import annotations

from deployd_host.paths import ANSWERS, ASK_ADDRESS, BASE, DRAINED, WEB_OWN, WEB_RUN

WEB_MAIN = f"""\
# Made by deployd-host; it makes it again. One file for each app and environment is in sites/.
{{
	admin unix/{WEB_OWN}/admin.sock
	persist_config off
	auto_https disable_redirects
	skip_install_trust
	grace_period 20s
	shutdown_delay 3s
	on_demand_tls {{
		ask http://{ASK_ADDRESS}/
	}}
	servers {{
		timeouts {{
			read_header 30s
			idle 2m
		}}
		# By itself the web server ends an HTTP/2 connection, and all that is asked on it, at a head of 16 kB.
		max_header_size 1200KB
	}}
	log {{
		output stderr
		level WARN
	}}
}}

# While the web server is about to end, every answer asks the visitor to connect again: the next one takes the call.
(ending) {{
	@ending {{
		vars {{http.shutting_down}} true
		not protocol http/3
	}}
	header @ending >Connection close
}}

# systemd's sockets, in the order of deployd-web.socket.
(plain) {{
	bind fd/3 {{
		protocols h1
	}}
}}

(secure) {{
	bind fd/4 {{
		protocols h1 h2
	}}
	bind fdgram/5 {{
		protocols h3
	}}
}}

# What an authority asks for over http when deployd wants a certificate for several hosts: any of them may be asked.
(answers) {{
	@acme path_regexp acme ^/[.]well-known/acme-challenge/([A-Za-z0-9_-]+)$
	vars @acme acme_token {{re.acme.1}}
	@acme_answer {{
		method GET HEAD
		file {{
			root {ANSWERS}
			try_files /{{vars.acme_token}}.txt
		}}
	}}
	handle @acme_answer {{
		header Cache-Control no-store
		rewrite {{file_match.relative}}
		file_server {{
			root {ANSWERS}
		}}
	}}
}}

# What a load balancer is told, and nothing else: 200, or 503 where {{args[0]}} or the host is drained (drains.py), and
# while the web server is about to end with no other one to take over (deployd_web).
(health) {{
	header Cache-Control no-store
	@drained file {{
		root {DRAINED}
		try_files /host /{{args[0]}} /{{args[0]}}.rollout
	}}
	respond @drained "not ready" 503
	@leaving file {{
		root {WEB_RUN}
		try_files /leaving
	}}
	respond @leaving "not ready" 503
	respond "ok" 200
}}

# What the web server itself must say: by the page that the release brought for it, or by a plain one.
(errors) {{
	handle_errors {{
		header Cache-Control no-store
		header -Server
		@own_page file {{
			root {{args[0]}}
			try_files /{{err.status_code}}.html /error.html
		}}
		handle @own_page {{
			@sends not method GET HEAD
			method @sends GET
			rewrite {{file_match.relative}}
			request_header -If-*
			request_header -Range
			header {{
				-Last-Modified
				-ETag
				-Accept-Ranges
				defer
			}}
			file_server {{
				root {{args[0]}}
				status {{err.status_code}}
			}}
		}}
		handle {{
			header Content-Type "text/html; charset=utf-8"
			respond <<HTML
				<!doctype html><html lang="en"><meta charset="utf-8">
				<title>{{err.status_code}} {{err.status_text}}</title>
				<body style="font:1.1rem system-ui;margin:20vh auto;max-width:32rem;text-align:center">
				<h1>{{err.status_code}}</h1><p>{{err.status_text}}</p>
				HTML
		}}
	}}
}}

# `example.com.` is `example.com`, and browsers ask for it as it was typed.
(dotless) {{
	@dotted vars_regexp dotted {{host}} ^([a-zA-Z0-9.-]*[a-zA-Z0-9-])[.]$
	redir @dotted {{args[0]}}://{{re.dotted.1}}{{uri}} 308
}}

# Before an app's first release, and after it was taken back.
(unreleased) {{
	header Content-Type "text/html; charset=utf-8"
	header Cache-Control no-store
	header Retry-After 10
	respond <<HTML
		<!doctype html><html lang="en"><meta charset="utf-8"><title>Nothing is live here yet</title>
		<body style="font:1.1rem system-ui;margin:20vh auto;max-width:32rem;text-align:center">
		<h1>Nothing is live here yet</h1><p>This page comes to life with the first release.</p>
		HTML 503
}}

# While an app is in maintenance, unless it has a page of its own for that.
(maintenance) {{
	header Content-Type "text/html; charset=utf-8"
	respond <<HTML
		<!doctype html><html lang="en"><meta charset="utf-8"><title>We will be right back</title>
		<body style="font:1.1rem system-ui;margin:20vh auto;max-width:32rem;text-align:center">
		<h1>We will be right back</h1><p>This page is being worked on. Please try again in a moment.</p>
		HTML 503
}}

# What the file matcher found, from the folder {{args[0]}}. The ETag is made of time and size, and both of content.
(file) {{
	rewrite {{file_match.relative}}
	request_header -If-Modified-Since
	@webmanifest path *.webmanifest
	header @webmanifest Content-Type application/manifest+json
	encode zstd gzip
	file_server {{
		root {{args[0]}}
		precompressed br zstd gzip
	}}
}}

# The same, for files whose names change with their content.
(hashed_file) {{
	header {{
		Cache-Control "public, max-age=31536000, immutable"
		-Last-Modified
		defer
	}}
	import file {{args[0]}}
}}

# A page or file of a static site: asked for again each time, and sent again only when it changed.
(site_file) {{
	header {{
		Cache-Control "no-cache"
		-Last-Modified
		defer
	}}
	import file {{vars.site}}
}}

import sites/*.caddy
"""

WEB_DEFAULT = """\
# Made by deployd-host; it makes it again. Answers where no app does.
https:// {
	import secure
	import ending
	header -Server
	import dotless https
	respond "No app is at this address." 421
}
"""

# A load balancer that asks by address, and not by an app's name, is told of the host.
WEB_DEFAULT_PLAIN = f"""
http:// {{
	import plain
	import ending
	import answers
	header -Server
	@health path /.deployd/health
	handle @health {{
		@empty not file {{
			root {BASE}/apps
			try_files /*/*/current/.deployd/id
		}}
		header @empty Cache-Control no-store
		respond @empty "not ready" 503
		import health host
	}}
	import dotless http
	handle {{
		respond "No app is at this address." 404
	}}
}}
"""

# Asked by the web server itself before it gets a certificate for a name of a preview: 200 for one that is there.
WEB_ASK = f"""
http://{ASK_ADDRESS} {{
	import plain
	header -Server
	map {{query.domain}} {{asked_release}} {{asked_app}} {{
		~^([a-z0-9][a-z0-9-]{{0,62}})[.]([a-z](?:[a-z0-9-]*[a-z0-9])?)[.] "${{1}}" "${{2}}"
		default "-" "-"
	}}
	@there {{
		remote_ip 127.0.0.0/8
		file {{
			root {BASE}/apps
			try_files /{{asked_app}}/*/releases/{{asked_release}}/.deployd/id /{{asked_app}}/*/names/{{asked_release}}/*
		}}
	}}
	handle @there {{
		respond 200
	}}
	handle {{
		respond 404
	}}
}}
"""
