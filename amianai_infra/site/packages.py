"""The packages of a site: which package manager installs them, where, and whether that has to be done.

Source: the manuals of npm (`npm ci`, `workspaces`), pnpm (`pnpm install`, `pnpm-workspace.yaml`), Yarn (classic and 4), Bun, and Node's
Corepack and `packageManager`.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from amianai_infra.errors import BuildError, MissingToolError
from amianai_infra.folders import cache_folder, locked
from amianai_infra.site import process
from amianai_infra.site.environment import Surroundings, names_in

if TYPE_CHECKING:
    from amianai_infra.progress import Progress, Task

MANIFEST = "package.json"
_DEPENDENCIES = ("dependencies", "devDependencies", "optionalDependencies")
_COUNTS = (*_DEPENDENCIES, "peerDependencies", "workspaces", "overrides", "resolutions", "packageManager", "pnpm")
SETTINGS = (".npmrc", ".yarnrc.yml", ".yarnrc", "bunfig.toml", ".bunfig.toml")
"""Files in which package managers look for registries and their tokens."""
_DECIDE = (*SETTINGS, "pnpm-workspace.yaml", ".pnpmfile.cjs")
_REFUSED = re.compile(r"\b(?:E?40[13]|ENEEDAUTH|ERR_PNPM_FETCH_40[13]|Unauthorized|YN0041)\b", re.IGNORECASE)
# What leaves out the packages that only a build needs; a site is built here, whatever else runs in production.
_PRODUCTION = re.compile(r"NODE_ENV|(?:npm_config|pnpm_config|yarn)_(?:production|prod|omit|only|dev|also)", re.IGNORECASE)


@dataclass(frozen=True)
class Manager:
    """A package manager.

    Attributes:
        name: its program.
        locks: names of its lock files.
        install: what installs exactly what the lock file says, those packages included that only the build needs.
        manual: where it is to be had.
    """

    name: str
    locks: tuple[str, ...]
    install: tuple[str, ...]
    manual: str


MANAGERS = (
    Manager(
        "npm",
        ("package-lock.json", "npm-shrinkwrap.json"),
        ("ci", "--no-audit", "--no-fund", "--include=dev"),
        "it comes with Node.js: https://nodejs.org",
    ),
    Manager("pnpm", ("pnpm-lock.yaml",), ("install", "--frozen-lockfile", "--prod=false"), "https://pnpm.io/installation"),
    Manager("yarn", ("yarn.lock",), ("install", "--frozen-lockfile", "--production=false"), "https://yarnpkg.com/getting-started/install"),
    Manager("bun", ("bun.lock", "bun.lockb"), ("install", "--frozen-lockfile"), "https://bun.com/docs/installation"),
)


@dataclass(frozen=True)
class Packages:
    """How a site's packages are installed.

    Attributes:
        folder: the site.
        root: where they are installed: the site, or the root of the workspace it belongs to.
        manager: by what.
        lock: the lock file; None when there is none.
    """

    folder: Path
    root: Path
    manager: Manager
    lock: Path | None

    @property
    def command(self) -> tuple[str, ...]:
        """What installs them."""
        if self.manager.name == "yarn" and self.lock and b"__metadata:" in self.lock.read_bytes()[:1000]:
            return ("yarn", "install", "--immutable")  # Yarn 2 and newer have no other packages to leave out
        return (self.manager.name, *self.manager.install)

    @property
    def build_command(self) -> str:
        """What runs the site's own build script; empty when it has none."""
        scripts = _manifest(self.folder).get("scripts")
        return f"{self.manager.name} run build" if isinstance(scripts, dict) and scripts.get("build") else ""

    def digest(self) -> str:
        """What decides which packages there have to be."""
        facts = [{name: _manifest(folder).get(name) for name in _COUNTS} for folder in (self.root, self.folder)]
        digest = hashlib.sha256(json.dumps([facts, self.command], sort_keys=True).encode())
        for path in (self.lock, *(self.root / name for name in _DECIDE), *(self.folder / name for name in _DECIDE)):
            digest.update(path.read_bytes() if path and path.is_file() else b"\0")
        return digest.hexdigest()

    def settings_files(self, home: str) -> list[Path]:
        """Their settings files, where there are any."""
        places = dict.fromkeys((self.folder, self.root, *([Path(home)] if home else [])))
        return [place / name for place in places for name in SETTINGS if (place / name).is_file()]


def find(folder: Path) -> Packages | None:
    """How the packages of a site are installed; None where there is no package.json.

    The lock file is that of the site, or of the nearest workspace above it that it belongs to.
    """
    folder = folder.resolve()
    if not (folder / MANIFEST).is_file():
        return None
    roots = (folder, *(above for above in folder.parents if _includes(above, folder)))
    named = next((str(name) for root in roots if (name := _manifest(root).get("packageManager"))), "")
    preferred = sorted(MANAGERS, key=lambda manager: manager.name != named.partition("@")[0])
    for root in roots:
        for manager in preferred:
            for lock in manager.locks:
                if (root / lock).is_file():
                    return Packages(folder, root, manager, root / lock)
    return Packages(folder, folder, preferred[0], None)


def _manifest(folder: Path) -> Mapping[str, Any]:
    try:
        found = json.loads((folder / MANIFEST).read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise BuildError("The site's package.json cannot be read.", where=f"{folder / MANIFEST}: {error}", fix="correct it") from error
    return found if isinstance(found, dict) else {}


def uses(folder: Path) -> set[str]:
    """Names of the packages that a site asks for."""
    manifest = _manifest(folder)
    return {name for kind in _DEPENDENCIES for name in (manifest.get(kind) or ())}


def _includes(root: Path, folder: Path) -> bool:
    """Whether a folder is part of the workspace that another one above it declares."""
    workspaces = _manifest(root).get("workspaces") if (root / MANIFEST).is_file() else None
    patterns = workspaces.get("packages") if isinstance(workspaces, dict) else workspaces
    if (root / "pnpm-workspace.yaml").is_file():
        import yaml

        try:
            declared = yaml.safe_load((root / "pnpm-workspace.yaml").read_bytes())
        except yaml.YAMLError as error:
            raise BuildError("The workspace cannot be read.", where=f"{root / 'pnpm-workspace.yaml'}: {error}", fix="correct it") from error
        patterns = declared.get("packages") if isinstance(declared, dict) else None
    if not isinstance(patterns, list):
        return False
    from pathspec import GitIgnoreSpec

    spec = GitIgnoreSpec.from_lines(str(pattern).removeprefix("./") for pattern in patterns)
    return spec.match_file(f"{folder.relative_to(root).as_posix()}/")


def prepare(folder: Path, surroundings: Surroundings, progress: Progress, local: Path) -> Surroundings:
    """Install the site's packages where they are missing or not those of its lock file; of two commands one does and the other waits.

    Args:
        folder: the site.
        surroundings: what programs get of this process's environment.
        progress: where to report.
        local: our own folder, for the log and for package managers that Corepack provides.

    Returns:
        The surroundings, with the package manager on PATH.

    Raises:
        MissingToolError: the package manager is not installed.
        BuildError: it failed; the beginning of the cause is shown.
    """
    packages = find(folder)
    if packages is None:
        return surroundings
    if packages.lock is None:
        if uses(folder) and not any((above / "node_modules").is_dir() for above in (packages.folder, *packages.folder.parents)):
            progress.note(f"{folder / MANIFEST} names packages and no lock file says which: install them, or commit the lock file.")
        return surroundings
    surroundings = _with_manager(packages, surroundings, progress, local)
    if _are_installed(packages):
        return surroundings
    waiting = f"Waiting for another command that installs the packages of {packages.root}"
    with locked(_lock(packages), lambda: progress.task(waiting)):
        if not _are_installed(packages):
            _renew(packages, surroundings, progress, local)
    return surroundings


def _mark(packages: Packages) -> Path:
    """Says of which digest the packages are that were last installed as a whole."""
    return packages.root / "node_modules" / ".amianai-packages"


def _are_installed(packages: Packages) -> bool:
    mark = _mark(packages)
    return mark.is_file() and mark.read_text(encoding="ascii", errors="replace") == packages.digest()


def _lock(packages: Packages) -> Path:
    """The lock of the folder that they are installed in, whichever project and target installs them: `npm ci` empties it first."""
    name = hashlib.sha256(os.fsencode(packages.root)).hexdigest()[:16]
    file = cache_folder() / "packages" / f"{name}.lock"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    except OSError as error:
        raise BuildError("The cache cannot be written.", where=str(error), fix="make it writable or set AMIANAI_CACHE") from error
    return file


def _renew(packages: Packages, surroundings: Surroundings, progress: Progress, local: Path) -> None:
    """Install them. What is cut short, or was changed meanwhile, bears no mark."""
    mark, wanted = _mark(packages), packages.digest()
    mark.unlink(missing_ok=True)
    with progress.task("Packages of the site") as task:
        _install(packages, surroundings, task, local / "logs" / "site-packages.log")
        task.say(" ".join(packages.command[:2]))
    if mark.parent.is_dir() and packages.digest() == wanted:  # Yarn's Plug'n'Play has none, and installs in a moment what is there
        mark.write_text(wanted, encoding="ascii")


def _install(packages: Packages, surroundings: Surroundings, task: Task, log: Path) -> None:
    files = packages.settings_files(surroundings.common.get("HOME", ""))
    texts = [path.read_text(encoding="utf-8", errors="replace") for path in files]
    common = {name: value for name, value in surroundings.common.items() if not _PRODUCTION.fullmatch(name)}
    environment = {**common, **surroundings.for_registries(texts), **surroundings.passed, "CI": "1"}
    try:
        process.run(packages.command, packages.root, environment, log, task, "Installing the site's packages failed")
    except BuildError as error:
        missed = surroundings.mentioned_in(error.what) - set(environment)
        if _REFUSED.search(error.what):
            error.fix = _token(files, texts, environment)
        elif missed:
            error.fix += (
                f"; it did not get {', '.join(sorted(missed))}, which are set here: `site.pass_environment` names what is passed on"
            )
        raise


def _token(files: Iterable[Path], texts: Iterable[str], environment: Mapping[str, str]) -> str:
    """What to do when a registry refuses."""
    for path, text in zip(files, texts, strict=True):
        unset = sorted(names_in(text) - set(environment))
        if unset:
            return f"the registry refused; {path} names {', '.join(unset)}, which is not set here: set it and run the command again"
    return (
        "the registry refused: a private package needs a token. Let .npmrc name a variable"
        " (`//registry.npmjs.org/:_authToken=${NPM_TOKEN}`) and set it; the installation gets it, the build does not"
    )


def _with_manager(packages: Packages, surroundings: Surroundings, progress: Progress, local: Path) -> Surroundings:
    """Make sure that the package manager is there; Corepack, which comes with Node.js up to 24, provides pnpm and Yarn."""
    manager, path = packages.manager, surroundings.common.get("PATH", os.defpath)
    if shutil.which(manager.name, path=path):
        return surroundings
    corepack = shutil.which("corepack", path=path)
    if corepack is None or manager.name not in ("pnpm", "yarn"):
        by_npm = "" if manager.name == "npm" else f"`npm install --global {manager.name}`, or "
        fix = f"install it ({by_npm}{manager.manual}), then run it again"
        raise MissingToolError(f"{manager.name} is not installed.", where=str(packages.lock), fix=fix)
    folder = local / "site" / "bin"
    folder.mkdir(parents=True, exist_ok=True)
    environment = {**surroundings.common, "PATH": f"{folder}{os.pathsep}{path}", "COREPACK_ENABLE_DOWNLOAD_PROMPT": "0"}
    command = (corepack, "enable", "--install-directory", str(folder), manager.name)
    with progress.task(f"{manager.name} from Corepack") as task:
        log = local / "logs" / "corepack.log"
        process.run(command, packages.root, environment, log, task, f"Corepack could not provide {manager.name}")
    return replace(surroundings, common=environment)
