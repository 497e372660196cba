"""Makes the pool for threads from the one for asyncio: `python scripts/unasync.py` after a change of the latter.

Words are replaced, nothing is parsed; what threads and tasks do in different ways has two functions in `pool_core.py`, of which the one for
tasks ends in `_async`. Two comments mark lines that only one of the two has: `# asyncio only` behind a line, `# threads only:` before one.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / "amianai_infra/database"
SOURCE, RESULT = FOLDER / "pool_async.py", FOLDER / "pool.py"

HEADER = f"# Made from {SOURCE.name} by scripts/unasync.py: change that file, and run the script.\n"
RULES = (
    (r"(?m)^.*  # asyncio only\n", ""),
    (r"# threads only: ", ""),
    (r"\b(async|await) ", ""),
    (r"\bAsync(?=[A-Z])", ""),
    (r"\basync(?=contextmanager\b)|_async\b| for asyncio\b", ""),
    (r"\b__a(?=(enter|exit)__)", "__"),
    (r"\bAwaitable\[(\w+)\]", r"\1"),
    (r"\basyncio\.to_thread\(([\w.]+)(, )?", r"\1("),
    (r"\btasks\b", "threads"),
    (r"(\bdef |\bself\.)open\(", r"\1_open("),  # of threads: it is open when it is made
    (r" Open it with [^.]+\.", ""),
)


def generated(source: str) -> str:
    """The same for threads, formatted."""
    for pattern, replacement in RULES:
        source = re.sub(pattern, replacement, source)
    text = HEADER + source
    for command in (("check", "--quiet", "--fix", "--select", "F401,I"), ("format", "--quiet")):
        arguments = [sys.executable, "-m", "ruff", *command, f"--stdin-filename={RESULT}", "-"]
        text = subprocess.run(arguments, input=text, capture_output=True, text=True, check=True).stdout
    return text


if __name__ == "__main__":
    RESULT.write_text(generated(SOURCE.read_text("utf-8")), "utf-8")
