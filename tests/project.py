"""A project of its own with a sandbox of its own, driven from the outside as a person drives it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests import warm

if TYPE_CHECKING:
    import boto3

CHECKOUT = Path(__file__).parents[1]
LEFT_BEHIND = shutil.ignore_patterns("node_modules", ".next", "out", ".env.local")


@dataclass
class Project:
    """A copy of the project with a sandbox of its own, driven as a person drives it: through the command line."""

    root: Path

    def command(self, *arguments: str) -> list[str]:
        return [str(Path(sys.executable).with_name("amianai")), "--sandbox", *arguments]

    def environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PULUMI_", "AMIANAI_", "DOMAIN_"))}
        cache = {"AMIANAI_CACHE": os.environ["AMIANAI_CACHE"]} if "AMIANAI_CACHE" in os.environ else {}
        return {**kept, **cache, **(extra or {})}

    def run(self, *arguments: str, code: int = 0, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        done = warm.run(self.command(*arguments), self.root, self.environment(env))
        assert done.returncode == code, f"{arguments}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def said(self, *arguments: str, env: Mapping[str, str] | None = None) -> str:
        """All a command printed, in lower case."""
        done = self.run(*arguments, env=env)
        return (done.stdout + done.stderr).lower()

    def json(self, *arguments: str, env: Mapping[str, str] | None = None) -> Any:
        return json.loads(self.run("--json", *arguments, env=env).stdout)

    def variables(self) -> dict[str, str]:
        """What `amianai sandbox env` gives an independent client."""
        return dict(self.json("sandbox", "env"))

    def aws(self, service: str, key: Mapping[str, str] | None = None) -> Any:
        """An independent boto3 client, made from the printed environment alone; with another key where one is given."""
        import boto3
        from botocore.config import Config

        session, endpoint = self._led
        if key is not None:
            session = boto3.Session(key["AWS_ACCESS_KEY_ID"], key["AWS_SECRET_ACCESS_KEY"], region_name=session.region_name)
        return session.client(service, endpoint_url=endpoint, config=Config(s3={"addressing_style": "path"}))  # type: ignore[call-overload]

    @cached_property
    def _led(self) -> tuple[boto3.Session, str]:
        """Where the printed environment leads; for as long as there is this sandbox."""
        import boto3
        from botocore.session import Session

        env = self.variables()
        core = Session(session_vars={"credentials_file": (None, None, env["AWS_SHARED_CREDENTIALS_FILE"], None)})
        return boto3.Session(botocore_session=core, region_name=env["AWS_REGION"]), env["AWS_ENDPOINT_URL"]


def trace(root: Path, *left_out: str) -> dict[str, tuple[int, ...]]:
    """Mode, size and both times of every file and folder below, to compare; without what is below the folders `left_out`.

    The time of the last change of status is the system's own: whoever writes a file moves it, be it with the same content.
    """
    found: dict[str, tuple[int, ...]] = {}
    for folder, folders, files in os.walk(root):
        place = Path(folder).relative_to(root)
        folders[:] = [name for name in folders if (place / name).as_posix() not in left_out]
        for name in (".", *folders, *files):
            there = Path(folder, name).lstat()
            found[(place / name).as_posix()] = (there.st_mode, there.st_size, there.st_mtime_ns, there.st_ctime_ns)
    return found


def checkout(root: Path) -> Path:
    """The least that makes a folder a project."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "Pulumi.yaml").write_text("name: amianai-infra\nruntime: python\n")
    return root


def copy_project(root: Path) -> Project:
    root.mkdir(parents=True)
    for name in ("Pulumi.yaml", "Pulumi.prod.yaml", "__main__.py"):
        shutil.copy(CHECKOUT / name, root / name)
    shutil.copytree(CHECKOUT / "examples", root / "examples", ignore=LEFT_BEHIND)
    return Project(root)


@dataclass
class Deployed:
    """The stack after `setup`."""

    project: Project
    summary: dict[str, Any]
    status: dict[str, Any]

    @property
    def site_url(self) -> str:
        return str(self.status["site"]["url"])
