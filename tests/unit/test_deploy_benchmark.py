"""What the benchmark of releases calls a missed budget."""

from __future__ import annotations

from collections import Counter

from benchmarks.deploy import BUDGETS, CASES, Sample, Series, fastest, fixed_cost, missed, table


def series(seconds: float, memory: float = 30.0) -> Series:
    return Series([Sample(seconds, seconds, memory, Counter({"PutObject": 6}))])


def test_the_faster_peer_counts() -> None:
    both = {"amianai": series(4.0), "aws": series(0.1), "s5cmd": series(20.0), "rclone": series(9.0)}
    assert fastest(both) == "rclone"
    assert missed({(CASES[0], 10_000): both}) == [f"first upload, 10,000 files: 0.44 of rclone, budget {BUDGETS[CASES[0], 10_000]}"]
    both["amianai"] = series(3.6)
    assert missed({(CASES[0], 10_000): both}) == []
    assert "| 0.40 | 0.40 held |" in table({(CASES[0], 10_000): both}, 0)


def test_memory_is_bounded_by_the_number_of_files_and_no_peer_is_no_budget() -> None:
    assert missed({(CASES[0], 1000): {"amianai": series(1.0, memory=65.0)}}) == ["first upload, 1,000 files: 65 MB of memory, budget 64"]
    assert missed({(CASES[0], 100_000): {"amianai": series(1.0, memory=119.0)}}) == []
    assert missed({(CASES[0], 100_000): {"amianai": series(1.0, memory=121.0)}})


def test_what_does_not_depend_on_the_number_of_files_is_a_line_of_its_own() -> None:
    found = fixed_cost({(CASES[0], 1): {"amianai": series(0.4)}, (CASES[1], 1): {"amianai": series(0.3)}}, start=0.2)
    assert found.startswith("Fixed cost, a site of one file: 0.40 s")
    assert "PutObject 6" in found
    assert found.endswith("the start of the program takes 0.20 s.")
    assert fixed_cost({}, start=0.2) == ""
