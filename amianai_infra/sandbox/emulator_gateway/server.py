"""Runs the emulator, in its own venv, with what a sandbox on a person's machine needs besides.

* Nothing is served that `access` and `signature` do not allow. The emulator lets every web page and every local user call every
  service, with a key that everybody knows and any signature.
* Only the services that the stack uses are on (`SERVICES` in `emulator.py`), and no Lambda function is executed, whatever invokes it.
* State is saved a moment after it changed. The emulator itself saves only when it is told to end, and would lose
  everything but S3 objects to a kill or a power cut.
* What cannot be written to disk is no success: the emulator answers 200 all the same, and would have lost it after its next start.
* CloudFront functions can read the key-value store that they are associated with; the emulator keeps it and gives them nothing of it.
* Viewers of the site reach CloudFront and nothing else: the emulator would answer `/logout` or `/health` of every host name itself.
  They count as coming over TLS. The emulator has none, so it would send them to an https address that does not exist
  (`redirect-to-https`), and a bucket policy that wants TLS would turn away CloudFront's fetch for them.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import os
import re
import subprocess
import time
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from contextvars import ContextVar
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

from . import access, cognito, signature
from .access import Caller, Kind

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

QUIET_SECONDS = 0.5
AT_LEAST_EVERY = 10.0
_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_ASKING_ACTIONS = ("Describe", "Get", "List")
_PAGE_HEADERS = [
    (b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'; base-uri 'none'"),
    (b"x-content-type-options", b"nosniff"),
]
# What the AWS SDK for JavaScript sends to Cognito from a page.
_SENT = ("authorization", "cache-control", "content-type", "x-amz-target", "x-amz-user-agent", "amz-sdk-invocation-id", "amz-sdk-request")
_PREFLIGHT = [
    (b"access-control-allow-methods", b"GET, POST"),
    (b"access-control-allow-headers", ", ".join(_SENT).encode()),
    (b"access-control-max-age", b"600"),
]
# Bodies that are read before it is known who sent them; Cognito's own limits, and Lambda's on a function sent with its code, are lower.
_LARGEST_UNSIGNED = 2**20
_LARGEST_UNCHECKED = 2**27
_ADDRESS = re.compile(rb"/[!-~]*")
_ASKING = (b"host", b"origin", b"access-control-request-method", b"access-control-request-headers")
# The one service that answers what is not signed in a header; everything else says itself for which it was signed.
_ONE_SERVICE = {Kind.PRESIGNED: "s3", Kind.SIGN_IN: "cognito-idp", Kind.PAGE: "cognito-idp", Kind.FORM: "cognito-idp"}
_only: ContextVar[str | None] = ContextVar("_only", default=None)
_unstored: ContextVar[list[str] | None] = ContextVar("_unstored", default=None)
"""What could not be written to disk in the request, or the save, that is under way."""
_WRITE_FAILURES = ("Failed to persist", "Persistence: failed to save")
_log = logging.getLogger("sandbox")


class _TooLargeError(Exception):
    """A body is longer than is read here."""


class Refusals:
    """A line in the log for each refused request, up to a number a minute: a page can send thousands a second.

    Args:
        most: lines a minute.
        clock: monotonic seconds, for tests.
    """

    def __init__(self, most: int = 60, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._clock = clock
        self._minute = 0
        self._count = 0

    def add(self, request: str, code: str, why: str) -> None:
        """Note one; the first of the next minute tells how many were left out."""
        minute = int(self._clock() // 60)
        if minute != self._minute:
            if self._count > self._most:
                _log.warning("refused %d more in that minute", self._count - self._most)
            self._minute, self._count = minute, 0
        self._count += 1
        if self._count <= self._most:
            _log.warning("refused %r: %s: %s", request, code, why)


_refusals = Refusals()


class Emulator(Protocol):
    """What the guard asks of the emulator."""

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI scope."""

    async def serve_site(self, scope: Scope, caller: Caller, send: Send) -> None:
        """Answer a viewer's request to a distribution."""

    def save(self) -> None:
        """Write all state to disk.

        Raises:
            OSError: not all of it could be written.
        """

    def unstored(self) -> str:
        """What of the request that is being served could not be written to disk; empty when all was."""

    def secret_of(self, key: str, token: str) -> str | None:
        """The secret key of an access key id; None when there is none, or the session token is not its own."""

    def origins(self) -> Collection[str]:
        """The origins of the distributions and of the addresses that sign-in returns to."""

    def public_actions(self) -> Collection[str]:
        """The actions of Cognito that AWS serves without a signature."""

    def as_cognito(self, action: str, body: bytes, authorization: str) -> bytes | tuple[str, str]:
        """A request to Cognito as the emulator has to get it, or the error code and message with which Cognito refuses it."""


class Guard:
    """The emulator behind the checks, with its state saved after changes."""

    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator
        self._changed = asyncio.Event()
        self._last = 0.0
        self._saver: asyncio.Task[None] | None = None
        self._unsaved = ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI scope."""
        if scope["type"] == "lifespan":
            self._saver = asyncio.create_task(self._save_after_changes())
            await self._emulator.serve(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await self._http(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        caller = caller_of(scope)
        if caller is None:
            await _turn_away(scope, send, "AccessDenied", "a request has one Host, at most one Origin, and an address like /path?query")
            return
        origins = self._emulator.origins() if caller.origin is not None or caller.path == "/logout" else ()
        if access.preflight(caller, origins):
            headers = access.cross_origin_headers(caller.origin, origins)
            await _answer(send, 200, [*headers, *_PREFLIGHT], b"")
            return
        kind = access.kind_of(caller, self._emulator.public_actions())
        why = access.refusal(caller, kind, origins)
        if why is not None:
            await _turn_away(scope, send, "AccessDenied", why)
        elif kind is Kind.SITE:
            await self._emulator.serve_site(scope, caller, send)
        else:
            await self._service(scope, caller, kind, receive, _as_allowed(send, kind, caller.origin, origins))

    async def _service(self, scope: Scope, caller: Caller, kind: Kind, receive: Receive, send: Send) -> None:
        _only.set(_ONE_SERVICE.get(kind))
        if kind is Kind.PRESIGNED and caller.method == "OPTIONS":
            scope, receive = _only_asking(scope)
        try:
            scope, receive = await self._checked(scope, caller, kind, receive)
        except signature.UnsignedError as error:
            await _turn_away(scope, send, error.code, str(error))
            return
        except _TooLargeError:
            await _turn_away(scope, send, "RequestTooLarge", "the body is longer than is read here", 413)
            return
        changes, receive = await _changes(caller, receive)
        if changes and not self._is_saved():
            await _no_room(scope, send, self._unsaved)
            return
        if changes:
            send = self._once_stored(scope, send)
        target = caller.headers.get("x-amz-target", "")
        if target.startswith(access.COGNITO):
            body, _ = await _read(receive)
            passed = self._emulator.as_cognito(target.removeprefix(access.COGNITO), body, caller.headers.get("authorization", ""))
            if isinstance(passed, tuple):
                await _refuse_as_json(send, 400, *passed)
                return
            scope, receive = _with_body(scope, passed)
        await self._emulator.serve(scope, receive, send)
        if caller.method not in _READING:
            self._last = time.monotonic()
            self._changed.set()

    async def _checked(self, scope: Scope, caller: Caller, kind: Kind, receive: Receive) -> tuple[Scope, Receive]:
        """The request once it is known to be signed, where it has to be. No more is read of a stranger than is needed for that."""
        if kind is Kind.PRESIGNED and caller.method == "OPTIONS":
            return scope, receive
        if kind not in (Kind.CONTROL, Kind.PRESIGNED):
            body, _ = await _read(receive, _LARGEST_UNSIGNED)
            return _with_body(scope, body)
        request = signature.Request(caller.method, _raw_path(scope), caller.query, caller.headers)
        if kind is Kind.CONTROL and not caller.headers.get("x-amz-content-sha256"):
            signature.check_key(request, self._emulator.secret_of)
            body, receive = await _read(receive, _LARGEST_UNCHECKED)
            request = replace(request, body=body)
        signature.check(request, self._emulator.secret_of)
        if kind is Kind.CONTROL and signature.declares_hash(caller.headers):
            body, receive = await _read(receive)
            signature.check_body(caller.headers, body)
        return scope, receive

    async def _save_after_changes(self) -> None:
        """Save once nothing changed for half a second, and every ten seconds under steady change.

        It runs on the event loop on purpose: no request changes the state while it is written.
        """
        while True:
            await self._changed.wait()
            first = time.monotonic()
            while time.monotonic() - self._last < QUIET_SECONDS and time.monotonic() - first < AT_LEAST_EVERY:
                await asyncio.sleep(0.1)
            self._changed.clear()
            self._save()

    def _is_saved(self) -> bool:
        """Whether the last save went well; one that did not is tried again."""
        if self._unsaved:
            self._save()
        return not self._unsaved

    def _save(self) -> None:
        try:
            self._emulator.save()
            self._unsaved = ""
        except Exception as error:
            _log.exception("saving the state failed")
            self._unsaved = str(error)

    def _once_stored(self, scope: Scope, send: Send) -> Send:
        """A channel that passes a success on only where all that the request changed was written."""
        refused = False

        async def stored(message: Message) -> None:
            nonlocal refused
            if refused:
                return
            if message["type"] == "http.response.start" and message["status"] < 300 and (problem := self._emulator.unstored()):
                refused, self._unsaved = True, problem
                await _no_room(scope, send, problem)
            else:
                await send(message)

        return stored


def caller_of(scope: Scope) -> Caller | None:
    """What an ASGI scope says of its caller; None when it does not say who is meant."""
    headers: dict[str, str] = {}
    for raw, value in scope["headers"]:
        name, text = raw.decode("latin-1").lower(), value.decode("latin-1")
        if name in headers and name in ("host", "origin", "authorization"):
            return None
        headers[name] = f"{headers[name]},{text}" if name in headers else text
    # An address that begins otherwise, or has a fragment, would be read as one thing here and as another by the emulator.
    address = scope["raw_path"] + b"?" + scope["query_string"]
    if not headers.get("host") or not _ADDRESS.fullmatch(address) or b"#" in address:
        return None
    return Caller(scope["method"], scope["path"], scope["query_string"].decode("latin-1"), headers)


def _raw_path(scope: Scope) -> str:
    raw: bytes = scope["raw_path"]
    return raw.decode("ascii")


def _only_asking(scope: Scope) -> tuple[Scope, Receive]:
    """A preflight without anything that could make it another request: browsers send no body, no credentials, and sign nothing."""
    asking = [(name, value) for name, value in scope["headers"] if name.lower() in _ASKING]
    return _with_body({**scope, "headers": asking, "query_string": b""}, b"")


async def _read(receive: Receive, largest: float = math.inf) -> tuple[bytes, Receive]:
    """The whole body, and a channel that gives it once more.

    Raises:
        _TooLargeError: it is longer.
    """
    parts: list[bytes] = []
    length, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            break
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
        length += len(parts[-1])
        if length > largest:
            raise _TooLargeError
    body = b"".join(parts)
    return body, _once(body, receive)


async def _changes(caller: Caller, receive: Receive) -> tuple[bool, Receive]:
    """Whether a request may change anything, and its channel: most services take everything as POST, and say in it what it is."""
    action = caller.headers.get("x-amz-target", "").rpartition(".")[2]
    if not action and caller.method == "POST" and "form-urlencoded" in caller.headers.get("content-type", ""):
        body, receive = await _read(receive)
        action = next(iter(parse_qs(body.decode("latin-1")).get("Action", ())), "")
    return caller.method not in _READING and not action.startswith(_ASKING_ACTIONS), receive


def _once(body: bytes, afterwards: Receive) -> Receive:
    pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        return pending.pop() if pending else await afterwards()

    return receive


def _with_body(scope: Scope, body: bytes) -> tuple[Scope, Receive]:
    """A request that was read, with a body that may be another one."""
    kept = [(name, value) for name, value in scope["headers"] if name.lower() not in (b"content-length", b"transfer-encoding")]

    async def nobody() -> Message:
        return {"type": "http.disconnect"}

    return {**scope, "headers": [*kept, (b"content-length", str(len(body)).encode())]}, _once(body, nobody)


def _as_allowed(send: Send, kind: Kind, origin: str | None, origins: Collection[str]) -> Send:
    """A channel whose answers may be read by those pages alone that may sign in; the emulator lets every page."""

    async def allowed(message: Message) -> None:
        if message["type"] == "http.response.start" and kind is not Kind.PRESIGNED:
            kept = [(name, value) for name, value in message.get("headers", []) if not name.lower().startswith(b"access-control-")]
            own = _PAGE_HEADERS if kind in (Kind.PAGE, Kind.FORM) else []
            added = access.cross_origin_headers(origin, origins) if kind is Kind.SIGN_IN else []
            message = {**message, "headers": [*kept, *own, *added]}
        await send(message)

    return allowed


async def _turn_away(scope: Scope, send: Send, code: str, why: str, status: int = 403) -> None:
    """Answer in the protocol of the request, so that an SDK names the code; one line in the log."""
    why = re.sub(r"[^ -~]", "?", why)[:300]
    _refusals.add(f"{scope['method']} {scope['path']}"[:200], code, why)
    names = {name.lower(): value.lower() for name, value in scope["headers"]}
    if b"x-amz-target" in names or b"json" in names.get(b"content-type", b""):
        await _refuse_as_json(send, status, code, why)
        return
    error = f"<Error><Code>{code}</Code><Message>{escape(why)}</Message></Error>"
    body = f"<ErrorResponse>{error}</ErrorResponse>" if scope["method"] == "POST" else error
    await _answer(send, status, [(b"content-type", b"application/xml"), (b"x-content-type-options", b"nosniff")], body.encode())


async def _no_room(scope: Scope, send: Send, problem: str) -> None:
    """Not with one of the 5xx, after which clients would try again for minutes."""
    why = f"the sandbox cannot write to {problem}"
    await _turn_away(scope, send, "InsufficientStorage", why, 400)


async def _refuse_as_json(send: Send, status: int, code: str, why: str) -> None:
    headers = [(b"content-type", b"application/x-amz-json-1.1"), (b"x-content-type-options", b"nosniff")]
    await _answer(send, status, headers, json.dumps({"__type": code, "message": why}).encode())


async def _answer(send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    if not any(name == b"content-length" for name, _ in headers):
        headers = [*headers, (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _not_executed(function: object, event: object) -> dict[str, Any]:
    """The answer to every invocation of a Lambda function, whatever invoked it."""
    body = {"errorType": "Sandbox.NotExecuted", "errorMessage": "the sandbox executes no function"}
    return {"error": True, "function_error": "Unhandled", "body": body, "log": ""}


class _WriteFailures(logging.Handler):
    """Keeps what the emulator merely logs when it cannot write to disk."""

    def emit(self, record: logging.LogRecord) -> None:
        """Note a failed write of the request, or the save, that is under way."""
        found = _unstored.get()
        if found is not None and str(record.msg).startswith(_WRITE_FAILURES):
            found.append(record.getMessage())


def _where_it_is(save: Callable[[str, Any], None], log: logging.Logger) -> Callable[[str, Any], None]:
    """The emulator's writing of one service's state, which would make its folder anew where the checkout was moved away."""

    def kept(service: str, state: Any) -> None:
        folder = Path(os.environ["STATE_DIR"])
        if folder.is_dir():
            save(service, state)
        else:
            log.error("Persistence: failed to save %s: %s is gone", service, folder)

    return kept


def _or_only(detect: Callable[..., str]) -> Callable[..., str]:
    """The emulator's choice of service, where the kind of request leaves one: it would let a form in the body name another."""

    def chosen(*request: Any) -> str:
        return _only.get() or detect(*request)

    return chosen


class MiniStack:
    """The emulator itself, by the parts of it that are used here."""

    def __init__(self) -> None:
        from ministack import app as gateway  # type: ignore[import-not-found]
        from ministack.core import iam_evaluator, node_pool, persistence  # type: ignore[import-not-found]

        self._gateway = gateway
        self._app: App = gateway.app
        self._iam = iam_evaluator
        self._persistence = persistence
        self._own = (os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"])
        for log in (persistence.logger, logging.getLogger("s3")):
            log.addHandler(_WriteFailures())
        persistence.save_state = _where_it_is(persistence.save_state, persistence.logger)
        gateway.detect_service = _or_only(gateway.detect_service)
        gateway._get_module("lambda_svc")._execute_function = _not_executed
        self._refuse_second_routes()
        self._give_stores()
        # CloudFront functions run in Node: with nothing of this process's environment, whose key opens every service.
        bare = {name: os.environ[name] for name in ("PATH",) if name in os.environ}
        node_pool.subprocess = SimpleNamespace(**{**vars(subprocess), "Popen": partial(subprocess.Popen, env=bare, cwd="/")})

    def _refuse_second_routes(self) -> None:
        """As EC2 does: a client whose answer was lost asks again, and would have made a second one."""
        ec2 = self._gateway._get_module("ec2")
        create = ec2._ACTION_MAP["CreateRoute"]

        def created(asked: Any) -> Any:
            table, to = ec2._p(asked, "RouteTableId"), ec2._p(asked, "DestinationCidrBlock")
            routes = ec2._route_tables.get(table, {}).get("Routes", ())
            if any(route.get("DestinationCidrBlock") == to for route in routes):
                return ec2._error("RouteAlreadyExists", f"The route identified by {to} already exists.", 400)
            return create(asked)

        ec2._ACTION_MAP["CreateRoute"] = created

    def _give_stores(self) -> None:
        """Have the code of a function that has a key-value store run with what the store holds."""
        cloudfront, stores = self._gateway._get_module("cloudfront"), self._gateway._get_module("cloudfront_keyvaluestore")
        code_of, delete = cloudfront.live_function_code, cloudfront._delete_kvs

        def with_store(arn: str) -> bytes | None:
            code: bytes | None = code_of(arn)
            associated = cloudfront._functions[arn.rpartition("/")[2]]["live_body"]["kvs_arns"] if code else ()
            return _given(code, stores._stores.get(associated[0]) or {"items": {}}) if code and associated else code

        def deleted(name: str, headers: Any) -> Any:
            answer = delete(name, headers)
            if answer[0] < 300:
                stores._stores.pop(cloudfront._kvs_arn(name), None)
            return answer

        cloudfront.live_function_code, cloudfront._delete_kvs = with_store, deleted

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI scope."""
        _unstored.set([])
        await self._app(scope, receive, send)

    def unstored(self) -> str:
        """What of the request that is being served could not be written to disk; empty when all was."""
        return next((f"{os.environ['STATE_DIR']}: {one}" for one in _unstored.get() or ()), "")

    async def serve_site(self, scope: Scope, caller: Caller, send: Send) -> None:
        """Answer a viewer's request to a distribution, as one that came over TLS."""
        client = (scope.get("client") or ("127.0.0.1",))[0]
        self._gateway.set_request_client_ip(client)
        self._iam.pin_request_origin(client, True)
        self._iam.pin_signed_request(caller.method, _raw_path(scope), {}, [])
        answer = await self._gateway._handle_cloudfront_dataplane_request(
            access.distribution_host(caller.host), caller.path, _raw_path(scope), caller.query, caller.method,
            {**caller.headers, "x-forwarded-proto": "https"}, b"", parse_qs(caller.query, keep_blank_values=True), client,
        )  # fmt: skip
        send = self._gateway._with_date_header(send)
        if not await self._gateway._send_if_handled(send, answer):
            await _turn_away(scope, send, "NoSuchDistribution", "there is no distribution of this name")

    def save(self) -> None:
        """Write all state to disk; OSError where not all of it could be written."""
        _unstored.set([])
        s3 = self._gateway._get_module("s3")
        for name, bucket in list(s3._buckets.items()):
            for key, found in list(bucket["objects"].items()):
                if found.get("body") is not None:  # what was written leaves memory
                    s3._persist_object(name, key, found)
        # One line for each of the services after every change would bury the log.
        level = self._persistence.logger.level
        self._persistence.logger.setLevel(logging.WARNING)
        try:
            self._persistence.save_all(self._gateway._build_persistence_save_dict())
        finally:
            self._persistence.logger.setLevel(level)
        if problem := self.unstored():
            raise OSError(problem)

    def secret_of(self, key: str, token: str) -> str | None:
        """The secret of this sandbox's key, of an IAM user's, or of a session."""
        own, secret = self._own
        if key == own:
            return None if token else secret
        if self._iam.is_root_access_key(key):  # to the emulator "test" and every twelve digits are an account's root
            return None
        from ministack.core.responses import _account_from_sts_session  # type: ignore[import-not-found]

        account = _account_from_sts_session(key) or self._iam.find_iam_access_key_account(key)
        found = self._iam.resolve_credential(key, account, token)
        return getattr(found, "secret_access_key", None)

    def origins(self) -> Collection[str]:
        """The origins of the distributions and of the addresses that the clients of the user pools return to."""
        port = os.environ["GATEWAY_PORT"]
        made = self._gateway._get_module("cloudfront")._distributions.values()
        labels = (str(one.get("DomainName", "")).partition(".")[0].lower() for one in made)
        sites = {f"http://{label}.cloudfront.localhost:{port}" for label in labels}
        pools = self._gateway._get_module("cognito")._user_pools.all_values()
        clients = [client for pool in pools for client in pool["_clients"].values()]
        addresses = (one for client in clients for name in ("CallbackURLs", "LogoutURLs") for one in client.get(name) or ())
        return sites | {origin for address in addresses if (origin := access.origin_of(address)) is not None}

    def public_actions(self) -> Collection[str]:
        """The actions that botocore's model of Cognito says are not signed."""
        return unsigned_actions()

    def as_cognito(self, action: str, body: bytes, authorization: str) -> bytes | tuple[str, str]:
        """A request to Cognito, corrected where the emulator takes what Cognito does not."""
        try:
            content = json.loads(body or b"{}")
        except (ValueError, RecursionError):
            content = None
        if not isinstance(content, dict):
            return "SerializationException", "the body is not a JSON object"
        pool, client = cognito.owner(self._gateway._get_module("cognito")._user_pools.all_values(), content)
        refused = cognito.refusal(action, content, pool, client)
        # The emulator itself checks the signatures of other keys than its own, over the body as it was sent.
        checked_again = authorization and f"Credential={self._own[0]}/" not in authorization
        folded = content if checked_again else cognito.folded(content, pool)
        return refused or (body if folded == content else json.dumps(folded).encode())


# The module `cloudfront` as the runtime has it. Source: CloudFront Developer Guide, "Helper methods for key value stores".
_STORE = """{
const other = require, items = %s, has = (key) => Object.prototype.hasOwnProperty.call(items, key);
const read = (key) => { if (!has(key)) { throw new Error("KeyNotFound: " + key); } return items[key]; };
const handle = {
  get: async (key, options) => {
    const format = options && options.format;
    return format === "json" ? JSON.parse(read(key)) : format === "bytes" ? Buffer.from(read(key)) : read(key);
  },
  exists: async (key) => has(key), count: async () => Object.keys(items).length,
};
globalThis.require = (name) => name === "cloudfront" ? {kvs: () => handle} : other(name);
}
"""


def _given(code: bytes, store: dict[str, Any]) -> bytes:
    """A function's code behind what makes its key-value store readable; every change of the store gives other code, compiled anew."""
    return (_STORE % json.dumps(store["items"])).encode() + code


@lru_cache
def unsigned_actions() -> frozenset[str]:
    """The actions of Cognito's user pools that SDKs send, and AWS takes, without a signature."""
    from botocore.loaders import Loader

    operations = Loader().load_service_model("cognito-idp", "service-2")["operations"]
    return frozenset(name for name, operation in operations.items() if operation.get("authtype") == "none")


def main() -> None:
    """Serve until SIGTERM."""
    emulator = MiniStack()
    emulator._gateway.app = Guard(emulator)
    emulator._gateway.main()
