"""The engine's own folder in the sandbox, and the environment in which hand-typed tools find everything.

The engine writes an encryption salt into the stack file it is given: here it gets a project folder of its own, whose
`main` is the checkout, so that the tracked files stay clean and the program is the same one.
"""

from __future__ import annotations

import secrets
import sys
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from amianai_infra.naming import PROJECT, SANDBOX_VARIABLE, STACK
from amianai_infra.sandbox import emulator as aws
from amianai_infra.sandbox.certificates import write_private
from amianai_infra.sandbox.ports import Ports

_FOREIGN = ("AWS_", "PULUMI_", "BOTO_", "PG")


class Project:
    """Folder, state and secrets of the sandbox's engine.

    Args:
        root: the checkout.
        local: its `.sandbox`.
    """

    def __init__(self, root: Path, local: Path) -> None:
        self._root = root
        self._local = local
        self.folder = local / "project"
        self.state = local / "state"
        self.passphrase_file = local / "passphrase"
        self.password_file = local / "pgpass"
        self.credentials_file = local / "aws" / "credentials"

    @property
    def settled(self) -> bool:
        """Whether a stack exists."""
        return (self.state / ".pulumi" / "stacks" / PROJECT / f"{STACK}.json").is_file()

    @property
    def backend_url(self) -> str:
        """The state backend: a folder."""
        return f"file://{self.state}"

    def prepare(self) -> None:
        """Write what is missing or has changed."""
        for folder in (self.folder, self.state, self._local / "aws"):
            folder.mkdir(parents=True, exist_ok=True)
        _update(self.folder / "Pulumi.yaml", self._project_file)
        _update(self._local / "aws" / "config", f"[default]\nregion = {aws.REGION}\ns3 =\n    addressing_style = path\n")
        if not self.passphrase_file.is_file():
            write_private(self.passphrase_file, secrets.token_urlsafe(32).encode())

    @cached_property
    def _project_file(self) -> str:
        import yaml

        tracked = self._root / "Pulumi.yaml"
        project: dict[str, Any] = yaml.safe_load(tracked.read_text(encoding="utf-8")) if tracked.is_file() else {}
        project |= {"name": PROJECT, "main": str(self._root), "runtime": _runtime()}
        project.pop("backend", None)
        return "# Written by `amianai sandbox` from the checkout's Pulumi.yaml.\n" + yaml.safe_dump(project, sort_keys=False, width=120)

    def aws_variables(self, ports: Ports) -> dict[str, str]:
        """What leads any AWS SDK and the AWS CLI to the emulator, and nowhere else; the key stays in its file of mode 0600."""
        return {
            "AWS_ENDPOINT_URL": aws.endpoint(ports.emulator),
            "AWS_REGION": aws.REGION,
            "AWS_DEFAULT_REGION": aws.REGION,
            "AWS_CONFIG_FILE": str(self._local / "aws" / "config"),
            "AWS_SHARED_CREDENTIALS_FILE": str(self.credentials_file),
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def engine_variables(self, ports: Ports) -> dict[str, str]:
        """What leads the Pulumi engine to this state and to the provider that already runs."""
        return {
            "PULUMI_HOME": str(self._local / "pulumi"),
            "PULUMI_BACKEND_URL": self.backend_url,
            "PULUMI_CONFIG_PASSPHRASE_FILE": str(self.passphrase_file),
            "PULUMI_DEBUG_PROVIDERS": f"aws:{ports.provider}",
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
            "PULUMI_SKIP_UPDATE_CHECK": "true",
        }

    def hand_variables(self) -> dict[str, str]:
        """What lets `pulumi`, typed anywhere, find the project and the stack, and `amianai` know where the shell is led."""
        return {"PULUMI_OPTION_CWD": str(self.folder), "PULUMI_STACK": STACK, SANDBOX_VARIABLE: str(self._root)}

    def database_variables(self, ports: Ports, ca: Path) -> dict[str, str]:
        """What leads psql and libpq to the server, verifying it; name, user and password file once there is a database."""
        known = {"PGHOST": "localhost", "PGPORT": str(ports.postgres), "PGSSLMODE": "verify-full", "PGSSLROOTCERT": str(ca)}
        user, name = self._database()
        if user:
            known |= {"PGUSER": user, "PGDATABASE": name, "PGPASSFILE": str(self.password_file)}
        return known

    def _database(self) -> tuple[str, str]:
        try:
            fields = self.password_file.read_text().splitlines()[0].split(":")
        except (OSError, IndexError):
            return "", ""
        return fields[3], fields[2]

    def keep_passwords(self, port: int, database: str, logins: Mapping[str, str]) -> None:
        """Write the password file for libpq, mode 0600: the password of each user, first of the one to be by default."""
        lines = (
            ":".join((host, str(port), name, user, password.replace("\\", "\\\\").replace(":", "\\:"))) + "\n"
            for user, password in logins.items()
            for host in ("localhost", "127.0.0.1")
            for name in (database, "*")
        )
        write_private(self.password_file, "".join(lines).encode())


def _runtime() -> dict[str, Any]:
    if sys.prefix == sys.base_prefix:
        return {"name": "python"}
    return {"name": "python", "options": {"toolchain": "pip", "virtualenv": sys.prefix}}


def _update(file: Path, text: str) -> None:
    if not file.is_file() or file.read_text(encoding="utf-8") != text:
        file.write_text(text, encoding="utf-8")


def foreign(environ: Mapping[str, str], ours: Mapping[str, str]) -> list[str]:
    """Variables around us that would lead AWS clients, the engine or libpq somewhere else."""
    return sorted(name for name in environ if name.startswith(_FOREIGN) and name not in ours)
