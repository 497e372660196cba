"""Whether the world finds our name servers: asked of public resolvers, because this machine's own may cache or lie."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from amianai_infra.errors import UnreachableError, VerificationError
from amianai_infra.progress import Progress, duration

# DNS over HTTPS (RFC 8484's JSON form): works where port 53 is closed or intercepted, and needs no DNS library.
RESOLVERS = ("https://cloudflare-dns.com/dns-query", "https://dns.google/resolve")
_NS = 2


@dataclass(frozen=True)
class Delegation:
    """What public resolvers say.

    Attributes:
        expected: the zone's own name servers.
        found: what resolvers answered, all of them together.
        complete: every resolver that answered knows exactly the zone's name servers.
    """

    expected: frozenset[str]
    found: frozenset[str]
    complete: bool


def resolve(resolver: str, domain: str, timeout: float = 5) -> frozenset[str]:
    """The name servers of `domain` that one resolver knows; empty when there are none.

    Raises:
        UnreachableError: the resolver did not answer.
    """
    return frozenset(_plain(one["data"]) for one in ask(resolver, domain, "NS", timeout) if one.get("type") == _NS)


def ask(resolver: str, domain: str, kind: str, timeout: float = 5) -> list[dict[str, Any]]:
    """What one resolver answers: `name`, `type` (a number), `TTL` and `data` of every record; nothing when there are none.

    Raises:
        UnreachableError: the resolver did not answer.
    """
    query = urllib.parse.urlencode({"name": domain, "type": kind})
    request = urllib.request.Request(f"{resolver}?{query}", headers={"accept": "application/dns-json"})  # noqa: S310 (https constants)
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:  # noqa: S310
            document = json.load(answer)
    except (OSError, urllib.error.URLError, ValueError) as error:
        raise UnreachableError("A public resolver did not answer.", where=f"{resolver}: {error}") from error
    return list(document.get("Answer", []))


def _plain(name: str) -> str:
    return name.rstrip(".").lower()


def check(domain: str, name_servers: Sequence[str], resolver: Callable[[str, str], frozenset[str]] = resolve) -> Delegation:
    """Compare what public resolvers say with the zone's name servers.

    Raises:
        UnreachableError: no resolver answered.
    """
    expected = frozenset(_plain(one) for one in name_servers)
    answers: list[frozenset[str]] = []
    for address in RESOLVERS:
        try:
            answers.append(resolver(address, domain))
        except UnreachableError as error:
            last = error
    if not answers:
        raise UnreachableError(
            "No public resolver answered, so the delegation cannot be checked.",
            where=last.where,
            fix="check the network; --no-wait skips this",
        ) from last
    return Delegation(expected, frozenset().union(*answers), all(answer == expected for answer in answers))


def instructions(domain: str, name_servers: Sequence[str], found: frozenset[str]) -> list[str]:
    """What to enter at the registrar."""
    now = ", ".join(sorted(found)) if found else "nothing yet"
    return [
        f"Enter these name servers for {domain} where the domain was registered (or as NS records of {domain} in the zone above it):",
        *(f"    {_plain(one)}" for one in name_servers),
        f"  public resolvers find: {now}",
    ]


def _again(state: Delegation, domain: str, name_servers: Sequence[str], resolver: Callable[[str, str], frozenset[str]]) -> Delegation:
    """Ask once more; a network that is away for a while does not end the wait."""
    try:
        return check(domain, name_servers, resolver)
    except UnreachableError:
        return state


def wait(
    domain: str,
    name_servers: Sequence[str],
    progress: Progress,
    limit: float,
    *,
    resolver: Callable[[str, str], frozenset[str]] = resolve,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> str:
    """Wait until the domain is delegated to us, visibly. Ctrl-C is safe: the next run goes on here.

    Returns:
        What was found, one line.

    Raises:
        VerificationError: not delegated within `limit` seconds.
    """
    started = clock()
    state = check(domain, name_servers, resolver)
    if state.complete:
        return f"{domain} is delegated to its zone"
    progress.note(instructions(domain, name_servers, state.found))
    pause = 10.0
    with progress.task(f"Waiting for the delegation of {domain} (Ctrl-C is safe; setup goes on here)") as task:
        while not state.complete:
            waited = clock() - started
            if waited >= limit:
                raise VerificationError(
                    f"{domain} is not delegated to its zone after {duration(waited)}.",
                    where="public resolvers find: " + (", ".join(sorted(state.found)) or "nothing"),
                    fix="enter the name servers above at the registrar and run setup again; it goes on here",
                )
            task.say("resolvers find " + (", ".join(sorted(state.found)) or "nothing"))
            sleep(min(pause, max(limit - waited, 0.1)))
            pause = min(pause * 1.3, 60)
            state = _again(state, domain, name_servers, resolver)
    return f"{domain} is delegated to its zone, after {duration(clock() - started)}"
