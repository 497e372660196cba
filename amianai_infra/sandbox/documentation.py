"""Writes the table of gaps into docs/sandbox.md: `python -m amianai_infra.sandbox.documentation`. A test keeps it up to date."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

from amianai_infra.sandbox.provider.gaps import GAPS

PAGE = Path(__file__).parents[2] / "docs" / "sandbox.md"
_BEGIN = "<!-- gaps: written by `python -m amianai_infra.sandbox.documentation` -->\n"
_END = "<!-- end of gaps -->\n"


def gap_table() -> str:
    """What the emulator lacks and what the provider does about it, one table row a gap."""
    rows = ["| Service | AWS does, the emulator does not | Here |", "| --- | --- | --- |"]
    for service, gaps in groupby(GAPS, key=lambda gap: gap.service):
        rows += [f"| {service} | {gap.lacks} | {gap.here or '—'} |" for gap in gaps]
    return "\n".join(rows) + "\n"


def with_table(page: str) -> str:
    """The page with the table as the code has it now."""
    head, begin, rest = page.partition(_BEGIN)
    _, end, foot = rest.partition(_END)
    if not begin or not end:
        raise ValueError("docs/sandbox.md has lost the marks around its table of gaps")
    return head + begin + gap_table() + end + foot


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
