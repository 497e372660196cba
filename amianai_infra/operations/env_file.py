"""The application's `.env.local`: our keys are kept up to date, everything else in the file stays as it is."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from amianai_infra.database.credentials import Role, secret_arn
from amianai_infra.errors import ConfigurationError
from amianai_infra.folders import replace_file
from amianai_infra.outputs import StackOutputs

_ASSIGNMENT = re.compile(r"^(\s*(?:export\s+)?)([A-Za-z_][A-Za-z0-9_]*)(\s*=)")
_SDK_BEGIN = "# where AWS SDKs are led; `amianai env` for another place changes or removes these lines"
_SDK_END = "# end of where AWS SDKs are led"
_SDK = re.compile(rf"\n?^{_SDK_BEGIN}\n(?P<lines>(?:AWS_.*\n)*){_SDK_END}\n?", re.MULTILINE)
# Written for some places and not for others.
_OPTIONAL = ("DATABASE_REPLICA_HOSTS", "DATABASE_SERVER_NAME", "DATABASE_CA", "DATABASE_REGION")
HEADING = "# written by `amianai env`; run it again after a change of the stack"


@dataclass(frozen=True)
class Written:
    """What became of the file."""

    path: Path
    added: list[str]
    changed: list[str]
    removed: list[str]

    @property
    def same(self) -> bool:
        """Whether the file already said all of it."""
        return not (self.added or self.changed or self.removed)

    def text(self) -> list[str]:
        """For a person."""
        if self.same:
            return [f"{self.path}: no changes"]
        lines = [str(self.path)]
        for what in ("added", "changed", "removed"):
            names = ", ".join(getattr(self, what))
            lines += textwrap.wrap(names, 98, initial_indent=f"  {what + ':':<9}", subsequent_indent=" " * 11) if names else []
        return lines


def database_values(outputs: StackOutputs, role: Role) -> dict[str, str]:
    """How server code finds the database, and the secret with its login. The password is in the secret, never here.

    Args:
        outputs: the stack.
        role: whose login; never the owner's, with which an application could change the schema.

    Raises:
        NotFoundError: the stack is older than the role's secret.
    """
    database = outputs.database
    replicas = {"DATABASE_REPLICA_HOSTS": ",".join(database.replica_hosts)} if database.replica_hosts else {}
    return {
        "DATABASE_HOST": database.host,
        "DATABASE_PORT": str(database.port),
        "DATABASE_NAME": database.name,
        "DATABASE_SECRET_ARN": secret_arn(outputs, role),
        **replicas,
    }


def local_database_values(
    outputs: StackOutputs, ca: Path, role: Role, *, tunnel_port: int | None = None, replicas: bool = False
) -> dict[str, str]:
    """How a program on this machine reaches the database: opened for its address, through a tunnel, or in the sandbox. No password.

    Args:
        outputs: the stack.
        ca: file of the authorities that sign the database's certificate.
        role: whose login, as in `database_values`.
        tunnel_port: the tunnel's port on this machine; None where the database itself is reached.
        replicas: whether they can be reached from here; on AWS they are open to nobody outside.

    Raises:
        NotFoundError: the stack is older than the role's secret.
    """
    database = outputs.database
    host, port = (database.host, database.port) if tunnel_port is None else ("127.0.0.1", tunnel_port)
    values = {name: value for name, value in database_values(outputs, role).items() if replicas or name != "DATABASE_REPLICA_HOSTS"}
    return {
        **values,
        "DATABASE_HOST": host,
        "DATABASE_PORT": str(port),
        # What the certificate must name, also where a tunnel is connected to.
        "DATABASE_SERVER_NAME": database.host,
        "DATABASE_CA": str(ca),
        "DATABASE_REGION": outputs.region,
    }


def merge(text: str, values: Mapping[str, str]) -> tuple[str, list[str], list[str]]:
    """Put `values` into the text of an env file.

    Foreign keys, comments, blank lines and the order stay; our keys are replaced where they stand; missing ones go to the end.

    Returns:
        The new text, the keys added, the keys whose value changed.
    """
    lines = text.splitlines()
    seen: set[str] = set()
    changed: list[str] = []
    for number, line in enumerate(lines):
        found = _ASSIGNMENT.match(line)
        if not found or found[2] not in values:
            continue
        name = found[2]
        seen.add(name)
        wanted = f"{found[1]}{name}={_quoted(values[name])}"
        if line.rstrip() != wanted:
            lines[number] = wanted
            changed.append(name)
    added = [name for name in values if name not in seen]
    if added:
        if lines and lines[-1].strip() and HEADING not in lines:
            lines.append("")
        if HEADING not in lines:
            lines.append(HEADING)
        lines += [f"{name}={_quoted(values[name])}" for name in added]
    return "\n".join(lines) + ("\n" if lines else ""), added, changed


def prune(text: str, values: Mapping[str, str]) -> tuple[str, list[str]]:
    """Take out what an earlier call wrote for another place: authorities of the sandbox sign for no server on AWS.

    Only below our heading; above it a key is somebody's own.

    Returns:
        The new text, and the keys taken out.
    """
    above, heading, below = text.partition(f"{HEADING}\n")
    kept: list[str] = []
    gone: list[str] = []
    for line in below.splitlines(keepends=True):
        found = _ASSIGNMENT.match(line)
        stale = found is not None and found[2] in _OPTIONAL and found[2] not in values
        (gone if stale else kept).append(line)
    return above + heading + "".join(kept), [line.partition("=")[0].split()[-1] for line in gone]


def lead(text: str, variables: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """Put the variables of AWS SDKs into the text, in lines of their own between two marks; without any, take those lines out.

    A key of the same name elsewhere in the file is somebody's own and stays.

    Returns:
        The new text, and the variables it had between the marks.
    """
    found = _SDK.search(text)
    before = dict(line.split("=", 1) for line in found["lines"].splitlines()) if found else {}
    lines = [f"{name}={_quoted(value)}" for name, value in variables.items()]
    block = "\n".join(["", _SDK_BEGIN, *lines, _SDK_END, ""]) if lines else ""
    known = {name: value.strip("'") for name, value in before.items()}
    return (text[: found.start()] + block + text[found.end() :] if found else text + block), known


def _quoted(value: str) -> str:
    return value if re.fullmatch(r"[A-Za-z0-9_./:@%+,=-]*", value) else "'" + value + "'"


def write(path: Path, values: Mapping[str, str], sdk: Mapping[str, str] = {}) -> Written:
    """Bring the file up to date, atomically; it is not touched when nothing changes.

    Args:
        path: the file.
        values: our keys.
        sdk: what leads AWS SDKs somewhere; none: what an earlier call wrote of it goes.

    Raises:
        ConfigurationError: its folder does not exist.
    """
    if not path.parent.is_dir():
        raise ConfigurationError(
            "The site's directory does not exist.", where=str(path.parent), fix="set site.directory to the folder of your site"
        )
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    text, gone = prune(before, values)
    text, added, changed = merge(text, values)
    text, led = lead(text, sdk)
    if text != before:
        replace_file(path, text, 0o600)
    added += [name for name in sdk if name not in led]
    changed += [name for name in sdk if led.get(name, sdk[name]) != sdk[name]]
    return Written(path, added, changed, gone + [name for name in led if name not in sdk])
