"""The `pulumi-aws` plugin, which acts on AWS with the operator's credentials: downloaded by us, checked, and then given to the engine.

The engine itself never fetches one (`PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION`): it would check nothing. A `pulumi-resource-aws` on
PATH is the user's own, as a `pulumi` there is, and the engine takes it before any other.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from importlib.metadata import version as installed_version
from pathlib import Path

from amianai_infra.engine.downloads import Checksums, require_space, save
from amianai_infra.engine.install import installing
from amianai_infra.errors import EngineError, UnreachableError
from amianai_infra.folders import cache_folder, close_to_others, require_ours
from amianai_infra.progress import Progress, Task

# The release's own places, in the order in which they are asked.
_SOURCES = ("https://get.pulumi.com/releases/plugins", "https://github.com/pulumi/pulumi-aws/releases/download/v{version}")
PROGRAM = "pulumi-resource-aws"
NEEDED_BYTES = 3 << 29  # the archive, and what is unpacked from it: 1.5 GiB
_FREE_HINT = "free 1.5 GB in the folder of Pulumi's plugins (PULUMI_HOME) and in the cache (AMIANAI_CACHE)"


def plugin_version() -> str:
    """The version that the program asks the engine for: that of the installed SDK."""
    return installed_version("pulumi-aws")


def ensure_plugin(progress: Progress, binary: Path, root: Path, environ: Mapping[str, str], version: str) -> Path:
    """The plugin's executable; downloads and installs it where it is not, or was installed by somebody who did not check it.

    Args:
        progress: where the installation is shown.
        binary: the engine.
        root: the project, whose lock file says which archive is the right one.
        environ: PATH, PULUMI_HOME and AMIANAI_CACHE.
        version: which one.

    Raises:
        UnreachableError: it can be had nowhere.
        EngineError: the engine does not take it, or there is no room.
        RefusedError: it is not the archive that was seen first, or somebody else can write to what is installed.
    """
    found = find_plugin(environ, version)
    if found is None:
        with installing(environ, progress, "the pulumi-aws plugin") as folder:
            if find_plugin(environ, version) is None:
                _install(folder, progress, binary, Checksums(root), environ, version)
        found = _installed(environ, version)
    if found == _installed(environ, version):
        Checksums(root).keep(archive_name(version), str(_noted(environ, version)["sha256"]), str(found), progress)
    return found


def find_plugin(environ: Mapping[str, str], version: str) -> Path | None:
    """The plugin on PATH, or the one that we installed; None when it has to be installed.

    Raises:
        RefusedError: somebody else can write to it.
    """
    on_path = None if environ.get("PULUMI_IGNORE_AMBIENT_PLUGINS") else shutil.which(PROGRAM, path=environ.get("PATH"))
    if on_path is not None:
        return Path(on_path)
    require_ours(cache_folder(environ))
    require_ours(cache_folder(environ) / "engine")
    path = _installed(environ, version)
    require_ours(path.parent.parent)
    require_ours(path.parent, inside=True)
    note = _noted(environ, version)
    return path if note and _state(path) == note["state"] else None


def plugins_folder(environ: Mapping[str, str]) -> Path:
    """Where the engine looks for plugins."""
    home = environ.get("PULUMI_HOME")
    return (Path(home).expanduser().absolute() if home else Path.home() / ".pulumi") / "plugins"


def archive_name(version: str) -> str:
    """File name of the plugin's archive for this machine."""
    system = platform.system().lower()
    machine = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}.get(platform.machine().lower())
    if system not in ("linux", "darwin") or machine is None:
        raise UnreachableError(f"There is no pulumi-aws plugin for {platform.system()} {platform.machine()}.", fix=_by_hand(version))
    return f"{PROGRAM}-v{version}-{system}-{machine}.tar.gz"


def _installed(environ: Mapping[str, str], version: str) -> Path:
    return plugins_folder(environ) / f"resource-aws-v{version}" / PROGRAM


def _state(path: Path) -> list[object]:
    """What tells an executable from one that was put there since."""
    try:
        found = path.stat()
    except OSError:
        return []
    return [str(path), found.st_size, found.st_mtime_ns]


def _note(environ: Mapping[str, str], version: str) -> Path:
    return cache_folder(environ) / "engine" / f"{archive_name(version)}.json"


def _noted(environ: Mapping[str, str], version: str) -> dict[str, object]:
    """What we noted when we installed it: the archive's checksum, and the state of the executable."""
    try:
        content = json.loads(_note(environ, version).read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) and {"sha256", "state"} <= set(content) else {}


def _install(folder: Path, progress: Progress, binary: Path, checksums: Checksums, environ: Mapping[str, str], version: str) -> None:
    plugins = plugins_folder(environ)
    plugins.mkdir(parents=True, exist_ok=True)
    name = archive_name(version)
    for place in (folder, plugins):
        require_space(place, NEEDED_BYTES, _FREE_HINT)
    with (
        progress.task(f"Installing the AWS provider (pulumi-aws {version})") as task,
        tempfile.TemporaryDirectory(prefix="building-", dir=folder, ignore_cleanup_errors=True) as work,
    ):
        archive = Path(work) / name
        digest, source = _download(archive, checksums, version, task)
        task.say("unpacking")
        _hand_over(binary, archive, environ, version)
        made = _installed(environ, version)
        close_to_others(made.parent)
        _note(environ, version).write_text(json.dumps({"sha256": digest, "state": _state(made), "source": source}), encoding="utf-8")


def _download(archive: Path, checksums: Checksums, version: str, task: Task) -> tuple[str, str]:
    """Fetch it from the first place that has it, and refuse it there and then when it is another one than was seen first."""
    missed: list[str] = []
    for place in _SOURCES:
        source = f"{place.format(version=version)}/{archive.name}"
        try:
            digest = save(source, archive, task)
        except UnreachableError as error:
            missed.append(error.where)
            continue
        checksums.require(archive.name, digest, source)
        return digest, source
    raise UnreachableError("The pulumi-aws plugin cannot be downloaded.", where="\n".join(missed), fix=_by_hand(version))


def _by_hand(version: str) -> str:
    return f"put {PROGRAM} {version} on PATH yourself: then it is yours to check, and nothing is downloaded"


def _hand_over(binary: Path, archive: Path, environ: Mapping[str, str], version: str) -> None:
    """Have the engine unpack the archive that was checked, in place of what may be there."""
    command = [str(binary), "plugin", "install", "resource", "aws", version, "--file", str(archive), "--reinstall"]
    env = {**environ, "PULUMI_SKIP_UPDATE_CHECK": "true"}
    try:
        ended = subprocess.run(
            command, cwd=archive.parent, env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=600, check=False
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise EngineError("The pulumi-aws plugin cannot be installed.", where=str(error), fix="run the command again") from error
    if ended.returncode != 0 or not os.access(_installed(environ, version), os.X_OK):
        said = (ended.stderr or ended.stdout).strip()
        raise EngineError("The engine does not take the pulumi-aws plugin.", where=said[-400:] or str(archive.name), fix=_FREE_HINT)
