"""Pages and frameworks beside those of `sites`: base paths, clean addresses, other generators, own servers around them."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from tests.support import sites
from tests.support.sites import Site, package

_ESBUILD = {"onlyBuiltDependencies": ["esbuild", "@parcel/watcher"]}


def vite(kind: str = "react", *, base: str = "/", router: bool = True) -> Site:
    """A one-page app of Vite's in React, Vue or Svelte; with `base`, below a path."""
    needs: dict[str, dict[str, str]] = {
        "react": {"react": "19.2.0", "react-dom": "19.2.0", "@vitejs/plugin-react": "^4"},
        "vue": {"vue": "^3.5", "@vitejs/plugin-vue": "^5"},
        "svelte": {"svelte": "^5", "@sveltejs/vite-plugin-svelte": "^5"},
    }
    plugin = {"react": ("react", "@vitejs/plugin-react"), "vue": ("vue", "@vitejs/plugin-vue"),
              "svelte": ("{ svelte }", "@sveltejs/vite-plugin-svelte")}[kind]  # fmt: skip
    main = {
        "react": "import { createRoot } from 'react-dom/client'\nimport App from './App.jsx'\n"
                 "createRoot(document.getElementById('app')).render(<App />)\n",
        "vue": "import { createApp } from 'vue'\nimport App from './App.vue'\ncreateApp(App).mount('#app')\n",
        "svelte": "import { mount } from 'svelte'\nimport App from './App.svelte'\nmount(App, { target: document.body })\n",
    }  # fmt: skip
    app = {
        "react": ("App.jsx", "import logo from './logo.svg'\nexport default () => <img src={logo} alt='hello' />\n"),
        "vue": ("App.vue", "<template><h1>hello</h1></template>\n"),
        "svelte": ("App.svelte", "<h1>hello</h1>\n"),
    }[kind]
    script = "main.jsx" if kind == "react" else "main.js"
    name = plugin[0].strip("{} ")
    deep = f"{base}cart/7" if router else ""
    return Site(
        files={
            "package.json": package(
                type="module", dependencies=needs[kind], devDependencies={"vite": "^6"},
                scripts={"dev": "vite", "build": "vite build", "preview": "vite preview"}, pnpm=_ESBUILD,
            ),
            "vite.config.js": f"import {plugin[0]} from '{plugin[1]}'\nexport default {{ base: '{base}', plugins: [{name}()] }}\n",
            "index.html": f'<!doctype html><title>hello from vite</title><div id="app"></div><script type="module" src="/src/{script}"></script>',
            f"src/{script}": main[kind],
            f"src/{app[0]}": app[1],
            "src/logo.svg": "<svg xmlns='http://www.w3.org/2000/svg'>" + "<g/>" * 2000 + "</svg>",
            "public/robots.txt": "# robots\n",
        },
        probe=(base, "hello from vite"),
        asks=(
            (f"{base}robots.txt", 200, "# robots"),
            *(((deep, 200, "hello from vite"),) if deep else ()),
            (f"{base}assets/gone.js", 404, ""),
        ),
    )  # fmt: skip


def next_export(line: str = "16", *, slash: bool = False, base_path: str = "") -> Site:
    """Next.js with `output: 'export'`, with and without the slash, below a path or not."""
    settings = {"output": "export", "trailingSlash": slash, "basePath": base_path}
    files = {
        **sites.next_app(line, config=f"module.exports = {json.dumps(settings)}\n").files,
        "app/about/page.js": "export default () => <p>about us</p>\n",
        "app/not-found.js": "export default () => <p>nothing is here</p>\n",
    }
    del files["app/api/time/route.js"]
    about = f"{base_path}/about/" if slash else f"{base_path}/about"
    return Site(
        files=files,
        probe=(f"{base_path}/" if slash or not base_path else base_path, "hello from app"),
        asks=((about, 200, "about us"), (f"{base_path}/robots.txt", 200, "# robots"),
              (f"{base_path}/gone", 404, "nothing is here")),
    )  # fmt: skip


def vitepress() -> Site:
    """VitePress as its generator makes it, below docs/, with its own names of scripts."""
    return Site(
        files={
            "package.json": package(
                devDependencies={"vitepress": "^1.6"},
                scripts={"docs:dev": "vitepress dev docs", "docs:build": "vitepress build docs"}, pnpm=_ESBUILD,
            ),
            "docs/.vitepress/config.mjs": "export default { title: 'x', base: '/guide/', cleanUrls: true }\n",
            "docs/index.md": "# hello from vitepress\n",
            "docs/about.md": "about us\n",
        },
        probe=("/guide/", "hello from vitepress"),
        asks=(("/guide/about", 200, "about us"), ("/guide/gone", 404, "404")),
    )  # fmt: skip


def served() -> Site:
    """A build of one's own that a start script gives to `serve -s`."""
    build = "node -e \"fs.mkdirSync('made',{recursive:true});fs.writeFileSync('made/index.html','hello from my own build')\""
    return Site(
        files={"package.json": package(scripts={"build": build, "start": "serve -s -l $PORT made"})},
        probe=("/", "hello from my own build"),
        asks=(("/deep/down", 200, "hello from my own build"),),
        manager="",
    )


def astro_middleware() -> Site:
    """Astro's Node.js adapter in the mode `middleware`, behind Express."""
    site = sites.astro(server=True)
    parts = json.loads(site.files["package.json"])
    parts["dependencies"]["express"] = "4.21.2"
    parts["scripts"]["start"] = "node run-server.mjs"
    parts["pnpm"] = _ESBUILD
    own = """import express from 'express'
import { handler } from './dist/server/entry.mjs'
const app = express()
app.use(express.static('dist/client/'))
app.get('/own', (_, response) => response.send('hello beside astro'))
app.use(handler)
app.listen(process.env.PORT || 8080)
"""
    files = {
        **site.files,
        "package.json": json.dumps(parts),
        "astro.config.mjs": site.files["astro.config.mjs"].replace("standalone", "middleware"),
        "run-server.mjs": own,
        "public/robots.txt": "# robots\n",
    }
    asks = (("/", 200, "hello from astro"), ("/robots.txt", 200, "# robots"))
    return replace(site, files=files, probe=("/own", "hello beside astro"), asks=asks)


def sveltekit(*, own: bool = False) -> Site:
    """SvelteKit with adapter-node, a form action, and perhaps a server of its own."""
    site = sites.sveltekit()
    files: dict[str, Any] = {
        **site.files,
        "src/routes/+page.server.js": (
            "export const actions = { default: async ({ request, url }) => "
            "({ said: (await request.formData()).get('text') + ' ' + url.origin }) }\n"
        ),
        "src/routes/+page.svelte": "<script>let { form } = $props()</script><h1>hello from svelte {form?.said}</h1>\n",
        "static/robots.txt": "# robots\n",
    }
    asks: tuple[tuple[str, int, str], ...] = (("/robots.txt", 200, "# robots"),)
    parts = json.loads(files["package.json"])
    parts["pnpm"] = _ESBUILD
    if own:
        parts["scripts"]["start"] = "node server.js"
        files["server.js"] = (
            "import { handler } from './build/handler.js'\nimport http from 'node:http'\n"
            "http.createServer((q, r) => q.url === '/own' ? r.end('hello beside svelte') : handler(q, r, () => r.end()))"
            ".listen(process.env.PORT)\n"
        )
        asks += (("/own", 200, "hello beside svelte"),)
    return replace(site, files={**files, "package.json": json.dumps(parts)}, asks=asks)


def remix() -> Site:
    """Remix 2 as its generator makes it."""
    root = """import { Outlet, Scripts } from '@remix-run/react'
export default function App() { return <html><body><Outlet /><Scripts /></body></html> }
"""
    needs = {"@remix-run/node": "^2.15", "@remix-run/react": "^2.15", "@remix-run/serve": "^2.15", "isbot": "^5",
             "react": "18.3.1", "react-dom": "18.3.1"}  # fmt: skip
    return Site(
        files={
            "package.json": package(
                type="module", dependencies=needs, devDependencies={"@remix-run/dev": "^2.15", "vite": "^5"},
                scripts={"build": "remix vite:build", "start": "remix-serve ./build/server/index.js"}, pnpm=_ESBUILD,
            ),
            "vite.config.js": "import { vitePlugin as remix } from '@remix-run/dev'\nexport default { plugins: [remix()] }\n",
            "app/root.jsx": root,
            "app/routes/_index.jsx": "export default function Home() { return <h1>hello from remix</h1> }\n",
            "public/robots.txt": "# robots\n",
        },
        asks=(("/robots.txt", 200, "# robots"),),
    )  # fmt: skip


def turborepo() -> Site:
    """Turborepo as its generator makes it: an internal package of TypeScript sources that Next.js transpiles."""
    app = {
        "package.json": package(
            "web", dependencies={"@acme/ui": "workspace:*", **sites.next_needs("16")},
            devDependencies={"@acme/settings": "workspace:*"}, scripts={"build": "next build", "start": "next start"},
        ),
        "next.config.js": "module.exports = { transpilePackages: ['@acme/ui'] }\n",
        "app/layout.js": "export default ({ children }) => <html><body>{children}</body></html>\n",
        "app/page.js": "import { Button } from '@acme/ui/button'\nexport default () => <Button who='turbo' />\n",
    }  # fmt: skip
    files = {
        "package.json": package(
            "repository", devDependencies={"turbo": "^2"}, packageManager="pnpm@10.34.0", pnpm=_ESBUILD,
            scripts={"build": "turbo run build"},
        ),
        "pnpm-workspace.yaml": "packages:\n  - 'apps/*'\n  - 'packages/*'\n",
        "turbo.json": json.dumps({"tasks": {"build": {"dependsOn": ["^build"], "outputs": [".next/**"]}}}),
        "packages/ui/package.json": package("@acme/ui", exports={"./*": "./src/*.tsx"}, dependencies={"ms": "2.1.3"},
                                            peerDependencies={"react": "*"}),
        "packages/ui/src/button.tsx": (
            "import ms from 'ms'\nexport const Button = ({ who }: { who: string }) => <button>{`hello ${who} ${ms(60000)}`}</button>\n"
        ),
        "packages/settings/package.json": package("@acme/settings"),
        "packages/settings/base.json": "{}",
        "apps/docs/package.json": package("docs", dependencies={"is-odd": "3.0.1"}, scripts={"build": "exit 1"}),
        **{f"apps/web/{name}": text for name, text in app.items()},
    }  # fmt: skip
    return Site(files=files, folder="apps/web", probe=("/", "hello turbo 1m"))
