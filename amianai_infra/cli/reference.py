"""Writes docs/cli.md and docs/settings.md: `python -m amianai_infra.cli.reference`. A test keeps them up to date."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import click

from amianai_infra.cli.main import cli
from amianai_infra.config import Setting, Settings, every_setting

_NOTE = "<!-- Written by `python -m amianai_infra.cli.reference`; change the code, then run it. -->"

_SETTINGS = """\
A value is taken from the flag `--set KEY=VALUE`, else the environment, else the stack file, else the default. A variable that
is set but empty counts as not set. Lists are separated by commas or written as JSON, mappings as `name=value` pairs or JSON.
Unknown keys are refused, and so are values with line breaks or other signs that do not print. `setup` and `up` write what they
resolved into the stack file (`Pulumi.prod.yaml`) once the stack has it, so that `pulumi up` typed by hand sees the same values:

    config:
      amianai-infra:domainName: example.com
      amianai-infra:databaseInstanceClass: db.t4g.small

*Once built* says what becomes of another value when the stack is there already. What is fixed, or would go downwards, is refused by
`preview`, `up` and `setup` (exit 3) before anything changes:

"""


def pages() -> dict[str, str]:
    """File name and content of every generated page."""
    return {"cli.md": cli_page(), "settings.md": settings_page()}


def cli_page() -> str:
    """Every command with its options."""
    context = click.Context(cli, info_name="amianai")
    intro = inspect.cleandoc(cli.help or "")
    parts = [f"# Commands\n\n{_NOTE}\n\n{intro}\n", _options(cli, context), "Global options may also follow the command.\n"]
    parts += [part for name in cli.list_commands(context) for part in _command(name, context)]
    return "\n".join(parts).rstrip() + "\n"


def _command(name: str, parent: click.Context) -> Iterator[str]:
    group = parent.command
    assert isinstance(group, click.Group)  # noqa: S101
    command = group.get_command(parent, name)
    assert command is not None  # noqa: S101
    context = click.Context(command, info_name=name, parent=parent)
    yield f"## {context.command_path}\n\n{_prose(command.help or '')}\n"
    yield f"    {context.command_path} {' '.join(command.collect_usage_pieces(context))}\n"
    yield _options(command, context)
    if isinstance(command, click.Group):
        for inner in command.list_commands(context):
            yield from _command(inner, context)


def _prose(text: str) -> str:
    """Help text as Markdown: what click must not wrap (`\\b`) becomes code."""
    paragraphs = []
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        if not paragraph.startswith("\b"):
            paragraphs.append(paragraph)
            continue
        lines = [line for line in paragraph.removeprefix("\b").strip("\n").splitlines() if line.strip() not in ("Example:", "Examples:")]
        paragraphs.append("\n".join(f"    {line.strip()}" for line in lines))
    return "\n\n".join(paragraphs)


def _options(command: click.Command, context: click.Context) -> str:
    records = [record for parameter in command.get_params(context) if (record := parameter.get_help_record(context))]
    rows = [f"| `{names}` | {_cell(text)} |" for names, text in records if not names.endswith("--help")]
    return "\n".join(["| Option | |", "| --- | --- |", *rows, ""]) if rows else ""


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def settings_page() -> str:
    """Every setting with its spellings, default and range."""
    kept = [
        f"- `{one.key}`: {one.once.kind}, because {one.once.why}. Instead: {one.once.instead}." for one in every_setting() if one.once.why
    ]
    parts = [f"# Settings\n\n{_NOTE}\n", _SETTINGS + "\n".join(kept) + "\n"]
    for group, settings in groupby(every_setting(), key=lambda one: one.path[0] if len(one.path) > 1 else ""):
        parts.append(_group(group, list(settings)))
    return "\n".join(parts).rstrip() + "\n"


def _group(name: str, settings: list[Setting]) -> str:
    title = inspect.getdoc(Settings.model_fields[name].annotation) if name else "The stack"
    head = ["| Setting | Environment | Stack file | Default | Allowed | Once built | |", "| --- | --- | --- | --- | --- | --- | --- |"]
    return "\n".join([f"## {(title or name).rstrip('.')}", "", *head, *map(_row, settings), ""])


def _row(setting: Setting) -> str:
    field = setting.field
    default = "required" if field.is_required() else f"`{_plain(field.default)}`" if field.default not in ("", [], {}) else ""
    unit = f" {setting.unit}" if setting.unit and default else ""
    key = setting.pulumi.partition(":")[2]
    names = [f"`{setting.key}`", f"`{setting.environment}`", f"`{key}`"]
    cells = [*names, default + unit, allowed(setting), setting.once.kind, field.description or ""]
    return "| " + " | ".join(_cell(cell) for cell in cells) + " |"


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return ", ".join(value) if isinstance(value, list) else str(value)


def allowed(setting: Setting) -> str:
    """The values a setting takes, where they can be listed."""
    annotation = setting.field.annotation
    if get_origin(annotation) is Literal:
        return ", ".join(str(value) for value in get_args(annotation))
    if annotation is bool:
        return "true, false"
    bounds = {type(item).__name__: item for item in setting.field.metadata}
    low, high = getattr(bounds.get("Ge"), "ge", None), getattr(bounds.get("Le"), "le", None)
    return "" if low is None and high is None else f"{low} to {high}"


def main(folder: Path) -> None:
    """Write the pages."""
    for name, text in pages().items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(__file__).resolve().parents[2] / "docs")
