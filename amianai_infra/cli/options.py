"""What every command shares: the `App` on click's context object, option decorators and parameter types.

Nothing heavy is imported here at module level: `amianai --help` loads click and the standard library alone.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from amianai_infra.errors import ConfigurationError, RefusedError
from amianai_infra.naming import PROJECT, SANDBOX_VARIABLE, STACK
from amianai_infra.printing import Text, agreed, answer, show

if TYPE_CHECKING:
    from datetime import timedelta

    from amianai_infra.config import Settings
    from amianai_infra.engine import Engine
    from amianai_infra.outputs import StackOutputs
    from amianai_infra.progress import Progress
    from amianai_infra.target import EngineEnvironment, Target

AnyCallable = TypeVar("AnyCallable", bound=Callable[..., Any])


def recommended(text: Iterable[str], *, sandbox: bool) -> list[str]:
    """Lines whose commands, in the sandbox, are for the sandbox, too: as they stand they would act on AWS."""
    return [re.sub(r"`amianai (?!--sandbox |sandbox )", "`amianai --sandbox ", line) if sandbox else line for line in text]


def find_root(environ: Mapping[str, str], start: Path) -> Path:
    """The project: `AMIANAI_ROOT`, the nearest folder above `start` with our Pulumi.yaml, or the checkout this code is in."""
    from amianai_infra.target import is_project, require_project

    chosen = environ.get("AMIANAI_ROOT")
    if chosen:
        return require_project(Path(chosen).resolve(), f"AMIANAI_ROOT = {chosen}")
    folders = (start, *start.parents, Path(__file__).resolve().parents[2])
    return next((folder for folder in folders if is_project(folder)), None) or require_project(start)


def parse_sets(pairs: tuple[str, ...]) -> dict[str, str]:
    """`("network.cidr=10.1.0.0/16",)` as a mapping; a later pair wins."""
    flags: dict[str, str] = {}
    for pair in pairs:
        key, sign, value = pair.partition("=")
        if not sign or not key.strip():
            raise ConfigurationError(f"--set takes KEY=VALUE, not {pair!r}.", fix="for example --set database.storage_gib=50")
        flags[key.strip()] = value
    return flags


def _leads_to(address: str, port: int) -> bool:
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(address)
        named = parts.port
    except ValueError:
        return False
    return named == port and parts.hostname in _LOOPBACK


_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass
class App:
    """What one invocation works with. Every part is made when it is first used.

    Attributes:
        sandbox: act on the sandbox instead of AWS.
        config_file: stack file to read instead of the project's own.
        flags: `--set` values by dotted key.
        json: print data as JSON.
        yes: answer ordinary questions with yes.
        debug: show tracebacks.
        verbose: say more on standard error.
        environ: the process environment.
    """

    sandbox: bool = False
    config_file: Path | None = None
    flags: dict[str, str] = field(default_factory=dict)
    json: bool = False
    yes: bool = False
    debug: bool = False
    verbose: bool = False
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)

    @cached_property
    def root(self) -> Path:
        """The folder that holds Pulumi.yaml."""
        return find_root(self.environ, Path.cwd())

    @cached_property
    def progress(self) -> Progress:
        """Standard error, live in a terminal."""
        from amianai_infra.progress import Progress

        return Progress(verbose=self.verbose)

    @cached_property
    def target(self) -> Target:
        """The sandbox, or AWS with the settings' region and prefix."""
        if self.sandbox:
            from amianai_infra.sandbox import SandboxTarget

            return SandboxTarget(self.root, self.progress)  # with another one each would draw over the other
        from amianai_infra.target import AwsTarget

        self._require_aws()
        return AwsTarget(self.root, self.settings.region, self.settings.prefix, self.environ)

    def _require_aws(self) -> None:
        """Refuse to take a sandbox for AWS: in a shell that `sandbox env` leads there, without a word which of the two is meant.

        Raises:
            ConfigurationError: naming what leads there, and both ways out.
        """
        place = self.environ.get(SANDBOX_VARIABLE)
        found = f"{SANDBOX_VARIABLE} = {place}" if place else self._sandbox_endpoint()
        if found:
            raise ConfigurationError(
                "The environment leads AWS clients to a sandbox; nothing was done.",
                where=f"environment: {found}",
                fix='for the sandbox, add --sandbox; for AWS, run `eval "$(amianai sandbox env --unset)"` first, or open another shell',
            )

    def _sandbox_endpoint(self) -> str:
        """The variable that leads SDKs to this checkout's emulator; empty without one, or where AMIANAI_TARGET=aws means it."""
        endpoints = {name: value for name, value in self.environ.items() if name.startswith("AWS_ENDPOINT_URL") and value}
        ports_file = self.root / ".sandbox" / "ports.json"
        if not endpoints or self.environ.get("AMIANAI_TARGET") == "aws" or not ports_file.is_file():
            return ""
        from amianai_infra.sandbox.ports import remembered

        ports = remembered(ports_file)
        return next((f"{name} = {value}" for name, value in endpoints.items() if ports and _leads_to(value, ports.emulator)), "")

    @property
    def stack_file(self) -> Path:
        """The file settings are read from: `--config`, else the target's own Pulumi.prod.yaml."""
        if self.config_file is not None:
            return self.config_file
        folder = self.root / ".sandbox" / "project" if self.sandbox else self.root
        return folder / f"Pulumi.{STACK}.yaml"

    @cached_property
    def settings(self) -> Settings:
        """Every setting, resolved: flag, environment, stack file, the target's default."""
        from amianai_infra.config import load_settings, read_stack_file, require_shared

        if not self.sandbox:
            self._require_aws()
        stack_file = read_stack_file(self.stack_file, required=self.config_file is not None)
        if not self.sandbox:
            require_shared(str(stack_file.get(f"{PROJECT}:siteDirectory", "")), str(self.stack_file))
        defaults = self.target.default_settings() if self.sandbox else {}
        settings = load_settings(self.flags, self.environ, stack_file, defaults, f"stack file {self.stack_file}")
        if settings.github_username and not settings.delivery.repository:
            delivery = settings.delivery.model_copy(update={"repository": self._origin()})
            settings = settings.model_copy(update={"delivery": delivery})
        return settings

    def _origin(self) -> str:
        """The name of the GitHub repository that git's origin is; empty without one."""
        import subprocess

        from amianai_infra.rules.workflow import origin_repository

        command = ("git", "-C", str(self.root), "remote", "get-url", "origin")
        try:
            answer = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=10, check=False)
        except (OSError, subprocess.SubprocessError):
            return ""
        return origin_repository(answer.stdout) if answer.returncode == 0 else ""

    def engine(self, environment: EngineEnvironment | None = None) -> Engine:
        """The Pulumi engine with the production stack's program, for the target or for another environment of it."""
        from amianai_infra.engine import Engine
        from amianai_infra.stack import program

        return Engine(environment or self.target.engine(), program, self.progress, clients=self.target.client, root=self.root)

    def outputs(self, *, fresh: bool = False) -> StackOutputs:
        """What the stack published: as last seen, else (or with `fresh`) read from SSM."""
        from amianai_infra.target import cached_outputs, fetch_outputs

        cached = None if fresh else cached_outputs(self.target)
        return cached or fetch_outputs(self.target, self.settings.prefix)

    def print(self, data: Any, text: Text | None = None) -> None:
        """Print a result on standard output: JSON with `--json`, else `text` (or JSON when there is none)."""
        if self.json or text is None:
            show(json.dumps(data, indent=2, default=str).split("\n"))
        else:
            show(text)

    def confirm(self, question: str) -> None:
        """Ask before something changes. `--yes` answers; without a terminal and without `--yes` it is refused.

        Raises:
            RefusedError: the answer was no, or nobody could be asked.
        """
        if self.yes:
            return
        if not sys.stdin.isatty():
            raise RefusedError("Nobody is there to confirm this, and --yes was not given.", where=question, fix="run it again with --yes")
        if not agreed(question):
            raise RefusedError("Not confirmed; nothing was changed.")

    def offer(self, question: str) -> bool:
        """Whether a person at a terminal says yes. `--yes` is no answer: what is offered is otherwise chosen by a setting."""
        return sys.stdin.isatty() and not self.json and not self.yes and agreed(question)

    def choose(self, key: str, value: str) -> None:
        """Take a setting as if it had been given with --set."""
        self.flags[key] = value
        self.__dict__.pop("settings", None)

    def confirm_domain(self, given: str | None, doing: str, domain: str) -> None:
        """Ask for the domain's name before something is lost. `--yes` is not an answer; `--confirm DOMAIN` is.

        Raises:
            RefusedError: another name was given, or nobody could be asked.
        """
        said = given
        if said is None:
            if not sys.stdin.isatty():
                raise RefusedError(
                    f"{doing}: that needs the domain as confirmation, and nobody is there to type it.",
                    fix=f"run it again with --confirm {domain}",
                )
            said = answer(f"{doing}. Type the domain ({domain}) to confirm")
        if said.strip() != domain:
            raise RefusedError(
                f"{said.strip()!r} is not {domain}; nothing was changed.", fix=f"type {domain}, or run it with --confirm {domain}"
            )

    def announce(self) -> None:
        """Say on standard error what is acted on: on AWS the account, region and domain."""
        if self.sandbox:
            return
        identity = self.target.identity()
        self.progress.note(f"AWS account {identity.account}, region {self.target.region}, domain {self.settings.domain_name}")
        self.progress.note(f"as {identity.arn}")


def confirm_option(function: AnyCallable) -> AnyCallable:
    """`--confirm DOMAIN`, for what can lose data."""
    return click.option("--confirm", metavar="DOMAIN", help="Confirm without a prompt, by naming the stack's domain.")(function)


def dry_run_option(function: AnyCallable) -> AnyCallable:
    """`--dry-run`: show the plan and stop."""
    return click.option("--dry-run", is_flag=True, help="Show what would be done and change nothing.")(function)


class DurationType(click.ParamType["timedelta"]):
    """A length of time such as `30m`, `2h` or `1h30m`, within a range.

    Args:
        least: shortest accepted, in seconds.
        most: longest accepted, in seconds.
    """

    name = "duration"
    _UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}  # noqa: RUF012

    def __init__(self, least: int = 1, most: int = 30 * 86400) -> None:
        self.least = least
        self.most = most

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """Parse the text, or fail naming unit and range."""
        from datetime import timedelta

        if isinstance(value, timedelta):
            return value
        text = str(value).strip().lower()
        if not re.fullmatch(r"(\d+[smhd])+", text):
            self.fail(f"{value!r} is not a duration: write a number and a unit (s, m, h, d), for example 30m", param, ctx)
        seconds = sum(int(amount) * self._UNITS[unit] for amount, unit in re.findall(r"(\d+)([smhd])", text))
        if not self.least <= seconds <= self.most:
            self.fail(f"{value!r} is out of range: {self.least} s to {self.most} s", param, ctx)
        return timedelta(seconds=seconds)
