"""Looks at the released site at the address that people use, and compares it with what was released.

In the sandbox the address is the distribution's own host name, so that www, the redirect to TLS and the certificate
can only be looked at on the real domain.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

from amianai_infra.errors import UnreachableError, VerificationError, first
from amianai_infra.rules.addresses import INDEX, MISSING, addresses_of, canonical, encoded
from amianai_infra.rules.header_rules import NEEDS
from amianai_infra.rules.headers import page_policy, policy_of
from amianai_infra.site.manifest import LOCK, Entry, Manifest
from amianai_infra.site.plan import VERSION_FILE, Group, group_of, stays
from amianai_infra.site.references import Site, is_read, text_of

if TYPE_CHECKING:
    from amianai_infra.progress import Task
    from amianai_infra.target import SiteAddress

POLICY = "content-security-policy"
SECURITY_HEADERS = (POLICY, "x-content-type-options", "referrer-policy")
CONNECTIONS = 12
TRIES = 4
FEWEST_DAYS = 14
_TIMEOUT = 20.0
_SHOWN = 10


@dataclass(frozen=True)
class Answer:
    """What the site answered.

    Attributes:
        status: HTTP status.
        headers: by lower-case name.
        body: as sent.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Report:
    """What was looked at.

    Attributes:
        pages: pages compared byte by byte.
        files: files that pages refer to.
        certificate_days: days until the certificate ends; None without TLS.
        otherwise: headers that are not what the stack says, which no other release would mend.
        addresses: every address of the site that was asked for, in order.
    """

    pages: int
    files: int
    certificate_days: int | None
    otherwise: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True)
class Check:
    """One request and what must come back.

    Attributes:
        path: path of the request, encoded.
        file: the file that must be answered.
        entry: its headers and content.
        whole: compare the content, too.
        status: expected status.
        secure: security headers must be there.
        location: where a redirect must lead.
    """

    path: str
    file: str
    entry: Entry
    whole: bool
    status: int = 200
    secure: bool = False
    location: str = ""


class Visitor:
    """A client of the site that keeps its connection.

    Args:
        address: where the site is.
        host: another Host than the address's own.
        port: another port.
        tls: otherwise than the address says.
        context: TLS settings; the system's authorities when not given.
    """

    def __init__(
        self,
        address: SiteAddress,
        *,
        host: str = "",
        port: int = 0,
        tls: bool | None = None,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self._tls = address.tls if tls is None else tls
        self._host = host or address.host
        server = host if host and address.connect[0] == address.host else address.connect[0]
        self._connect = (server, port or address.connect[1])
        self._context = context
        self._connection: http.client.HTTPConnection | None = None

    def get(self, path: str, method: str = "GET") -> Answer:
        """One request; a connection that the server closed meanwhile is opened again.

        Raises:
            UnreachableError: no answer.
        """
        for attempt in (1, 2):
            try:
                connection = self._connection or self._open()
                connection.request(method, path, headers={"Host": self._authority(), "User-Agent": "amianai-infra verify"})
                answer = connection.getresponse()
                return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
            except ssl.SSLCertVerificationError as error:
                raise UnreachableError(
                    f"The certificate of {self._host} is not valid: {error.verify_message}.",
                    where=f"https://{self._host}/",
                    fix="run `amianai status`: it shows the certificate and the delegation of the domain",
                ) from error
            except (OSError, http.client.HTTPException) as error:
                self.close()
                if attempt == 2:
                    raise UnreachableError(
                        f"The site does not answer at {self._host}: {error or type(error).__name__}.",
                        where=f"{self._connect[0]}:{self._connect[1]}{path}",
                        fix="run `amianai status`: it shows the delegation of the domain and the distribution",
                    ) from error
        raise AssertionError("unreachable")

    def _authority(self) -> str:
        return self._host if self._connect[1] == (443 if self._tls else 80) else f"{self._host}:{self._connect[1]}"

    def _open(self) -> http.client.HTTPConnection:
        if self._tls:
            context = self._context or _trusted()
            made: http.client.HTTPConnection = _SecureConnection(self._connect, self._host, context)
        else:
            made = http.client.HTTPConnection(*self._connect, timeout=_TIMEOUT)
        self._connection = made
        return made

    def certificate_days(self, now: float) -> int | None:
        """Days until the certificate of the open connection ends; None without TLS."""
        sock = getattr(self._connection, "sock", None)
        if not isinstance(sock, ssl.SSLSocket):
            return None
        certificate = sock.getpeercert() or {}
        ends = certificate.get("notAfter")
        return int((ssl.cert_time_to_seconds(str(ends)) - now) // 86400) if ends else None

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


@cache
def _trusted() -> ssl.SSLContext:
    """TLS settings with the system's authorities; reading them takes longer than a handshake, so that all connections share them."""
    return ssl.create_default_context()


class _SecureConnection(http.client.HTTPSConnection):
    """TLS for one name over a connection to another."""

    def __init__(self, connect: tuple[str, int], name: str, context: ssl.SSLContext) -> None:
        super().__init__(*connect, timeout=_TIMEOUT, context=context)
        self._name = name
        self._settings = context

    def connect(self) -> None:
        http.client.HTTPConnection.connect(self)
        self.sock = self._settings.wrap_socket(self.sock, server_hostname=self._name)


def checks_for(manifest: Manifest, changed: Iterable[str], texts: Iterable[tuple[str, str]], removed: Iterable[str] = ()) -> list[Check]:
    """Every request of a verification: each address as pages link it, and what leads there. Pure.

    Args:
        manifest: the release.
        changed: files that it uploaded.
        texts: path and text of the changed files that can name others, one after another.
        removed: files that the release before it had.
    """
    files = manifest.files
    checks: dict[str, Check] = {}
    for path in changed:
        if path in files and not _stands_in(path) and group_of(path, files[path].cache_control) >= Group.PAYLOADS:
            for check in _page_checks(path, manifest):
                checks[check.path] = check
    for check in _named_checks(manifest, texts):
        checks.setdefault(check.path, check)
    for file in (VERSION_FILE, INDEX):
        for check in _page_checks(file, manifest) if file in files else ():
            checks[check.path] = check
    for check in _missing_checks(manifest, changed, removed):
        checks.setdefault(check.path, check)
    return list(checks.values())


def _stands_in(path: str) -> bool:
    """Whether a file answers for what is missing, and not under an address of its own."""
    return path.rpartition("/")[2] == MISSING


def _ruled(path: str, manifest: Manifest) -> bool:
    """Whether a rule of the site answers at an address, and not its file."""
    base = path.strip("/")
    return any(rule.match(base) is not None and (rule.forced or not rule.is_pattern) for rule in manifest.addressed.rules)


def _page_checks(path: str, manifest: Manifest) -> Iterator[Check]:
    """The address under which pages link a file, and those that lead there; none that a rule of the site answers instead."""
    entry, files = manifest.files[path], manifest.files
    for one in addresses_of(path, files):
        if _ruled(one.path, manifest):
            continue
        if one.leads_to and manifest.table:
            yield Check(encoded(one.path), path, entry, whole=False, status=301, location=encoded(one.leads_to))
        elif one.path == (canonical(path, files) if manifest.table else _plain_address(path)):
            yield Check(encoded(one.path), path, entry, whole=True, secure=path.endswith(".html"))


def _named_checks(manifest: Manifest, texts: Iterable[tuple[str, str]]) -> Iterator[Check]:
    """What files refer to, at the very addresses that they name."""
    site = Site(manifest.files)
    named = {one for path, text in texts for one in site.named(path, text)}
    for one in sorted(named, key=lambda one: one.path):
        where = one.path if manifest.table else _plain_address(one.file)
        if _stands_in(one.file) or _ruled(where, manifest):
            continue
        leads_to = one.leads_to if manifest.table else ""
        status = 301 if leads_to else 200
        yield Check(encoded(where), one.file, manifest.files[one.file], whole=False, status=status, location=encoded(leads_to))


def _plain_address(path: str) -> str:
    """Where a file is found by a viewer function without a table: a folder for its index page."""
    return f"/{path[: -len(INDEX)]}" if path == INDEX or path.endswith(f"/{INDEX}") else f"/{path}"


def _missing_checks(manifest: Manifest, changed: Iterable[str], removed: Iterable[str]) -> Iterator[Check]:
    """What the release does not have answers 404, or its fallback; what is no longer part of it, too."""
    files, routing = manifest.files, manifest.addressed
    if any(rule.is_pattern for rule in routing.rules) or MISSING not in files:
        return
    nowhere = f"/amianai-no-such-page-{manifest.number}"
    if routing.fallback and manifest.table:
        yield Check(nowhere, routing.fallback, files[routing.fallback], whole=True)
        nowhere += ".none"
    yield Check(nowhere, MISSING, files[MISSING], whole=True, status=404)
    if not manifest.table:
        return
    nested = [path.removesuffix(f"/{MISSING}") for path in files if path.endswith(f"/{MISSING}")]
    for folder in nested:
        if not routing.fallback and f"{folder}/{MISSING}" in changed:
            path = f"{folder}/{MISSING}"
            yield Check(f"{encoded(f'/{folder}')}{nowhere}", path, files[path], whole=True, status=404)
    if routing.fallback or routing.rules:
        return
    there = {one.path for path in files for one in addresses_of(path, files)}
    before = {*files, *removed}
    for path in removed:
        gone = canonical(path, before)
        if not _stands_in(path) and gone not in there and not any(path.startswith(f"{folder}/") for folder in nested):
            yield Check(encoded(gone), MISSING, files[MISSING], whole=False, status=404)


def compare(check: Check, answer: Answer, hsts: bool) -> list[str]:
    """What is wrong with an answer; empty when nothing is. Pure."""
    if answer.status != check.status:
        return [f"{check.path} answers {answer.status}, not {check.status}"]
    if check.location:
        found = answer.headers.get("location", "")
        return [] if found == check.location else [f"{check.path} leads to {found or 'nowhere'}, not to {check.location}"]
    problems = []
    kind = answer.headers.get("content-type", "")
    if _plain(kind) != _plain(check.entry.content_type):
        problems.append(f"{check.path} has Content-Type {kind!r}, not {check.entry.content_type!r}")
    cache = answer.headers.get("cache-control", "")
    if _plain(cache) != _plain(check.entry.cache_control) and check.status == 200:
        problems.append(f"{check.path} has Cache-Control {cache!r}, not {check.entry.cache_control!r}")
    if check.status == 200:
        told = ((name, value, answer.headers.get(name, "")) for name, value in check.entry.headers if name != NEEDS)
        problems += [f"{check.path} has {name} {found!r}, not {value!r}" for name, value, found in told if _plain(found) != _plain(value)]
    if check.whole and not _same_content(answer.body, check.entry.content):
        problems.append(f"{check.path} answers with other content than {check.file} of this release")
    if check.secure:
        needed = (*SECURITY_HEADERS, *(("strict-transport-security",) if hsts else ()))
        problems += [f"{check.path} answers without {name}" for name in needed if name not in answer.headers]
    return problems


def told_by_stack(check: Check, stack: Mapping[str, str], *, page_policies: bool) -> dict[str, str]:
    """What the stack says of the headers of an answer that no file gave another value, by lower-case name. Pure.

    Args:
        check: the request; a redirect is made by a function, and has what that gives it.
        stack: the headers of every answer.
        page_policies: whether pages have policies of their own.
    """
    if check.location:
        return {}
    said, own = dict(stack), dict(check.entry.headers)
    if page_policies and NEEDS in own and POLICY in said:
        said[POLICY] = policy_of(page_policy(said[POLICY]), own[NEEDS])
    return {name: value for name, value in said.items() if name not in own}


def _plain(header: str) -> str:
    return "".join(header.lower().split())


def _same_content(body: bytes, etag: str) -> bool:
    """Whether the body has the ETag; one of several parts is too big to be a page and is not compared."""
    return "-" in etag or hashlib.md5(body, usedforsecurity=False).hexdigest() == etag


@dataclass
class Verification:
    """One verification of one release.

    Args:
        address: where people open the site.
        manifest: the release.
        changed: files that it uploaded.
        read: gives a file's content by path.
        hsts: whether responses must carry Strict-Transport-Security.
        tries: how often a wrong answer is asked for again: edges are told one after another.
        sleep: how to wait.
        clock: seconds since 1970.
        context: TLS settings.
        plain_port: where plain HTTP answers, which must lead to TLS.
        removed: files that the release before it had and that may answer no longer.
        stack: the headers of every answer, as the stack says.
        page_policies: whether pages have policies of their own.
        preview: it answers under a name of its own that search engines are not to know.
    """

    address: SiteAddress
    manifest: Manifest
    changed: Iterable[str]
    read: Callable[[str], bytes]
    hsts: bool
    tries: int = TRIES
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.time
    context: ssl.SSLContext | None = None
    plain_port: int = 80
    removed: Iterable[str] = ()
    stack: Mapping[str, str] = field(default_factory=dict)
    page_policies: bool = False
    preview: bool = False
    _problems: list[str] = field(default_factory=list)
    _otherwise: dict[str, Check] = field(default_factory=dict)

    def run(self, task: Task) -> Report:
        """Ask for everything.

        Raises:
            VerificationError: what is wrong, line by line.
            UnreachableError: there is no answer at all.
        """
        self.changed = sorted(self.changed)
        checks = checks_for(self.manifest, self.changed, self._texts(), self._gone())
        front = Visitor(self.address, context=self.context)
        robots = front.get("/").headers.get("x-robots-tag", "")
        if self.preview and robots != "noindex":
            self._problems.append(f"/ has X-Robots-Tag {robots!r}, not 'noindex'")
        days = front.certificate_days(self.clock())
        task.total(len(checks))
        self._ask_all(checks, task)
        self._private(front)
        self._release_id(front)
        if self.address.tls and not self.preview:
            self._redirects()
        otherwise = [line for name, check in sorted(self._otherwise.items()) for line in self._still(front, name, check)]
        if days is not None and days < FEWEST_DAYS:
            self._problems.append(f"the certificate ends in {days} days: its renewal does not work")
        front.close()
        if self._problems:
            raise VerificationError(
                f"Release {self.manifest.number} does not answer as it should:",
                details=first(sorted(self._problems), _SHOWN),
                where=self.address.url,
            )
        compared = sum(1 for check in checks if check.secure)
        addresses = tuple(sorted(check.path for check in checks))
        return Report(compared, len(checks) - compared, days, tuple(otherwise), addresses)

    def _texts(self) -> Iterator[tuple[str, str]]:
        """What of the changed files can name others: pages, styles, scripts, manifests."""
        for path in self.changed:
            entry = self.manifest.files.get(path)
            if entry is not None and is_read(path, entry.size, entry.headers):
                yield path, text_of(self.read(path), entry.content_type)

    def _gone(self) -> list[str]:
        """What answered before and may not any more; a hash in the name says that it may."""
        retired = self.manifest.retired
        return [path for path in self.removed if path not in retired or not stays(path, retired[path])]

    def _ask_all(self, checks: list[Check], task: Task) -> None:
        waiting = iter(checks)
        turn = threading.Lock()
        failures: list[Exception] = []
        threads = [
            threading.Thread(target=self._ask, args=(waiting, turn, failures, task), daemon=True)
            for _ in range(min(CONNECTIONS, len(checks)))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]

    def _ask(self, waiting: Iterator[Check], turn: threading.Lock, failures: list[Exception], task: Task) -> None:
        visitor = Visitor(self.address, context=self.context)
        try:
            while not failures:
                with turn:
                    check = next(waiting, None)
                if check is None:
                    break
                problems = self._patiently(visitor, check)
                with turn:
                    self._problems += problems
                task.advance()
        except Exception as error:
            failures.append(error)
        finally:
            visitor.close()

    def _patiently(self, visitor: Visitor, check: Check) -> list[str]:
        problems: list[str] = []
        for attempt in range(self.tries):
            answer = visitor.get(check.path, "GET" if check.whole else "HEAD")
            problems = compare(check, answer, self.hsts)
            if not problems:
                for name, _ in self._differing(check, answer):
                    self._otherwise.setdefault(name, check)
                return []
            if attempt < self.tries - 1:
                self.sleep(2.0**attempt)
        return problems

    def _differing(self, check: Check, answer: Answer) -> list[tuple[str, str]]:
        """The headers that are not what the stack says, and what it says."""
        said = told_by_stack(check, self.stack, page_policies=self.page_policies)
        return [(name, value) for name, value in said.items() if _plain(answer.headers.get(name, "")) != _plain(value)]

    def _still(self, visitor: Visitor, name: str, check: Check) -> list[str]:
        """Ask again for what had another header than the stack says: edges hear of a policy one after another."""
        for attempt in range(self.tries):
            answer = visitor.get(check.path)
            said = dict(self._differing(check, answer)).get(name)
            if said is None:
                return []
            if attempt < self.tries - 1:
                self.sleep(2.0**attempt)
        return [f"{check.path} has {name} {answer.headers.get(name, '')!r}, not {said!r}"]

    def _private(self, visitor: Visitor) -> None:
        answer = visitor.get(f"/{LOCK}")
        pages = {entry.content for entry in self.manifest.files.values()}  # of which one may answer for whatever is missing
        if answer.status == 200 and hashlib.md5(answer.body, usedforsecurity=False).hexdigest() not in pages:
            self._problems.append(f"/{LOCK} can be read through the CDN: the bucket's policy must deny it")

    def _release_id(self, visitor: Visitor) -> None:
        if VERSION_FILE not in self.manifest.files:
            return
        try:
            shown = json.loads(visitor.get(f"/{VERSION_FILE}").body).get("build")
        except (ValueError, AttributeError, RecursionError):
            return  # a site of another make: its content was compared above
        if shown != self.manifest.summary.build and self.manifest.summary.build:
            self._problems.append(f"/{VERSION_FILE} says build {str(shown)[:100]!r}, not {self.manifest.summary.build!r}")

    def _redirects(self) -> None:
        apex = f"https://{self.address.host}/"
        self._redirect(Visitor(self.address, tls=False, port=self.plain_port), f"http://{self.address.host}/", apex)
        www = f"www.{self.address.host}"
        self._redirect(Visitor(self.address, host=www, context=self.context), f"https://{www}/", apex)

    def _redirect(self, visitor: Visitor, shown: str, wanted: str) -> None:
        try:
            answer = visitor.get("/")
        except UnreachableError as error:
            self._problems.append(f"{shown}: {error.what}")
            return
        finally:
            visitor.close()
        location = answer.headers.get("location", "")
        if answer.status not in (301, 308) or location != wanted:
            self._problems.append(f"{shown} answers {answer.status} to {location or 'nowhere'}, not 301 to {wanted}")
