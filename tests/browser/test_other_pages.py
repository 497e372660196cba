"""A page of another origin, open in the developer's browser while the sandbox runs, tries to act as the developer.

Each attempt asks for a queue by a name of its own, with the credentials that the emulator takes from everybody; what the
emulator holds afterwards, asked with the real key, says whether it worked.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import boto3
import pytest
from playwright.sync_api import Browser, BrowserContext, sync_playwright

from amianai_infra.progress import Progress
from amianai_infra.sandbox import Sandbox
from tests.browser.conftest import _FLAGS
from tests.project import checkout

pytestmark = [pytest.mark.browser, pytest.mark.sandbox]

QUIET = Progress(quiet=True)
# Of the same site as the emulator (only the port differs), of another one, and a name that an attacker's name server leads here.
ORIGINS = ("127.0.0.1", "localhost", "evil.example")
KEYS = ("test", "000000000000")


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    made = Sandbox(checkout(tmp_path_factory.mktemp("open") / "checkout"))
    made.start(QUIET)
    yield made
    made.reset(QUIET)


class _Page(BaseHTTPRequestHandler):
    html = ""

    def do_GET(self) -> None:
        body = _Page.html.encode()
        self.send_response(200)
        self.send_header("content-type", "text/html; charset=utf-8")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def page_port() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def chromium(browser_path: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        rebound = "--host-resolver-rules=MAP *.example 127.0.0.1"
        running = playwright.chromium.launch(executable_path=browser_path, args=[*_FLAGS, rebound])
        yield running
        running.close()


@pytest.fixture
def context(chromium: Browser) -> Iterator[BrowserContext]:
    made = chromium.new_context()
    yield made
    made.close()


def queues(sandbox: Sandbox) -> set[str]:
    key = sandbox.key()
    session = boto3.Session(key.access_key, key.secret_key, region_name="us-east-1")
    sqs = session.client("sqs", endpoint_url=f"http://127.0.0.1:{sandbox.ports().emulator}")
    return {url.rsplit("/", 1)[-1] for url in sqs.list_queues().get("QueueUrls", [])}


@dataclass
class Attempt:
    """One way in which a page can make a browser send something."""

    emulator: str
    key: str
    made: int = 0

    def action(self, name: str) -> dict[str, str]:
        return {"Action": "CreateQueue", "QueueName": name, "Version": "2012-11-05"}

    def query(self, name: str) -> str:
        scope = f"{self.key}/20260101/us-east-1/sqs/aws4_request"
        signed = {
            "X-Amz-Algorithm": "AWS4-HMAC-SHA256", "X-Amz-Credential": scope, "X-Amz-Date": "20260101T000000Z",
            "X-Amz-SignedHeaders": "host", "X-Amz-Signature": "0" * 64, "X-Amz-Expires": "3600",
        }  # fmt: skip
        return urlencode({**self.action(name), **signed})

    def get(self, name: str) -> str:
        return f"{self.emulator}/?{self.query(name)}"

    def form(self, name: str, kind: str, target: str) -> str:
        fields = "".join(f'<input name="{key}" value="{value}">' for key, value in self.action(name).items())
        return (
            f'<form id="{name}" method="post" enctype="{kind}" target="{target}" action="{self.emulator}/?{self.query(name)}">{fields}'
            f'</form><script>document.getElementById("{name}").submit()</script>'
        )

    def html(self) -> str:
        """All of them on one page."""
        tag = self.key
        authorization = (
            f"AWS4-HMAC-SHA256 Credential={self.key}/20260101/us-east-1/sqs/aws4_request, SignedHeaders=host, Signature={'0' * 64}"
        )
        frames = "".join(f'<iframe name="f{number}"></iframe>' for number in range(3))
        return f"""<!doctype html><title>waiting</title>{frames}
        <img src="{self.get(f"img-{tag}")}">
        <script src="{self.get(f"script-{tag}")}"></script>
        <link rel="stylesheet" href="{self.get(f"style-{tag}")}">
        <iframe src="{self.get(f"iframe-{tag}")}"></iframe>
        <object data="{self.get(f"object-{tag}")}"></object>
        <video src="{self.get(f"video-{tag}")}" autoplay></video>
        {self.form(f"form-{tag}", "application/x-www-form-urlencoded", "f0")}
        {self.form(f"text-{tag}", "text/plain", "f1")}
        {self.form(f"multipart-{tag}", "multipart/form-data", "f2")}
        <script>
          const base = "{self.emulator}/", target = "AmazonSQS.CreateQueue", json = "application/x-amz-json-1.0";
          const body = (name) => new URLSearchParams({{Action: "CreateQueue", QueueName: name, Version: "2012-11-05"}});
          const headers = {{authorization: "{authorization}", "content-type": json, "x-amz-target": target}};
          const socket = new Promise((done) => {{
            const made = new WebSocket(base.replace("http", "ws") + "?{self.query(f"socket-{tag}")}");
            made.onopen = () => {{ document.body.dataset.socket = "open"; done() }}; made.onclose = made.onerror = () => done();
          }});
          Promise.allSettled([
            fetch("{self.get(f"fetch-{tag}")}", {{mode: "no-cors"}}),
            fetch(base + "?" + body("cors-get-{tag}"), {{headers: {{authorization: headers.authorization}}}}),
            fetch(base, {{method: "POST", mode: "no-cors", body: body("fetch-post-{tag}")}}),
            fetch(base + "?{self.query(f"cors-post-{tag}")}", {{method: "POST", body: body("cors-post-{tag}")}}),
            fetch(base, {{method: "POST", headers, body: JSON.stringify({{QueueName: "cors-json-{tag}"}})}})
              .then((answer) => answer.text()).then((text) => {{ document.body.dataset.read = text }}),
            fetch(base, {{method: "PUT", headers}}),
            socket,
          ]).then(() => {{ navigator.sendBeacon(base + "?{self.query(f"beacon-{tag}")}", body("beacon-{tag}")); document.title = "done" }});
        </script>"""


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("origin", ORIGINS)
def test_no_page_makes_anything(context: BrowserContext, sandbox: Sandbox, page_port: int, origin: str, key: str) -> None:
    port = sandbox.ports().emulator
    for emulator in (f"http://127.0.0.1:{port}", f"http://localhost:{port}"):
        _Page.html = Attempt(emulator, key).html()
        page = context.new_page()
        page.goto(f"http://{origin}:{page_port}/", wait_until="load")
        page.wait_for_function("document.title === 'done'", timeout=60_000)
        assert page.evaluate("document.body.dataset.read || document.body.dataset.socket || ''") == ""
        page.goto(Attempt(emulator, key).get(f"navigation-{key}"))  # as a link or a redirect would lead the tab
        assert "AccessDenied" in page.content()
        page.close()
    assert queues(sandbox) == set()


def test_a_name_led_to_this_machine_reaches_nothing(context: BrowserContext, sandbox: Sandbox) -> None:
    port = sandbox.ports().emulator
    page = context.new_page()
    answer = page.goto(f"http://rebound.example:{port}/?{Attempt('', 'test').query('rebound')}")
    assert answer is not None
    assert answer.status == 403
    options = "{method: 'POST', headers: {'x-amz-target': 'AWSCognitoIdentityProviderService.SignUp'}, body: '{}'}"
    assert page.evaluate(f"() => fetch('/', {options}).then((answer) => answer.status)") == 403
    assert queues(sandbox) == set()


def test_a_page_of_a_development_server_reads_nothing(context: BrowserContext, sandbox: Sandbox, page_port: int) -> None:
    """Unless sign-in returns to it, which no pool here says."""
    _Page.html = "<title>mine</title>"
    page = context.new_page()
    page.goto(f"http://localhost:{page_port}/")
    for path in ("/", "/us-east-1_x/.well-known/jwks.json", "/_ministack/health", "/oauth2/token"):
        for options in ("{}", "{method: 'POST', headers: {'x-amz-target': 'AWSCognitoIdentityProviderService.SignUp'}, body: '{}'}"):
            read = page.evaluate(
                f"() => fetch('http://127.0.0.1:{sandbox.ports().emulator}{path}', {options}).then(() => 'read', () => 'no')"
            )
            assert read == "no", path


def test_an_object_that_a_person_opens_does_not_act_for_them(context: BrowserContext, sandbox: Sandbox, tmp_path: Path) -> None:
    """A stored page has the emulator's own origin; without the key that opens nothing."""
    key = sandbox.key()
    session = boto3.Session(key.access_key, key.secret_key, region_name="us-east-1")
    s3 = session.client("s3", endpoint_url=f"http://127.0.0.1:{sandbox.ports().emulator}")
    s3.create_bucket(Bucket="pages")
    attempt = Attempt(f"http://127.0.0.1:{sandbox.ports().emulator}", "test")
    s3.put_object(Bucket="pages", Key="page.html", Body=attempt.html().encode(), ContentType="text/html")
    page = context.new_page()
    page.goto(s3.generate_presigned_url("get_object", Params={"Bucket": "pages", "Key": "page.html"}))
    page.wait_for_function("document.title === 'done'", timeout=60_000)
    assert queues(sandbox) == set()
