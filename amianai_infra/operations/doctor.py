"""Every prerequisite, what was found, and the fix. The checks of the machine touch nothing outside it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from amianai_infra.errors import AmianaiError, ClockError, MissingToolError, RefusedError
from amianai_infra.operations import state_storage
from amianai_infra.target import SKEW_MOST_SECONDS, clock_skew

if TYPE_CHECKING:
    from amianai_infra.config import Settings
    from amianai_infra.target import Target

NODE_LEAST = (18, 17)
PYTHON_LEAST = (3, 11)
FREE_LEAST_GIB = 3.0  # engine, its build, the sandbox's servers, the site's packages
FREE_LATER_GIB = 0.5  # once the engine is there
Run = Callable[[Sequence[str]], str]


@dataclass(frozen=True)
class Check:
    """One prerequisite.

    Attributes:
        name: what is needed.
        ok: whether it is there.
        found: what was found.
        fix: what to do about it; empty when all is well.
        required: whether nothing works without it.
    """

    name: str
    ok: bool
    found: str
    fix: str = ""
    required: bool = True

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self)


def run(command: Sequence[str]) -> str:
    """What a program prints; empty when it is absent or fails."""
    try:
        done = subprocess.run(list(command), capture_output=True, text=True, errors="replace", timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return (done.stdout or done.stderr).strip() if done.returncode == 0 else ""


def _version(text: str) -> tuple[int, ...]:
    found = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", text)
    return tuple(int(part) for part in found.groups() if part) if found else ()


def python() -> Check:
    """The interpreter that runs this."""
    version = sys.version_info[:3]
    return Check(
        "Python 3.11 or later",
        version >= PYTHON_LEAST,
        ".".join(map(str, version)),
        "" if version >= PYTHON_LEAST else "install Python 3.11 or later and remove .venv",
    )


def node(call: Run = run) -> Check:
    """Node builds the site, and runs the viewer function in the sandbox."""
    text = call(["node", "--version"])
    good = _version(text) >= NODE_LEAST
    return Check("Node 18.17 or later", good, text or "not found", "" if good else "install Node 18.17 or later from https://nodejs.org")


def npm(call: Run = run) -> Check:
    """Installs what the site needs."""
    text = call(["npm", "--version"])
    return Check("npm", bool(text), text or "not found", "" if text else "install Node from https://nodejs.org: npm comes with it")


def git(call: Run = run) -> Check:
    """Names the repository and the commit of a release."""
    text = call(["git", "--version"])
    return Check(
        "git", bool(text), text.removeprefix("git version ") or "not found", "" if text else "install git from https://git-scm.com"
    )


def engine(call: Run = run, environ: Mapping[str, str] = os.environ) -> list[Check]:
    """The Pulumi engine, and Go, which builds it where the official installer's host is out of reach."""
    from amianai_infra.engine import find_engine

    try:
        path = find_engine(environ)
    except RefusedError as error:
        return [Check("Pulumi engine", False, error.what, error.fix)]
    go = call(["go", "version"]).removeprefix("go version ")
    if path is not None:
        return [
            Check("Pulumi engine", True, str(path)),
            Check("Go", True, go or "not found (not needed: the engine is installed)", required=False),
        ]
    return [
        Check("Pulumi engine", True, "not installed yet; setup installs it", required=False),
        Check(
            "Go",
            bool(go),
            go or "not found",
            "" if go else "install Go from https://go.dev/dl if https://get.pulumi.com is out of reach: setup then builds the engine",
            required=False,
        ),
    ]


def provider(environ: Mapping[str, str] = os.environ) -> Check:
    """The pulumi-aws plugin, or room for it; only AWS needs it."""
    from amianai_infra.engine import NEEDED_BYTES, find_plugin, plugin_version, plugins_folder

    name = "AWS provider (pulumi-aws)"
    try:
        path = find_plugin(environ, plugin_version())
    except AmianaiError as error:
        return Check(name, False, error.what, error.fix)
    if path is not None:
        return Check(name, True, str(path))
    folder = plugins_folder(environ)
    room = disk([folder], NEEDED_BYTES / 2**30)
    found = f"{plugin_version()} is not installed yet; setup installs it ({room.found})"
    return Check(name, room.ok, found, "" if room.ok else f"free 1.5 GiB in {folder}, or move it with PULUMI_HOME")


def disk(folders: Iterable[Path], least: float = FREE_LEAST_GIB) -> Check:
    """Room for tools, packages and builds."""
    free = {folder: shutil.disk_usage(_existing(folder)).free / 2**30 for folder in folders}
    tightest = min(free, key=lambda folder: free[folder])
    good = free[tightest] >= least
    found = f"{free[tightest]:.1f} GiB free in {tightest}"
    return Check(
        f"Disk space, {least:g} GiB",
        good,
        found,
        "" if good else f"free {least - free[tightest]:.1f} GiB more, or move the cache with AMIANAI_CACHE",
    )


def writable(folders: Iterable[Path]) -> Check:
    """The folders that hold state, caches and builds."""
    for folder in folders:
        try:
            with tempfile.TemporaryFile(dir=_existing(folder)):
                pass
        except OSError as error:
            return Check("Writable folders", False, f"{folder}: {error.strerror}", "make it yours (chown) or writable (chmod u+w)")
    return Check("Writable folders", True, ", ".join(str(folder) for folder in folders))


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists."""
    while not folder.exists():
        folder = folder.parent
    return folder


def site_directory(root: Path, settings: Settings) -> Check:
    """The site that is built and deployed."""
    folder = root / settings.site.directory
    fix = "set site.directory (AMIANAI_SITE_DIRECTORY) to the folder of your site"
    if not folder.is_dir():
        return Check("Site directory", False, f"{folder} does not exist", fix)
    command = settings.site.build_command
    by_hand = not command and (folder / settings.site.output).is_dir()
    if (
        not (folder / "package.json").is_file()
        and not by_hand
        and (not command or command.startswith(("npm", "npx", "yarn", "pnpm", "bun")))
    ):
        return Check("Site directory", False, f"{folder} has no package.json", fix + ", or site.build_command to what builds it")
    return Check("Site directory", True, str(folder))


def machine(root: Path, local: Path, cache: Path) -> list[Check]:
    """Everything about this machine, checked side by side."""
    with ThreadPoolExecutor() as pool:
        programs = [pool.submit(check) for check in (node, npm, git)]
        engines = pool.submit(engine)
        found = [python(), *(one.result() for one in programs), *engines.result()]
    installed = any(check.name == "Pulumi engine" and check.required for check in found)
    return [*found, disk([root, cache], FREE_LATER_GIB if installed else FREE_LEAST_GIB), writable([root, local, cache])]


def configuration(load: Callable[[], Settings], root: Path) -> list[Check]:
    """The settings, and the site directory they name."""
    try:
        settings = load()
    except AmianaiError as error:
        return [Check("Configuration", False, error.what, error.fix)]
    return [Check("Configuration", True, f"domain {settings.domain_name}, region {settings.region}"), site_directory(root, settings)]


def sign_in_mail(settings: Settings) -> Check:
    """Whether strangers can use up the e-mail that sign-up and recovery need."""
    name, auth = "Sign-in e-mail", settings.auth
    if auth.ses_identity_arn:
        return Check(name, True, f"through {auth.ses_identity_arn}", required=False)
    if not auth.self_sign_up:
        return Check(name, True, "Cognito's own, 50 a day; only operators make accounts", required=False)
    return Check(
        name,
        False,
        "Cognito's own, 50 a day: 50 sign-ups by strangers end sign-up and password recovery for everybody until the next day",
        "before going live set auth.ses_identity_arn (and auth.request_limit), or auth.self_sign_up=false; docs/aws.md",
        required=False,
    )


def credentials(target: Target) -> list[Check]:
    """Whether AWS answers, as whom, and whether the clocks agree."""
    try:
        identity = target.identity()
    except AmianaiError as error:
        name = "Clock" if isinstance(error, ClockError) else "AWS credentials"
        return [Check(name, False, f"{error.what} {error.where}".strip(), error.fix)]
    return [Check("AWS credentials", True, f"{identity.arn} in account {identity.account}"), _clock(target)]


def state_through_engine(reach: Callable[[], None]) -> Check:
    """Whether the engine, too, comes to the state, with the credentials that it is given."""
    name = "State, through the engine"
    try:
        reach()
    except AmianaiError as error:
        return Check(name, False, f"{error.what} {error.where}".strip(), error.fix)
    return Check(name, True, "it takes the same credentials, and AWS answers it")


def amazon(target: Target, settings: Settings) -> list[Check]:
    """Whether AWS answers and lets these credentials do what setup does."""
    found = credentials(target)
    return [*found, permissions(target, settings), state_key(target, settings)] if found[0].ok else found


def state_key(target: Target, settings: Settings) -> Check:
    """Whether the key that the state's secrets are under can be used."""
    storage = state_storage.StateStorage.of(target, settings.prefix)
    name = "KMS key of the state"
    try:
        state = state_storage.key_state(target, storage)
    except AmianaiError as error:
        return Check(name, False, error.what, error.fix, required=False)
    good = state in ("", "enabled")
    found = f"{storage.alias} is {state}" if state else "not made yet; setup makes it"
    return Check(name, good, found, "" if good else "`amianai setup` enables it; once it is deleted, nothing opens the state's secrets")


def permissions(target: Target, settings: Settings) -> Check:
    """Compare the caller's permissions with the operator policy, where AWS lets us ask (`iam:SimulatePrincipalPolicy`)."""
    from botocore.exceptions import BotoCoreError, ClientError

    name = "Permissions of the operator"
    identity = target.identity()
    if identity.arn.endswith(":root"):
        return Check(name, True, "the account's root user may do everything; better use a role", required=False)
    try:
        denied = _denied(target, settings)
    except (BotoCoreError, ClientError) as error:
        return Check(
            name, False, f"AWS does not tell: {error}", "allow iam:SimulatePrincipalPolicy, or compare with docs/aws.md", required=False
        )
    if not denied:
        return Check(name, True, "everything that setup needs is allowed")
    shown = ", ".join(sorted(denied)[:8]) + (f" and {len(denied) - 8} more" if len(denied) > 8 else "")
    return Check(name, False, f"{len(denied)} actions are denied: {shown}", "attach the operator policy of docs/aws.md")


def _denied(target: Target, settings: Settings) -> set[str]:
    from amianai_infra.rules.operator_policy import probes

    iam, identity = target.client("iam"), target.identity()
    principal = _principal(iam, identity.arn)

    def ask(probe: Any) -> list[str]:
        answer = iam.simulate_principal_policy(
            PolicySourceArn=principal,
            ActionNames=[action for action in probe.actions if "*" not in action],
            ResourceArns=[probe.resource],
            ContextEntries=probe.context_entries(),
            MaxItems=1000,
        )
        return [one["EvalActionName"] for one in answer["EvaluationResults"] if one["EvalDecision"] != "allowed"]

    asked = [probe for probe in probes(settings, identity.account) if any("*" not in action for action in probe.actions)]
    with ThreadPoolExecutor(max_workers=5) as pool:
        return {action for denied in pool.map(ask, asked) for action in denied}


def _principal(iam: Any, arn: str) -> str:
    """The role behind an assumed role's session: only users and roles can be simulated."""
    found = re.fullmatch(r"arn:aws[a-z-]*:sts::\d+:assumed-role/([^/]+)/.+", arn)
    return str(iam.get_role(RoleName=found[1])["Role"]["Arn"]) if found else arn


def _clock(target: Target) -> Check:
    skew = clock_skew(target.client("sts").get_caller_identity())
    if skew is None:
        return Check("Clock", True, "AWS told no time", required=False)
    good = abs(skew) < SKEW_MOST_SECONDS
    fix = "" if good else "set the clock: AWS refuses signatures that are 5 minutes off"
    return Check("Clock", good, f"{abs(skew):.0f} s from AWS's", fix)


def healthy(checks: Iterable[Check]) -> bool:
    """Whether nothing required is missing."""
    return all(check.ok for check in checks if check.required)


def require(checks: Iterable[Check]) -> None:
    """Raise for the required prerequisites that are missing, all of them at once.

    Raises:
        MissingToolError: what is missing and how to get it.
    """
    missing = [check for check in checks if check.required and not check.ok]
    if missing:
        raise MissingToolError(
            "This machine is not ready:",
            details=[f"{check.name}: {check.found}; {check.fix}" for check in missing],
            fix="correct that and run the command again; `amianai doctor` checks everything",
        )


def table(checks: Sequence[Check]) -> list[str]:
    """The checks as lines for a person."""
    width = max(len(check.name) for check in checks)
    lines = []
    for check in checks:
        mark = "✓" if check.ok else ("✗" if check.required else "!")
        lines.append(f"{mark} {check.name:<{width}}  {check.found}")
        if check.fix:
            lines.append(f"  {'':<{width}}  -> {check.fix}")
    return lines
