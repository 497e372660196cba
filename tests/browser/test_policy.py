"""A browser and the policy that a page's words make: what the release holds runs, what somebody adds does not.

The header is the one that the function at the edge writes, as tests/unit/rules/test_viewer_function.py compares.
"""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from playwright.sync_api import Page, sync_playwright

from amianai_infra.rules.headers import content_security_policy, page_policy, policy_of
from amianai_infra.rules.inline_scripts import merged, needed_by, words
from tests.browser.conftest import _FLAGS

pytestmark = pytest.mark.browser

WASM = base64.b64encode(b"\0asm\1\0\0\0").decode()
APP = f"""
const bytes = Uint8Array.from(atob("{WASM}"), (sign) => sign.charCodeAt(0));
WebAssembly.compile(bytes).then(() => done("wasm"), () => done("no wasm"));
const worker = new Worker(URL.createObjectURL(new Blob(["postMessage('blob worker')"])));
worker.onmessage = (event) => done(event.data);
worker.onerror = () => done("no worker");
"""
PAGE = """<!doctype html><meta charset="utf-8"><title>x</title>
<script>window.ran = [];\r\nwindow.done = (what) => ran.push(what); done("inline é");</script>
<script type="module">done("module");</script><template><script>no()</script></template><!-- <script> -->
<button onclick="done(&quot;handler&quot;)">x</button><a href="javascript:done('address');void 0">x</a>
<script src="/app.js"></script>{injected}"""
INJECTED = "<script>done('injected')</script><img src=x onerror=\"done('injected')\">"


class _Site(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        script = self.path == "/app.js"
        text = APP if script else PAGE.format(injected=INJECTED if self.path == "/injected" else "")
        own, needs = words(PAGE.format(injected="").encode(), "utf-8")
        used = f"{needs} {' '.join(needed_by(APP.encode()))}" if "plain" not in (self.headers.get("referer") or self.path) else ""
        self.send_response(200)
        self.send_header("content-type", "text/javascript" if script else "text/html; charset=utf-8")
        self.send_header("content-security-policy", policy_of(page_policy(content_security_policy()), merged(own, used)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def page(browser_path: str) -> Iterator[tuple[Page, str]]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Site)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=browser_path, args=list(_FLAGS))
        yield running.new_page(), f"http://127.0.0.1:{server.server_address[1]}"
        running.close()
    server.shutdown()
    server.server_close()


def test_what_the_release_holds_runs_and_what_is_added_does_not(page: tuple[Page, str]) -> None:
    tab, site = page
    refused: list[str] = []
    tab.on("console", lambda message: refused.append(message.text) if "Content Security Policy" in message.text else None)
    everything = {"inline é", "module", "wasm", "blob worker"}

    tab.goto(f"{site}/")
    tab.wait_for_function("ran.length >= 4")
    tab.click("button")
    tab.click("a")
    tab.wait_for_function("ran.length >= 6")
    assert set(tab.evaluate("ran")) == everything | {"handler", "address"}
    assert refused == []

    tab.goto(f"{site}/injected")
    tab.wait_for_function("ran.length >= 4")
    tab.evaluate("document.body.append(Object.assign(document.createElement('script'), {text: 'done(1)'}))")
    assert set(tab.evaluate("ran")) == everything
    assert len(refused) == 3, "a script, a handler, a script that a script made"

    tab.goto(f"{site}/plain")
    tab.wait_for_function("ran.length >= 4")
    assert set(tab.evaluate("ran")) == {"inline é", "module", "no wasm", "no worker"}, "of a site that uses neither"
