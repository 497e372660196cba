"""Our folders and files: where the cache is, that nobody else may write to what runs from it, one at a time, whole or not at all."""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path

from amianai_infra.errors import RefusedError

# uv opens this file of every environment to everybody; nothing reads it.
_UV_LOCK = ".lock"
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def set_umask() -> None:
    """Nothing this process or its children make is writable by others; a stricter umask of the caller stays."""
    os.umask(os.umask(_OTHERS_WRITE) | _OTHERS_WRITE)


def cache_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Our cache: `AMIANAI_CACHE`, else `~/.cache/amianai-infra`."""
    chosen = environ.get("AMIANAI_CACHE")
    return Path(chosen).expanduser().absolute() if chosen else Path.home() / ".cache" / "amianai-infra"


def require_ours(folder: Path, *, inside: bool = False) -> None:
    """Refuse a folder that somebody else could have filled: what runs from it runs as us. One that is not there is fine.

    A folder is ours when it, and the link that leads to it, belong to us or to root, nobody else may write to it, and no folder above
    it may be changed by everybody (where the sticky bit is set, as in /tmp, others cannot replace what is ours).

    Args:
        folder: what to look at.
        inside: look at everything in it, too.

    Raises:
        RefusedError: it is not; says whose it is or who may write, and what to do.
    """
    try:
        found = folder.resolve(strict=True)
    except OSError:
        return  # whoever goes on to use it says why it cannot
    for path in {folder, found}:
        _require(folder, path, path.lstat())
    for above in found.parents:
        mode = above.stat().st_mode
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            raise _refused(folder, f"everybody may change {above}, which holds it", f"`chmod o-w {above}`, or move it to a folder of yours")
    if inside:
        for path, status in _everything(found):
            if path != found / _UV_LOCK:
                _require(folder, path, status)


def _everything(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """All of it but what we may not read, from which nothing can run, and what a running program is just replacing."""
    try:
        entries = list(os.scandir(folder))
    except (PermissionError, FileNotFoundError):
        return
    for entry in entries:
        with suppress(FileNotFoundError):
            yield Path(entry.path), entry.stat(follow_symlinks=False)
        if entry.is_dir(follow_symlinks=False):
            yield from _everything(Path(entry.path))


def _require(folder: Path, path: Path, status: os.stat_result) -> None:
    if status.st_uid not in (0, os.geteuid()):
        raise _refused(folder, f"{path} belongs to {_name(status.st_uid)}", f"`rm -rf {folder}` as that user, or as root `chown -R`")
    if status.st_mode & _OTHERS_WRITE and not stat.S_ISLNK(status.st_mode):
        who = "everybody" if status.st_mode & stat.S_IWOTH else "its group"
        fix = f"`chmod -R go-w {folder}` when nobody else has used this machine, else `rm -rf {folder}`: it is made anew"
        raise _refused(folder, f"{who} may write to {path}", fix)


def _name(user: int) -> str:
    import pwd

    try:
        return f"the user {pwd.getpwuid(user).pw_name}"
    except KeyError:
        return f"user {user}"


def _refused(folder: Path, why: str, fix: str) -> RefusedError:
    return RefusedError(f"Somebody else could change what would be run from a folder of ours: {why}.", where=str(folder), fix=fix)


def close_to_others(folder: Path) -> None:
    """Take the right to write from everybody else, in all of it: installers keep the modes of what they unpack or link."""
    for path, status in ((folder, folder.lstat()), *_everything(folder)):
        if status.st_mode & _OTHERS_WRITE and not stat.S_ISLNK(status.st_mode):
            path.chmod(stat.S_IMODE(status.st_mode) & ~_OTHERS_WRITE)


def replace_file(file: Path, text: str, mode: int = 0o644) -> None:
    """Write a text beside a file and put that in its place: a disk that is full leaves what was there. A link stays one, a mode too.

    Args:
        file: the file.
        text: its new content, line ends as they are.
        mode: that of a file which is not there yet.
    """
    import tempfile  # takes a tenth of the time of a release that changes nothing

    place = file.resolve()
    handle, name = tempfile.mkstemp(dir=place.parent, prefix=f".{place.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as fresh:
            fresh.write(text)
        Path(name).chmod(stat.S_IMODE(place.stat().st_mode) if place.exists() else mode)
        Path(name).replace(place)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


@contextmanager
def locked(file: Path, waiting: Callable[[], AbstractContextManager[object]] = nullcontext) -> Iterator[None]:
    """Hold the lock file; the kernel releases it when the process ends, however it ends.

    Args:
        file: the lock file, made when it is not there.
        waiting: what shows the wait, entered only where somebody else holds it, such as a task of the progress.
    """
    with file.open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with waiting():
                fcntl.flock(handle, fcntl.LOCK_EX)
        yield
