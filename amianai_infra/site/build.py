"""Builds the site. What is fresh is decided by its own build tool; the same sources and public settings give the same build id.

Next.js names its build after a random id otherwise, which changes a third of the files of an unchanged site. A constant
id would hide a new version from open tabs.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from amianai_infra.errors import AmianaiError, BuildError
from amianai_infra.rules.cache import cache_control
from amianai_infra.site import inputs, packages, process
from amianai_infra.site.environment import Surroundings, prefixes, refuse_secrets, translated
from amianai_infra.site.ignored import Ignored
from amianai_infra.site.inputs import Sources
from amianai_infra.site.leftovers import DAYS, Leftovers, emptied
from amianai_infra.site.output import tree_digest
from amianai_infra.site.settings import ReleaseSettings, folders
from amianai_infra.site.tree import scan

if TYPE_CHECKING:
    from amianai_infra.progress import Progress

BUILD_ID = "AMIANAI_BUILD_ID"
_LONGEST_SOURCE = 1_000_000
_SHOWN = 5
_NOTHING = frozenset({"true", ":"})
_GOES_ON = frozenset({"gatsby"})
"""What builds only what changed since its last output, and removes itself what is no longer part of the site."""


@dataclass(frozen=True)
class Site:
    """A site's folder and how it is built.

    Attributes:
        folder: where its sources are.
        command: what builds it, run there.
        output: the folder that the build fills.
        environment: public settings the build gets.
        surroundings: what it gets of the environment of this process.
        inputs: what the build depends on, relative to `folder`; empty: nobody says, so it is built always.
        empties: build into an empty output.
        from_shell: variables of this process that the site's framework bakes into pages.
    """

    folder: Path
    command: str
    output: Path
    environment: Mapping[str, str]
    surroundings: Surroundings
    inputs: Sequence[str] = ()
    empties: bool = True
    from_shell: Sequence[str] = ()

    @property
    def has_nothing_to_build(self) -> bool:
        """Whether the output is made by hand: its command does nothing."""
        return self.command.strip() in _NOTHING


def site_of(root: Path, chosen: ReleaseSettings, public: Mapping[str, str], environ: Mapping[str, str]) -> Site:
    """The site that the settings choose.

    Args:
        root: the project.
        chosen: what a release reads.
        public: the stack's public settings.
        environ: the environment of this process.

    Raises:
        BuildError: there is no such folder.
        RefusedError: what would be public looks secret.
    """
    folder, output = folders(root, chosen)
    if not folder.is_dir():
        raise BuildError("The site's directory does not exist.", where=str(folder), fix="set site.directory to the folder of your site")
    used = packages.uses(folder)
    beginnings = tuple(sorted(prefixes(used)))
    surroundings = Surroundings.of(environ, [*chosen.pass_environment, *(f"{one}*" for one in beginnings)])
    environment = {**translated(public, used), **chosen.environment}
    shell = {name: value for name, value in surroundings.passed.items() if name.startswith(beginnings)}
    refuse_secrets({**shell, **environment}, environ)
    return Site(
        folder=folder,
        command=chosen.build_command or _own_command(folder),
        output=output,
        environment=environment,
        surroundings=surroundings,
        inputs=chosen.inputs,
        empties=chosen.empty_output and _GOES_ON.isdisjoint(used),
        from_shell=tuple(sorted(shell.keys() - environment.keys())),
    )


def _own_command(folder: Path) -> str:
    """The site's own build script; nothing where it has none."""
    found = packages.find(folder)
    return (found and found.build_command) or "true"


def sources(site: Site) -> Sources:
    """Identify what would be built, without building it."""
    how = (site.command, os.path.relpath(site.output, site.folder), site.surroundings.common.get("NODE_ENV", ""))
    return inputs.sources(site.folder, site.output, site.inputs, site.environment, site.surroundings.passed, how)


def run(site: Site, found: Sources, build_id: str, progress: Progress, local: Path) -> None:
    """Install the site's packages and run its build, into an empty output. What it prints is folded to one line unless it fails.

    Args:
        site: what to build.
        found: its sources.
        build_id: what the build is called.
        progress: where to report.
        local: our own folder, for the log and for what an earlier build left in the output.

    Raises:
        MissingToolError: the site's package manager is not installed.
        BuildError: it failed; the beginning of the cause and the last lines are shown and the whole is in the log.
    """
    surroundings = packages.prepare(site.folder, site.surroundings, progress, local)
    environment = {
        **surroundings.common,
        "CI": "1",
        "NEXT_TELEMETRY_DISABLED": "1",
        **surroundings.passed,
        **site.environment,
        BUILD_ID: build_id,
    }
    wanted = _wanted(site, found.files)
    if site.from_shell:
        progress.note(f"Public variables of this shell that the build gets: {', '.join(site.from_shell)}")
    progress.detail(f"Variables that the build does not get: {', '.join(surroundings.left_out) or 'none'}")
    if wanted:
        progress.note(f"The site's sources name what is set here but kept from the build: {', '.join(sorted(wanted))} ({_HINT})")
    with progress.task("Build of the site") as task, _output(site, local) as left:
        try:
            log = local / "logs" / "site-build.log"
            process.run(_shell(site.command, environment), site.folder, environment, log, task, "The site's build failed")
        except BuildError as error:
            error.fix = _advice(error, site, wanted)
            raise
        task.say(f"build {build_id}")
    _tell(left, progress)


def _output(site: Site, local: Path) -> AbstractContextManager[Leftovers]:
    """The output, empty where that can be."""
    holds_more = any(folder.is_relative_to(site.output) for folder in (site.folder, local))
    if not site.empties or holds_more:
        return nullcontext(Leftovers(local))
    return emptied(site.output, local / "site" / "left-out")


def _tell(left: Leftovers, progress: Progress) -> None:
    """Name what is left out; files with a hash of their content in their name are another version of themselves, and are not."""
    named = [path for path in left.paths if "immutable" not in cache_control(path)]
    if named:
        more = ", …" if len(named) > _SHOWN else ""
        progress.note(
            f"Left out, since this build did not write it: {', '.join(named[:_SHOWN])}{more} ({len(named)} in all; kept for {DAYS} days"
            f" in {left.folder})"
        )


def _advice(error: BuildError, site: Site, wanted: set[str]) -> str:
    """What to do, with the names (never the values) of variables that may be missing."""
    missed = sorted(wanted | site.surroundings.mentioned_in(error.what))
    if missed:
        return f"{error.fix}; it did not get {', '.join(missed)}, which are set here: {_HINT}"
    return error.fix


def _shell(command: str, environment: Mapping[str, str]) -> tuple[str, ...]:
    """A shell in which `build | tee log` fails when the build does; the plain one, where it cannot do that, and no bash is there."""
    bash = shutil.which("bash", path=environment.get("PATH"))
    if bash:
        return (bash, "-o", "pipefail", "-c", command)
    return ("/bin/sh", "-c", '(set -o pipefail) 2>/dev/null && set -o pipefail; eval "$1"', "sh", command)


def _wanted(site: Site, files: Iterable[Path]) -> set[str]:
    """Variables that command or sources ask for and the build does not get.

    Public settings come from us, whatever is set around us, and what the package managers' own settings name is for them.
    """
    named = site.surroundings.named_in(site.command)
    for path in files:
        with suppress(OSError):  # the build knows whether it needs what cannot be read
            if path.name not in packages.SETTINGS and path.stat().st_size <= _LONGEST_SOURCE:
                named |= site.surroundings.named_in(path.read_text(encoding="utf-8", errors="replace"))
    return named - set(site.environment) - set(site.surroundings.for_registries([]))


_HINT = "`site.pass_environment` names the variables that are passed on"


@dataclass(frozen=True)
class Marks:
    """Remembers which declared inputs the output folder was built from.

    Attributes:
        file: where.
    """

    file: Path

    def done(self, fingerprint: str, site: Site) -> bool:
        """Whether the output holds exactly what was built from these inputs."""
        try:
            kept = json.loads(self.file.read_bytes())
            return bool(kept["fingerprint"] == fingerprint and kept["tree"] == _tree(site))
        except (OSError, ValueError, KeyError, TypeError, AmianaiError):
            return False

    def keep(self, fingerprint: str, site: Site) -> None:
        """Remember it."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.file.write_text(json.dumps({"fingerprint": fingerprint, "tree": _tree(site)}), encoding="ascii")


def _tree(site: Site) -> str:
    return tree_digest(scan(site.output, Ignored.of(site.folder, site.output)))
