from __future__ import annotations

import io
import json
import urllib.request
from typing import Any

import pytest

from amianai_infra.errors import UnreachableError, VerificationError
from amianai_infra.operations import delegation
from amianai_infra.printing import Text
from amianai_infra.progress import Progress

ZONE = ["ns-1.awsdns.test", "NS-2.awsdns.test."]
OURS = frozenset({"ns-1.awsdns.test", "ns-2.awsdns.test"})
OLD = frozenset({"ns.registrar.test"})


class Progress_(Progress):
    def __init__(self) -> None:
        super().__init__(quiet=True)
        self.notes: list[str] = []

    def note(self, text: Text) -> None:
        self.notes += [text] if isinstance(text, str) else text


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def wait(answers: list[frozenset[str] | Exception], limit: float = 600) -> tuple[str, Progress_, Clock]:
    """Each answer is what both resolvers say in one round."""
    progress, clock = Progress_(), Clock()
    rounds = [answer for answer in answers for _ in delegation.RESOLVERS]

    def resolver(address: str, domain: str) -> frozenset[str]:
        answer = rounds.pop(0) if len(rounds) > 1 else rounds[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    said = delegation.wait("example.com", ZONE, progress, limit, resolver=resolver, clock=clock, sleep=clock.sleep)
    return said, progress, clock


def test_delegated_already_needs_no_wait() -> None:
    said, progress, clock = wait([OURS])
    assert said == "example.com is delegated to its zone"
    assert progress.notes == []
    assert clock.now == 0


def test_the_records_to_enter_are_shown_and_waited_for() -> None:
    said, progress, clock = wait([frozenset(), OLD, OURS])
    assert "after" in said
    assert progress.notes[1:] == ["    ns-1.awsdns.test", "    ns-2.awsdns.test", "  public resolvers find: nothing yet"]
    assert clock.now == pytest.approx(23)


def test_it_ends_at_the_limit_and_names_what_is_found_instead() -> None:
    with pytest.raises(VerificationError) as caught:
        wait([OLD], limit=100)
    assert "ns.registrar.test" in caught.value.where
    assert "run setup again" in caught.value.fix


def test_a_network_that_goes_away_meanwhile_does_not_end_the_wait() -> None:
    said, _, _ = wait([OLD, UnreachableError("away", where="x"), OURS])
    assert "is delegated" in said


def test_one_silent_resolver_is_enough_of_an_answer() -> None:
    def resolver(address: str, domain: str) -> frozenset[str]:
        if "google" in address:
            raise UnreachableError("silent", where=address)
        return OURS

    assert delegation.check("example.com", ZONE, resolver).complete


def test_resolvers_that_disagree_mean_not_yet() -> None:
    state = delegation.check("example.com", ZONE, lambda address, domain: OURS if "google" in address else OLD)
    assert not state.complete
    assert state.found == OURS | OLD


def test_no_resolver_at_all_is_an_error_of_its_own() -> None:
    def silent(address: str, domain: str) -> frozenset[str]:
        raise UnreachableError("silent", where=address)

    with pytest.raises(UnreachableError, match="No public resolver"):
        delegation.check("example.com", ZONE, silent)


def test_the_answer_of_a_resolver_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    document = {
        "Answer": [{"type": 2, "data": "NS-1.awsdns.test."}, {"type": 5, "data": "alias."}, {"type": 2, "data": "ns-2.awsdns.test."}]
    }
    asked: list[str] = []

    def urlopen(request: urllib.request.Request, timeout: float) -> Any:
        asked.append(request.full_url)
        return io.BytesIO(json.dumps(document).encode())

    monkeypatch.setattr(urllib.request, "urlopen", urlopen)
    assert delegation.resolve("https://resolver.test/q", "example.com") == OURS
    assert asked == ["https://resolver.test/q?name=example.com&type=NS"]


def test_a_resolver_that_answers_nonsense_did_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(urllib.request, "urlopen", lambda request, timeout: io.BytesIO(b"<html>"))
    with pytest.raises(UnreachableError):
        delegation.resolve("https://resolver.test/q", "example.com")
