"""Sites as their frameworks' own `create` commands make them, with pages that link each other, and what a release of each has to be.

A site is made once and kept in the folder of `AMIANAI_TEST_FRAMEWORKS`, else in pytest's cache. What Next's template asks Google for (its
fonts) is left out, since builds must not depend on that. Astro's templates lie on GitHub, which need not be reachable: its manual's way
without a template is taken (`npm install astro`).
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path


@dataclass(frozen=True)
class Framework:
    """How a site is made, built and changed.

    Attributes:
        name: of the site, and of its folder.
        output: the folder that its build fills.
        create: commands that make it, run one after another in the folder above it.
        files: files of ours, by path below its folder.
        pages: addresses of its pages, as they are linked.
        source: the file that is edited to change one page.
        with_page: a pattern of the files that a build changes when that page does.
        packages: what is installed besides.
        settings: `--set` of its releases.
        hashed: a pattern of the files whose names have a hash of their content.
        folder: where it is made, when another site of the same sources is, too.
        complains: part of what the console says of its scripts under the default headers, which does no harm.
        unlinked: a pattern of the addresses that the build makes, so that they are verified, and that no page names and no visit asks for.
    """

    name: str
    output: str
    create: tuple[tuple[str, ...], ...]
    files: Mapping[str, str]
    pages: tuple[str, ...]
    source: str
    with_page: str
    packages: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    hashed: str = ""
    folder: str = ""
    complains: str = ""
    unlinked: str = ""


MARK = "One page of several."
"""Stands in the page that is edited."""

_NPX = ("npx", "--yes")
_POSTS = {"first": "The first one", "node.js": "A name with a dot"}

# -- Next.js ----------------------------------------------------------------------------------------------------------------------

_NEXT = {
    "next.config.ts": """
import type { NextConfig } from "next";

const config: NextConfig = {
  output: "export",
  trailingSlash: process.env.NEXT_PUBLIC_SLASH === "yes",
  images: { unoptimized: true },
  generateBuildId: () => process.env.AMIANAI_BUILD_ID ?? null,
};

export default config;
""",
    "app/layout.tsx": """
import type { Metadata } from "next";
import Link from "next/link";
import "./globals.css";

export const metadata: Metadata = { title: "Home" };

export default function RootLayout({ children }: { children: React.ReactNode }) {
  return (
    <html lang="en">
      <body>
        <nav>
          <Link href="/">Home</Link> <Link href="/about">About</Link> <Link href="/blog">Blog</Link>
        </nav>
        {children}
      </body>
    </html>
  );
}
""",
    "app/about/page.tsx": f"""
import Link from "next/link";

export const metadata = {{ title: "About" }};

export default function About() {{
  return <main><h1>About</h1><p>{MARK}</p><Link href="/blog/first?from=about#end">The first post</Link></main>;
}}
""",
    "app/blog/page.tsx": """
import Link from "next/link";

export const metadata = { title: "Blog" };

export default function Blog() {
  return <main><h1>Blog</h1><Link href="/blog/first">First</Link> <Link href="/blog/node.js">Dot</Link></main>;
}
""",
    "app/blog/[slug]/page.tsx": """
const posts: Record<string, string> = POSTS;

export const dynamicParams = false;
export const generateStaticParams = () => Object.keys(posts).map((slug) => ({ slug }));
export const generateMetadata = async ({ params }: { params: Promise<{ slug: string }> }) => ({ title: posts[(await params).slug] });

export default async function Post({ params }: { params: Promise<{ slug: string }> }) {
  return <main><h1>{posts[(await params).slug]}</h1><p id="end">The end.</p></main>;
}
""".replace("POSTS", json.dumps(_POSTS)),
}
_NEXT_CREATE = (
    (
        *_NPX, "create-next-app@16.4.3", "next", "--ts", "--no-eslint", "--no-tailwind", "--app", "--no-src-dir", "--use-npm",
        "--skip-install", "--disable-git", "--yes", "--import-alias", "@/*",
    ),
)  # fmt: skip

# -- Vite, React and its router: a single-page app -----------------------------------------------------------------------------------

_VITE = {
    "src/main.tsx": """
import { lazy, StrictMode, Suspense, useEffect } from 'react'
import { createRoot } from 'react-dom/client'
import { BrowserRouter, Link, Route, Routes } from 'react-router'
import './index.css'
import App from './App.tsx'

const About = lazy(() => import('./About.tsx'))
const Post = lazy(() => import('./Post.tsx'))

function Home() {
  useEffect(() => { document.title = 'Home' }, [])
  return <App />
}

createRoot(document.getElementById('root')!).render(
  <StrictMode>
    <BrowserRouter>
      <nav><Link to="/">Home</Link> <Link to="/about">About</Link> <Link to="/blog/first">First</Link></nav>
      <Suspense fallback={null}>
        <Routes>
          <Route index element={<Home />} />
          <Route path="about" element={<About />} />
          <Route path="blog/:slug" element={<Post />} />
        </Routes>
      </Suspense>
    </BrowserRouter>
  </StrictMode>,
)
""",
    "src/About.tsx": f"""
import {{ useEffect }} from 'react'

export default function About() {{
  useEffect(() => {{ document.title = 'About' }}, [])
  return <main><h1>About</h1><p>{MARK}</p></main>
}}
""",
    "src/Post.tsx": """
import { useEffect } from 'react'
import { useParams } from 'react-router'
import './post.css'

export default function Post() {
  const { slug } = useParams()
  useEffect(() => { document.title = `Post ${slug}` }, [slug])
  return <main><h1>Post {slug}</h1></main>
}
""",
    "src/post.css": "main { color: #222 }\n",
}

# -- Astro --------------------------------------------------------------------------------------------------------------------------

_ASTRO = {
    "astro.config.mjs": """
import { defineConfig } from 'astro/config';

export default defineConfig({ build: { format: process.env.PUBLIC_FORMAT === 'file' ? 'file' : 'directory' } });
""",
    "src/layouts/Layout.astro": """
---
import { ClientRouter } from 'astro:transitions';
const { title } = Astro.props;
---
<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8" />
    <link rel="icon" type="image/svg+xml" href="/favicon.svg" />
    <title>{title}</title>
    <ClientRouter />
  </head>
  <body>
    <nav><a href="/">Home</a> <a href="/about">About</a> <a href="/blog/first">First</a> <a href="/blog/node.js">Dot</a></nav>
    <main><h1>{title}</h1><slot /></main>
  </body>
</html>
<style is:global>
  body { font-family: sans-serif; margin: 2rem; background: url(../dots.svg) }
</style>
""",
    "src/dots.svg": f"<svg xmlns='http://www.w3.org/2000/svg' width='8' height='8'><!-- {'x' * 6000} --></svg>\n",
    "public/favicon.svg": "<svg xmlns='http://www.w3.org/2000/svg' width='8' height='8'><circle cx='4' cy='4' r='4'/></svg>\n",
    "src/pages/index.astro": "---\nimport Layout from '../layouts/Layout.astro';\n---\n<Layout title=\"Home\"><p>Hello.</p></Layout>\n",
    "src/pages/about.astro": f"---\nimport Layout from '../layouts/Layout.astro';\n---\n<Layout title=\"About\"><p>{MARK}</p></Layout>\n",
    "src/pages/blog/[slug].astro": """
---
import Layout from '../../layouts/Layout.astro';
export const getStaticPaths = () => Object.entries(POSTS).map(([slug, title]) => ({ params: { slug }, props: { title } }));
---
<Layout title={Astro.props.title}>
  <button>Count</button> <output>0</output>
  <script>
    document.addEventListener('astro:page-load', () => {
      document.querySelector('button')?.addEventListener('click', () => { document.querySelector('output')!.textContent = '1' });
    });
  </script>
</Layout>
""".replace("POSTS", json.dumps(_POSTS)).lstrip(),
}
_ASTRO["src/layouts/Layout.astro"] = _ASTRO["src/layouts/Layout.astro"].lstrip()
_WITHOUT_ROUTER = {
    **_ASTRO,
    "src/layouts/Layout.astro": _ASTRO["src/layouts/Layout.astro"]
    .replace("import { ClientRouter } from 'astro:transitions';\n", "")
    .replace("    <ClientRouter />\n", ""),
}

# -- SvelteKit ----------------------------------------------------------------------------------------------------------------------

_SVELTE = {
    "svelte.config.js": """
import adapter from '@sveltejs/adapter-static';
import { vitePreprocess } from '@sveltejs/vite-plugin-svelte';

export default {
  preprocess: vitePreprocess(),
  kit: { adapter: adapter(), version: { name: process.env.AMIANAI_BUILD_ID } }
};
""",
    "src/routes/+layout.ts": "export const prerender = true;\n",
    "src/routes/+layout.svelte": """
<script lang="ts">
  import favicon from '$lib/assets/favicon.svg';
  let { children } = $props();
</script>

<svelte:head><link rel="icon" href={favicon} /></svelte:head>
<nav><a href="/">Home</a> <a href="/about">About</a> <a href="/blog/first">First</a> <a href="/blog/node.js">Dot</a></nav>
<main>{@render children()}</main>
""",
    "src/routes/+page.svelte": "<svelte:head><title>Home</title></svelte:head>\n<h1>Welcome to SvelteKit</h1>\n",
    "src/routes/about/+page.svelte": f"<svelte:head><title>About</title></svelte:head>\n<h1>About</h1>\n<p>{MARK}</p>\n",
    "src/routes/blog/[slug]/+page.ts": f"""
import type {{ EntryGenerator, PageLoad }} from './$types';
const posts: Record<string, string> = {json.dumps(_POSTS)};
export const entries: EntryGenerator = () => Object.keys(posts).map((slug) => ({{ slug }}));
export const load: PageLoad = ({{ params }}) => ({{ title: posts[params.slug] }});
""",
    "src/routes/blog/[slug]/+page.svelte": """
<script lang="ts">
  let { data } = $props();
</script>

<svelte:head><title>{data.title}</title></svelte:head>
<h1>{data.title}</h1>
""",
}

# -- Eleventy -------------------------------------------------------------------------------------------------------------------------

_ELEVENTY_LAYOUT = """
<!doctype html>
<html lang="en">
  <head><meta charset="utf-8"><title>{{ title }}</title><link rel="stylesheet" href="/style.css"><link rel="icon" href="data:,"></head>
  <body>
    <nav><a href="/">Home</a> <a href="/about/">About</a> <a href="{{ '/blog/first/' }}">First</a></nav>
    <main><h1>{{ title }}</h1>{{ content }}</main>
  </body>
</html>
""".lstrip()
_ELEVENTY = {
    "eleventy.config.js": 'export default (config) => { config.addPassthroughCopy("style.css") };\n',
    "_includes/base.liquid": _ELEVENTY_LAYOUT,
    "style.css": "body { font-family: sans-serif }\n",
    "index.md": "---\nlayout: base.liquid\ntitle: Home\n---\nHello.\n",
    "about.md": f"---\nlayout: base.liquid\ntitle: About\n---\n{MARK} [Back](../)\n",
    "blog/first.md": "---\nlayout: base.liquid\ntitle: The first one\n---\n[About](/about)\n",
}

# -- Angular: a single-page app -------------------------------------------------------------------------------------------------------

_ANGULAR = {
    "src/app/app.routes.ts": """
import { Routes } from '@angular/router';

export const routes: Routes = [
  { path: '', title: 'Home', loadComponent: () => import('./home') },
  { path: 'about', title: 'About', loadComponent: () => import('./about') },
];
""",
    "src/app/app.html": '<nav><a routerLink="/">Home</a> <a routerLink="/about">About</a></nav>\n<router-outlet />\n',
    "src/app/app.ts": """
import { Component } from '@angular/core';
import { RouterLink, RouterOutlet } from '@angular/router';

@Component({ selector: 'app-root', imports: [RouterLink, RouterOutlet], templateUrl: './app.html', styleUrl: './app.css' })
export class App {}
""",
    "src/app/home.ts": """
import { Component } from '@angular/core';

@Component({ template: '<main><h1>Home</h1></main>' })
export default class Home {}
""",
    "src/app/about.ts": f"""
import {{ Component }} from '@angular/core';

@Component({{ template: '<main><h1>About</h1><p>{MARK}</p></main>' }})
export default class About {{}}
""",
    "src/styles.css": "body { font-family: sans-serif }\nmain { color: #222 }\n",
}

# -- Docusaurus -----------------------------------------------------------------------------------------------------------------------

_DOCUSAURUS = {
    "src/pages/about.mdx": f"# About\n\n{MARK}\n\n[The tutorial](/docs/intro)\n",
    # The template's authors have pictures on GitHub.
    "blog/authors.yml": "".join(
        f"{name}:\n  name: {name.title()}\n  url: https://example.org/{name}\n  page: {page}\n"
        for name, page in (("yangshun", "true"), ("slorber", "{permalink: '/all-sebastien-lorber-articles'}"))
    ),
}

# -- Nuxt ---------------------------------------------------------------------------------------------------------------------------

_NUXT = {
    # What differs in every build of the same sources is left out: the file that says which build is the newest, and when a page was made.
    "nuxt.config.ts": """
export default defineNuxtConfig({
  compatibilityDate: '2025-11-01',
  telemetry: false,
  buildId: process.env.AMIANAI_BUILD_ID,
  experimental: { appManifest: false },
})
""",
    "server/plugins/prerendered.ts": """
export default defineNitroPlugin((nitro) => {
  nitro.hooks.hook('render:response', (response) => {
    if (typeof response.body === 'string') response.body = response.body.replace(/\\b1\\d{12}\\b/g, '0')
  })
})
""",
    "app/app.vue": """
<template>
  <div>
    <nav><NuxtLink to="/">Home</NuxtLink> <NuxtLink to="/about">About</NuxtLink> <NuxtLink to="/blog/first">First</NuxtLink></nav>
    <NuxtPage />
  </div>
</template>
""",
    "app/pages/index.vue": """
<script setup lang="ts">
useHead({ title: 'Home', link: [{ rel: 'icon', href: 'data:,' }] })
</script>
<template><main><h1>Home</h1></main></template>
""",
    "app/pages/about.vue": f"""
<script setup lang="ts">
useHead({{ title: 'About', link: [{{ rel: 'icon', href: 'data:,' }}] }})
</script>
<template><main><h1>About</h1><p>{MARK}</p></main></template>
""",
    "app/pages/blog/[slug].vue": """
<script setup lang="ts">
const { slug } = useRoute().params
const { data } = await useAsyncData(`post ${slug}`, async () => ({ title: `Post ${slug}` }))
useHead({ title: data.value?.title, link: [{ rel: 'icon', href: 'data:,' }] })
</script>
<template><main><h1>{{ data?.title }}</h1></main></template>
<style scoped>
main { color: #222 }
</style>
""",
}

# -- plain HTML -----------------------------------------------------------------------------------------------------------------------


def _plain(title: str, text: str) -> str:
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title><link rel="stylesheet" href="/style.css">'
        '<link rel="manifest" href="/site.webmanifest"><link rel="icon" href="/logo.svg"></head><body><nav><a href="/">Home</a> '
        f'<a href="/about">About</a> <a href="/docs">Docs</a></nav><main><h1>{title}</h1><p>{text}</p></main></body></html>\n'
    )


PLAIN = {
    "index.html": _plain("Home", '<img src="/logo.svg" srcset="/logo.svg 1x, /logo@2x.svg 2x" alt="">'),
    "about.html": _plain("About", MARK),
    "docs/index.html": _plain("Docs", '<a href="more.html">More</a> <a href="v1.2/">Version</a>'),
    "docs/more.html": _plain("More", '<a href="/LICENSE" download>Licence</a>'),
    "docs/v1.2/index.html": _plain("Version 1.2", '<a href="../">Back</a>'),
    "style.css": "@import 'more.css';\nbody { background: url(dots.svg) }\n",
    "more.css": "main { color: #222 }\n",
    "dots.svg": "<svg xmlns='http://www.w3.org/2000/svg' width='8' height='8'><circle cx='4' cy='4' r='1'/></svg>\n",
    "logo.svg": "<svg xmlns='http://www.w3.org/2000/svg' width='8' height='8'><circle cx='4' cy='4' r='4'/></svg>\n",
    "logo@2x.svg": "<svg xmlns='http://www.w3.org/2000/svg' width='16' height='16'><circle cx='8' cy='8' r='8'/></svg>\n",
    "site.webmanifest": '{"name": "Plain", "start_url": "/", "icons": [{"src": "icon.svg", "sizes": "any"}]}\n',
    "icon.svg": "<svg xmlns='http://www.w3.org/2000/svg' width='8' height='8'><rect width='8' height='8'/></svg>\n",
    "LICENSE": "MIT\n",
}

_FLAT = ("/", "/about", "/blog/first", "/blog/node.js")

_CREATE_VITE = (
    (*_NPX, "create-vite@9.3.0", "vite", "--template", "react-ts", "--no-interactive", "--no-immediate"),
    # The linter's optional packages are not all there, and `npm ci` refuses the lock file that `npm install` makes of them.
    ("npm", "pkg", "delete", "devDependencies.oxlint", "scripts.lint"),
)
_CREATE_ANGULAR = (
    (
        *_NPX, "@angular/cli@20.3.10", "new", "angular", "--routing", "--style", "css", "--ssr=false", "--skip-git", "--skip-install",
        "--defaults",
    ),
)  # fmt: skip
_CREATE_DOCUSAURUS = (
    (*_NPX, "create-docusaurus@3.10.2", "docusaurus", "classic", "--typescript", "--skip-install"),
    # A build that goes on from the cache of the one before it names its runtime script otherwise, and with it every page.
    ("npm", "pkg", "set", "scripts.build=docusaurus clear && docusaurus build"),
)
_CREATE_SVELTE = ((*_NPX, "sv@0.9.5", "create", "svelte", "--template", "minimal", "--types", "ts", "--no-add-ons", "--no-install"),)


def _by_hand(build: str) -> tuple[tuple[str, ...], ...]:
    return (("npm", "init", "--yes"), ("npm", "pkg", "set", "type=module", f"scripts.build={build}"))


_ASTRO_SITE = Framework(
    "astro-directory",
    "dist",
    _by_hand("astro build"),
    _ASTRO,
    _FLAT,
    "src/pages/about.astro",
    "^about/index.html$",
    packages=("astro@5.16.0",),
    hashed="^_astro/",
    folder="astro",
    complains="data:application/javascript",
)
_NEXT_CHANGES = r"^_next/static/(chunks/|[^/]+/_\w+\.js$)|\.(txt|html)$"
"""Every page and payload of Next names its build."""
_NEXT_SITE = Framework(
    "next",
    "out",
    _NEXT_CREATE,
    _NEXT,
    ("/", "/about", "/blog", *_FLAT[2:]),
    "app/about/page.tsx",
    _NEXT_CHANGES,
    hashed="^_next/static/",
    unlinked=r"\.txt$|^/(_not-found|404)/?$",  # payloads, whose addresses its router computes; the pages for what is missing
)

FRAMEWORKS = (
    Framework(
        "plain",
        "out",
        (),
        {f"out/{path}": text for path, text in PLAIN.items()},
        ("/", "/about", "/docs", "/docs/more.html", "/docs/v1.2/"),
        "out/about.html",
        "^about.html$",
    ),
    Framework(
        "eleventy",
        "_site",
        _by_hand("eleventy"),
        _ELEVENTY,
        ("/", "/about/", "/blog/first/"),
        "about.md",
        "^about/index.html$",
        packages=("@11ty/eleventy@3.1.2",),
    ),
    Framework(
        "vite",
        "dist",
        _CREATE_VITE,
        _VITE,
        ("/", "/about", "/blog/first"),
        "src/About.tsx",
        r"^index.html$|^assets/\w+-[\w-]{8}\.js$",
        packages=("react-router@7.9.6",),
        settings=("site.fallback=index.html",),
        hashed="^assets/",
    ),
    _ASTRO_SITE,
    replace(
        _ASTRO_SITE,
        name="astro-file",
        files=_WITHOUT_ROUTER,
        settings=("site.environment=PUBLIC_FORMAT=file",),
        with_page="^about.html$",
        complains="",
    ),
    Framework(
        "svelte",
        "build",
        _CREATE_SVELTE,
        _SVELTE,
        _FLAT,
        "src/routes/about/+page.svelte",
        r"^_app/(immutable/.*|version\.json)$|\.html$",
        packages=("@sveltejs/adapter-static@3.0.10",),
        hashed="^_app/immutable/",
        unlinked=r"^/(robots\.txt|_app/version\.json)$",  # for search engines; for pages that are open for long
    ),
    Framework(
        "nuxt",
        ".output/public",
        # Its storage refuses the key of a site's first page from 1.17.5 on, and a build that finds another's cache names scripts otherwise.
        (
            *_by_hand("nuxt cleanup && nuxt generate"),
            ("npm", "pkg", "set", "overrides.unstorage=1.17.4"),
            ("npm", "config", "set", "--location=project", "package-lock=false"),
        ),
        _NUXT,
        ("/", "/about", "/blog/first"),
        "app/pages/about.vue",
        r"^_nuxt/|\.html$|(^|/)_payload\.json$",
        packages=("nuxt@4.2.1",),
        hashed="^_nuxt/",
        unlinked=r"^/200$|^/_nuxt/error-\d+\.[\w-]+\.css$",  # for servers that fall back; the styles of its own error pages
    ),
    _NEXT_SITE,
    replace(
        _NEXT_SITE,
        name="next-slash",
        folder="next",
        pages=("/", "/about/", "/blog/", "/blog/first/", "/blog/node.js"),  # Next takes a dot for a file's
        settings=("site.environment=NEXT_PUBLIC_SLASH=yes",),
    ),
    Framework(
        "angular",
        "dist/angular/browser",
        _CREATE_ANGULAR,
        _ANGULAR,
        ("/", "/about"),
        "src/app/about.ts",
        r"^index.html$|-[A-Z0-9]{8}\.js$",
        settings=("site.fallback=index.html",),
        hashed=r"-[A-Z0-9]{8}\.(js|css)$",
    ),
    Framework(
        "docusaurus",
        "build",
        _CREATE_DOCUSAURUS,
        _DOCUSAURUS,
        ("/", "/docs/intro", "/blog"),
        "src/pages/about.mdx",
        r"^assets/js/|\.html$",
        hashed="^assets/(js|css)/",
        # Pages of ours and of the template's that nothing links, the list of years, and what is for readers of feeds and search engines.
        unlinked=r"^/((about|markdown-page|blog/archive)/|blog/(atom|rss)\.xml|sitemap\.xml)$",
    ),
)


def made(framework: Framework, cache: Path, log: Path) -> Path:
    """The framework's site, made where that was not done before, with our files in it as they are written above."""
    where = cache / (framework.folder or framework.name)
    mark = where / ".made"
    recipe = hashlib.sha256(repr((framework.create, framework.packages)).encode()).hexdigest()
    if not mark.is_file() or mark.read_text() != recipe:
        shutil.rmtree(where, ignore_errors=True)
        cache.mkdir(parents=True, exist_ok=True)
        for command in framework.create:
            where.mkdir(exist_ok=True) if command[0] == "npm" else None
            _run(command, where if command[0] == "npm" else cache, log)
        if framework.create:
            _run(("npm", "install", "--no-audit", "--no-fund", *framework.packages), where, log)
        where.mkdir(exist_ok=True)
        mark.write_text(recipe)
    for path, text in framework.files.items():
        (where / path).parent.mkdir(parents=True, exist_ok=True)
        (where / path).write_text(text)
    return where


def _run(command: tuple[str, ...], folder: Path, log: Path) -> None:
    environment = {**os.environ, "CI": "1", "NG_CLI_ANALYTICS": "false"}
    with log.open("ab") as file:
        subprocess.run(command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=file, stderr=file, check=True, timeout=900)
