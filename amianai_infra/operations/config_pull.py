"""The stack file written back from what the stack was last built from, on a machine or a branch that does not have it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from amianai_infra.config import agreed_lines, every_setting, load_settings, read_stack_file
from amianai_infra.errors import NotFoundError
from amianai_infra.folders import replace_file
from amianai_infra.operations import change
from amianai_infra.operations.context import Context


@contextmanager
def merged(file: Path) -> Iterator[bool]:
    """Have a stack file with the conflict markers of a merge say what both sides agree on; it is as it was when the block fails.

    Args:
        file: the stack file.

    Yields:
        Whether it had any.
    """
    try:
        before = file.read_bytes().decode()
        after = agreed_lines(before)
    except (OSError, UnicodeDecodeError):  # whoever reads it next says what is wrong
        after = before = ""
    if after == before:
        yield False
        return
    replace_file(file, after)
    try:
        yield True
    except BaseException:
        replace_file(file, before)
        raise


def pull(context: Context) -> dict[str, str]:
    """Write the lines of the state's secrets and every setting that the stack was last built from; gives what was written.

    Raises:
        NotFoundError: there is no stack, or it was last changed by a version that did not publish its settings.
    """
    engine = context.engine()
    change.require_state(context)
    resources = engine.resources()
    change.require_same_domain(context, resources)
    file = change.stack_file(context.target.engine())
    stack = next((one for one in resources if one.type == "pulumi:pulumi:Stack" and one.outputs), None)
    if stack is None:
        raise NotFoundError("No stack was built here yet.", where=str(file), fix="run `amianai setup`")
    lines = change.wrong_lines(file, engine.secrets_lines())
    if lines:
        text = file.read_text(encoding="utf-8") if file.is_file() else ""
        there = rf"^\ufeff?[\"']?(?:{'|'.join(lines)})[\"']?\s*:.*\n?"  # without a value, or with another
        text = re.sub(there, "", text, flags=re.MULTILINE)
        gap = "" if not text or text.endswith("\n") else "\n"
        replace_file(file, text + gap + "".join(f"{key}: {value}\n" for key, value in lines.items()))
    published = stack.outputs.get("settings")
    if not isinstance(published, dict):
        raise NotFoundError(
            "The stack did not publish its settings: an older version of this program changed it last.",
            where=f"outputs of the stack; {file} has the lines of its secrets now",
            fix="bring the rest of the file from where the stack was set up, then run `amianai up`",
        )
    values = _values(published, read_stack_file(file))
    if values:
        engine.configure(values)
    return {**lines, **values}


def _values(published: dict[str, str], present: dict[str, str]) -> dict[str, str]:
    """What the file has to say and does not say yet; what it says otherwise goes back to what was built."""
    known = {setting.pulumi for setting in every_setting()}
    settings = load_settings({}, {}, {key: value for key, value in published.items() if key in known})
    return {key: value for key, value in change.wanted(settings, present).items() if present.get(key) != value}
