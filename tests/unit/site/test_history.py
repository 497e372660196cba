"""Which release is live, which can be gone back to."""

from __future__ import annotations

from amianai_infra.site.history import listed, previous, table, what_of
from amianai_infra.site.manifest import Manifest, Summary

DAY = 86400.0


def summary(number: int, kind: str = "deploy", origin: int = 0, day: float = 0.0) -> Summary:
    return Summary(number, kind, origin or number, f"build{number}", day * DAY, 1.0, "me@here", "0123456789abcdef+", 10, 1000, 3)


def live(*summaries: Summary) -> Manifest:
    return Manifest(summaries[0], {}, "", {}, tuple(summaries[1:]))


def test_those_whose_replaced_files_have_expired_are_marked() -> None:
    found = listed(live(summary(3, day=50), summary(2, day=40), summary(1, day=1)), 75 * DAY, 30)
    assert [one.restorable for one in found] == [True, True, False]
    assert [one.live for one in found] == [True, False, False]
    assert "expired" in table(found)[-1]


def test_what_is_live_again_cannot_expire() -> None:
    found = listed(live(summary(3, "rollback", 1, day=3), summary(2, day=2), summary(1, day=1)), 99 * DAY, 30)
    assert [one.restorable for one in found] == [True, False, True]
    assert "rollback to 1" in table(found)[1]
    assert "0123456789+" in table(found)[1]


def test_the_way_back() -> None:
    assert previous(live(summary(1))) is None
    assert previous(live(summary(2), summary(1))) == 1
    assert previous(live(summary(4, "rollback", 2), summary(3), summary(2), summary(1))) == 1
    assert previous(live(summary(4), summary(3, "repair", 1), summary(2), summary(1))) == 1, "2 failed its verification"
    assert previous(live(summary(4), summary(3, "rollback", 1), summary(2), summary(1))) == 1, "what was live before 4, by content"
    assert previous(live(summary(3, "rollback", 1), summary(2), summary(1))) is None
    assert previous(live(summary(4, "takedown", 3), summary(3), summary(2, "takedown", 1), summary(1))) == 1


def test_a_takedown_is_listed_as_one() -> None:
    assert [what_of(summary(3, kind, 2)) for kind in ("deploy", "rollback", "repair", "takedown")] == [
        "deploy",
        "rollback to 2",
        "repair to 2",
        "takedown",
    ]


def test_nothing_yet() -> None:
    assert table([]) == ["Nothing was released yet."]
