"""Finding the Pulumi engine, or installing it into our cache.

Order: `pulumi` on PATH, our cache, the official release where its host answers, else a build from the engine's public Go modules
(`gomodule/` pins every one of them by checksum). The release must be what its host's own list says and what the project's lock file
has seen before.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import resources
from pathlib import Path

from amianai_infra.engine.downloads import Checksums, fetch, require_space, save
from amianai_infra.errors import AmianaiError, EngineError, MissingToolError, UnreachableError
from amianai_infra.folders import cache_folder, close_to_others, locked, require_ours
from amianai_infra.progress import Progress, Task

VERSION = "3.259.0"
# The first release whose event stream (gRPC) and whose refresh and destroy with a program in another process we rely on.
MINIMUM = (3, 206, 0)
PACKAGE = "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi"
_RELEASES = "https://get.pulumi.com/releases/sdk"
# Counted with `go list -deps` on the pinned module; only the bar's length depends on them.
_MODULES = 254
_PACKAGES = 1685
_NEEDED_BYTES = 1 << 30
# Beside an engine from a release: the archive's name and SHA-256.
_NOTE = "archive.txt"
_FREE_HINT = "free about 4 GB (Go keeps modules and compiled packages in its own caches) and run the command again"


def ensure_engine(progress: Progress, root: Path, environ: Mapping[str, str] = os.environ) -> Path:
    """The engine's executable; installs it when this machine has none.

    Args:
        progress: where the installation is shown.
        root: the project, whose lock file says which release is the right one.
        environ: PATH, AMIANAI_CACHE and whatever Go needs.

    Raises:
        MissingToolError: it can neither be downloaded nor built; says what is missing.
        EngineError: the installation failed half-way, for example for lack of disk space.
        RefusedError: somebody else can write to our cache, or the release is not the one that was seen first.
    """
    found = find_engine(environ)
    if found is None:
        with installing(environ, progress, "the Pulumi engine") as folder:
            found = _cached(environ) or _install(folder, Checksums(root), progress, environ)
    if found.parent == _home(environ):
        _require_seen(found.parent, Checksums(root), progress)
    return found


def _require_seen(home: Path, checksums: Checksums, progress: Progress) -> None:
    """What another project has downloaded must be what this one has seen; what was built here has no archive."""
    note = home / _NOTE
    if note.is_file():
        archive, digest = note.read_text(encoding="ascii").split()
        checksums.keep(archive, digest, str(home), progress)


def find_engine(environ: Mapping[str, str] = os.environ) -> Path | None:
    """The engine on PATH or in our cache, if it is new enough; None when it has to be installed."""
    on_path = shutil.which("pulumi", path=environ.get("PATH"))
    if on_path is not None:
        try:
            if _number(engine_version(Path(on_path), environ)) >= MINIMUM:
                return Path(on_path)
        except EngineError:
            pass  # a broken one counts as none
    return _cached(environ)


def engine_version(binary: Path, environ: Mapping[str, str] = os.environ) -> str:
    """The version of an engine. Asked once per executable and remembered: asking costs 0.2 to 0.4 s.

    Raises:
        EngineError: it does not run, or does not answer with a version.
    """
    memory = cache_folder(environ) / "engine" / "versions.json"
    try:
        state = binary.resolve().stat()
        key = f"{binary.resolve()}:{state.st_size}:{state.st_mtime_ns}"
    except OSError as error:
        raise EngineError("The Pulumi engine is not where it should be.", where=str(binary), fix="run `amianai doctor`") from error
    known = _remembered(memory)
    if key not in known:
        known[key] = _ask_version(binary)
        _remember(memory, known)
    return known[key]


def _remembered(path: Path) -> dict[str, str]:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return {str(key): str(value) for key, value in content.items()} if isinstance(content, dict) else {}


def _remember(path: Path, known: Mapping[str, str]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f"{path.name}.{os.getpid()}")
        temporary.write_text(json.dumps(known))
        temporary.replace(path)
    except OSError:
        return  # it is only a memory


def _ask_version(binary: Path) -> str:
    env = {**os.environ, "PULUMI_SKIP_UPDATE_CHECK": "true"}
    try:
        answer = subprocess.run(
            [str(binary), "version"], capture_output=True, text=True, errors="replace", timeout=60, check=False, env=env
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise EngineError(
            "The Pulumi engine does not run.", where=f"{binary}: {error}", fix="remove it and run the command again"
        ) from error
    match = re.search(r"\d+\.\d+\.\d+", answer.stdout)
    if answer.returncode != 0 or match is None:
        raise EngineError("The Pulumi engine does not tell its version.", where=str(binary), fix="remove it and run the command again")
    return match.group()


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def _home(environ: Mapping[str, str]) -> Path:
    return cache_folder(environ) / "engine" / VERSION


def _cached(environ: Mapping[str, str]) -> Path | None:
    binary = _home(environ) / "pulumi"
    require_ours(cache_folder(environ))
    require_ours(binary.parent.parent)
    require_ours(binary.parent, inside=True)
    return binary if os.access(binary, os.X_OK) else None


@contextmanager
def installing(environ: Mapping[str, str], progress: Progress, what: str) -> Iterator[Path]:
    """Our folder for the engine and its plugin, to one installation at a time: the second finds the first one's work done."""
    folder = cache_folder(environ) / "engine"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = folder / "lock"
        lock.touch()
    except OSError as error:
        raise EngineError("The cache cannot be written.", where=str(error), fix="make it writable or set AMIANAI_CACHE") from error
    require_ours(cache_folder(environ))
    require_ours(folder)
    with locked(lock, lambda: progress.task(f"Waiting for another process that installs {what}")):
        for leftover in folder.glob("building-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        yield folder


def _install(folder: Path, checksums: Checksums, progress: Progress, environ: Mapping[str, str]) -> Path:
    """Install into a temporary folder and rename it, so that a kill leaves nothing that looks finished."""
    try:
        with tempfile.TemporaryDirectory(prefix="building-", dir=folder, ignore_cleanup_errors=True) as text:
            work = Path(text)
            made = _obtain(work, checksums, progress, environ)
            close_to_others(made)
            engine_version(made / "pulumi", environ)
            target = _home(environ)
            shutil.rmtree(target, ignore_errors=True)
            made.rename(target)
            return target / "pulumi"
    except OSError as error:
        raise EngineError("The Pulumi engine cannot be installed.", where=str(error), fix=_FREE_HINT) from error


def _obtain(work: Path, checksums: Checksums, progress: Progress, environ: Mapping[str, str]) -> Path:
    with progress.task(f"Installing the Pulumi engine {VERSION}") as task:
        try:
            return _download(work, checksums, task)
        except UnreachableError as error:
            progress.detail(str(error))
            progress.note(
                "The engine's official release cannot be had here. It is built from public Go modules instead: about 5 minutes, once."
            )
        return _build(work, task, environ)


# -- the official release


def release_name() -> str:
    """File name of the release for this machine."""
    system = {"Linux": "linux", "Darwin": "darwin"}.get(platform.system())
    machine = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64", "arm64": "arm64"}.get(platform.machine().lower())
    if system is None or machine is None:
        raise UnreachableError(f"There is no official engine for {platform.system()} {platform.machine()}.")
    return f"pulumi-v{VERSION}-{system}-{machine}.tar.gz"


def _download(work: Path, checksums: Checksums, task: Task) -> Path:
    name = release_name()
    address = f"{_RELEASES}/{name}"
    listed = b"".join(fetch(f"{_RELEASES}/pulumi-{VERSION}-checksums.txt")).decode()
    wanted = next((line.split()[0] for line in listed.splitlines() if line.endswith(name)), None)
    if wanted is None:
        raise UnreachableError(f"The official checksums do not list {name}.")
    checksums.require(name, wanted, address)
    archive = work / name
    digest = save(address, archive, task)
    if digest != wanted:
        raise EngineError(
            "The downloaded engine does not match its checksum; it was not installed.",
            where=address,
            fix="run the command again; if it happens again, something between here and the host changes downloads",
        )
    with tarfile.open(archive) as packed:
        packed.extractall(work, filter="data")
    archive.unlink()
    (work / "pulumi" / _NOTE).write_text(f"{name} {digest}\n", encoding="ascii")
    return work / "pulumi"


# -- the build from Go modules


def _build(work: Path, task: Task, environ: Mapping[str, str]) -> Path:
    go = find_go(environ)
    require_space(work, _NEEDED_BYTES, _FREE_HINT)
    module = work / "module"
    module.mkdir()
    source = resources.files("amianai_infra.engine") / "gomodule"
    for name in ("go.mod", "go.sum"):
        (module / name).write_bytes((source / name).read_bytes())
    made = work / "made"
    made.mkdir()
    linked = f"-s -w -X github.com/pulumi/pulumi/sdk/v3/go/common/version.Version={VERSION}"
    command = [go, "build", "-v", "-trimpath", "-ldflags", linked, "-o", str(made / "pulumi"), PACKAGE]
    env = {**environ, "GOWORK": "off", "CGO_ENABLED": "0"}
    code, tail = _watch(command, module, env, BuildMeter(task))
    if code != 0:
        raise _build_error(tail)
    return made


def find_go(environ: Mapping[str, str] = os.environ) -> str:
    """The Go toolchain.

    Raises:
        MissingToolError: there is none, or it is too old and may not fetch a newer one.
    """
    go = shutil.which("go", path=environ.get("PATH"))
    wanted = go_needed()
    fix = f"install Go {wanted} or newer (https://go.dev/dl), or the Pulumi CLI (https://www.pulumi.com/docs/install)"
    if go is None:
        raise MissingToolError("Building the Pulumi engine needs Go, which was not found.", where="PATH", fix=fix)
    try:
        answer = subprocess.run(
            [go, "env", "GOVERSION", "GOTOOLCHAIN"],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=60,
            check=False,
            env=dict(environ),
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise MissingToolError("Go does not run.", where=f"{go}: {error}", fix=fix) from error
    version, _, toolchain = answer.stdout.strip().partition("\n")
    if _go_number(version) < _go_number(wanted) and (toolchain.strip() == "local" or _go_number(version) < (1, 21)):
        raise MissingToolError(f"Building the Pulumi engine needs Go {wanted}; this is {version or 'unknown'}.", where=go, fix=fix)
    return go


def go_needed() -> str:
    """The Go version our module asks for."""
    text = (resources.files("amianai_infra.engine") / "gomodule" / "go.mod").read_text()
    match = re.search(r"^go (\S+)$", text, re.MULTILINE)
    return match.group(1) if match else "1.26"


def _go_number(version: str) -> tuple[int, ...]:
    match = re.search(r"(\d+)\.(\d+)", version)
    return (int(match.group(1)), int(match.group(2))) if match else (0, 0)


class BuildMeter:
    """Turns what `go build -v` writes into a bar: first modules that are downloaded, then packages that are compiled.

    Args:
        task: what to move.
    """

    def __init__(self, task: Task) -> None:
        self._task = task
        self._modules = 0
        self._packages = 0
        task.total(_MODULES + _PACKAGES)

    def line(self, text: str) -> None:
        """One line of the build."""
        if text.startswith("go: downloading "):
            self._modules += 1
            self._task.advance()
            self._task.say(f"module {self._modules}: {text.split()[2]}")
        elif text and " " not in text:
            if self._packages == 0 and self._modules < _MODULES:
                self._task.advance(_MODULES - self._modules)
            self._packages += 1
            self._task.advance()
            self._task.say(f"package {self._packages}/{_PACKAGES}: {text}")


def _watch(command: list[str], cwd: Path, env: Mapping[str, str], meter: BuildMeter) -> tuple[int, list[str]]:
    """Run the build to its end and keep its last lines. A Ctrl-C in the terminal reaches the build too, which then ends."""
    tail: list[str] = []
    nothing = subprocess.DEVNULL
    with subprocess.Popen(
        command, cwd=cwd, env=dict(env), stdin=nothing, stdout=nothing, stderr=subprocess.PIPE, text=True, errors="replace"
    ) as process:
        try:
            for line in process.stderr or ():
                meter.line(line.rstrip())
                tail = [*tail[-19:], line.rstrip()]
            return process.wait(), tail
        finally:
            process.terminate()


_BUILD_PROBLEMS: tuple[tuple[str, type[AmianaiError], str], ...] = (
    ("no space left on device", EngineError, _FREE_HINT),
    ("dial tcp", UnreachableError, "check the network, or set GOPROXY to a module proxy this machine may reach"),
    ("no such host", UnreachableError, "check the network, or set GOPROXY to a module proxy this machine may reach"),
    ("i/o timeout", UnreachableError, "check the network, or set GOPROXY to a module proxy this machine may reach"),
    ("checksum mismatch", EngineError, "a module proxy served something else than what is pinned: do not use it"),
    ("toolchain not available", MissingToolError, "install a newer Go from https://go.dev/dl"),
    ("requires go >=", MissingToolError, "install a newer Go from https://go.dev/dl"),
    ("signal: killed", EngineError, "the compiler was killed, most likely for lack of memory: 2 GB free are needed"),
)


def _build_error(tail: list[str]) -> AmianaiError:
    text = "\n".join(tail)
    told = [line for line in tail if " " in line and not line.startswith("go: downloading")][-4:] or tail[-2:]
    for mark, kind, fix in _BUILD_PROBLEMS:
        if mark in text:
            return kind("Building the Pulumi engine failed.", where="\n".join(told), fix=fix)
    hint = "install the Pulumi CLI (https://www.pulumi.com/docs/install) instead"
    return EngineError("Building the Pulumi engine failed.", where="\n".join(told), fix=hint)
