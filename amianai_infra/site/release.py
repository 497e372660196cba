"""A release from end to end: build, plan, upload, register, invalidate, verify; and the way back.

A release exists from the moment its manifest is in the bucket; the newest manifest is the release that is live. Whatever
is cut off before that is finished by the next release, which finds the lock still taken.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from amianai_infra.errors import AmianaiError, LockedError, NotFoundError, RefusedError, VerificationError
from amianai_infra.rules.cache import guessed
from amianai_infra.site import invalidation
from amianai_infra.site.answers import Answers, answers
from amianai_infra.site.history import Listed, listed, previous, since
from amianai_infra.site.manifest import (
    LOCK,
    RELEASES,
    Entry,
    Manifest,
    Summary,
    decode,
    encode,
    following,
    manifest_key,
    release_number,
)
from amianai_infra.site.output import allowed, build_of, check_names, check_references, check_site, check_uploads, standing
from amianai_infra.site.plan import Bucket, Plan, Stored, plan_release, plan_rollback, prunable, sort_listing, stuck
from amianai_infra.site.settings import ReleaseSettings
from amianai_infra.site.store import ConflictError, SiteBucket
from amianai_infra.site.texts import amount_of, overtaken, verified
from amianai_infra.site.tree import scan

if TYPE_CHECKING:
    from amianai_infra.config import Settings
    from amianai_infra.outputs import StackOutputs
    from amianai_infra.progress import Progress
    from amianai_infra.site.lock import Holder, Lock
    from amianai_infra.site.verify import Report
    from amianai_infra.target import Target

Agreed = Callable[[str], bool]
"""Asks a person whether to go on, after what is told; whether the answer was yes."""

_RECORD = {"Content-Type": "application/gzip", "Cache-Control": "no-store"}


@dataclass(frozen=True)
class Release:
    """What a deploy or a rollback did.

    Attributes:
        number: the release that is live now; 0 when there is none.
        kind: `deploy`, `rollback` or `repair`.
        origin: the release whose content is live.
        build: its build id.
        url: where it answers.
        changed: whether anything changed.
        uploaded: files that were (or with a dry run would be) uploaded.
        kept: how many files stayed.
        gone: files that the site no longer names; they stay served for a while.
        size: bytes uploaded.
        seconds: whole duration.
        invalidated: paths that the CDN was told to forget.
        pruned: old files that were deleted.
        verified: what was looked at; None when nothing was.
        dry: nothing was done.
    """

    number: int
    kind: str
    origin: int
    build: str
    url: str
    changed: bool
    uploaded: tuple[str, ...]
    kept: int
    gone: tuple[str, ...]
    size: int
    seconds: float
    invalidated: tuple[str, ...] = ()
    pruned: int = 0
    verified: Report | None = None
    dry: bool = False


@dataclass(frozen=True)
class State:
    """What the bucket holds and which release is live.

    Attributes:
        bucket: one listing.
        last: the newest release.
        recorded: when its manifest was written, by the store's clock.
    """

    bucket: Bucket
    last: Manifest | None
    recorded: float

    @property
    def next_number(self) -> int:
        """The number of the release after this."""
        return (self.bucket.newest or 0) + 1

    @property
    def unfinished(self) -> bool:
        """Whether a release is under way or was cut off."""
        lock = self.bucket.records.get(LOCK)
        return lock is not None and lock.size > 0


@dataclass(frozen=True)
class Content:
    """What is to be live.

    Attributes:
        root: folder that holds the files to upload.
        plan: what must be done.
        kind: see `Summary`.
        origin: release it is taken from; 0 for the new one itself.
        build: build id.
        sources: fingerprint of what it was built from.
        commit: git commit.
    """

    root: Path
    plan: Plan
    kind: str
    origin: int
    build: str
    sources: str = ""
    commit: str = ""


class Publisher:
    """Releases one site.

    Args:
        target: the environment.
        settings: what a release reads.
        outputs: what the stack published.
        progress: where to report.
        wait: seconds to wait for another release to finish.
        verify: whether to look at the site afterwards.
        agreed: asks a person whether to release over what was released meanwhile; where not given, nobody can be asked.
        store: the bucket; made from the target when not given.
        clock: seconds since 1970.
        sleep: how to wait.
    """

    def __init__(
        self,
        target: Target,
        settings: Settings | ReleaseSettings,
        outputs: StackOutputs,
        progress: Progress,
        *,
        wait: float = 0.0,
        verify: bool = True,
        agreed: Agreed | None = None,
        store: SiteBucket | None = None,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._target = target
        self._settings = ReleaseSettings.of(settings)
        self._outputs = outputs
        self._progress = progress
        self._wait = wait
        self._verify = verify
        self._agreed = agreed
        self._base: int | None = None
        self._given = store
        self._clock = clock
        self._sleep = sleep
        self._started = clock()

    @cached_property
    def store(self) -> SiteBucket:
        """The site's bucket."""
        if self._given is not None:
            return self._given
        endpoint = self._target.endpoint("s3")
        ca = os.environ.get("AWS_CA_BUNDLE") if endpoint is None or endpoint.startswith("https:") else None
        outputs = self._outputs
        return SiteBucket(outputs.site.bucket, outputs.region, endpoint, self._target.credentials(), owner=outputs.account, ca=ca)

    @property
    def output(self) -> Path:
        """The folder with the finished site."""
        return self._target.root / self._settings.directory / self._settings.output

    @property
    def _memory(self) -> Path:
        return self._target.local / "site" / self._outputs.site.bucket

    def state(self) -> State:
        """List the bucket, and read the newest manifest where it is not known already."""
        bucket = sort_listing(self.store.list())
        number = bucket.newest
        if number is None:
            return State(bucket, None, 0.0)
        record = bucket.records[manifest_key(number)]
        return State(bucket, self._manifest(number, record), record.modified)

    def _manifest(self, number: int, record: Stored) -> Manifest:
        kept = self._memory / f"{number:06d}-{record.etag}.json.gz"
        try:
            return decode(kept.read_bytes(), str(kept))
        except (OSError, AmianaiError):
            found = self.store.get(manifest_key(number))
            manifest = decode(found.data, f"s3://{self.store.name}/{manifest_key(number)}")
            self._remember(number, found.etag, found.data)
            return manifest

    def _remember(self, number: int, etag: str, data: bytes) -> None:
        """Keep a manifest on this machine, so that the next release need not read it. A disk may refuse."""
        try:
            self._memory.mkdir(parents=True, exist_ok=True)
            for old in self._memory.glob("*.json.gz"):
                old.unlink(missing_ok=True)
            (self._memory / f"{number:06d}-{etag}.json.gz").write_bytes(data)
        except OSError:
            return

    def _look(self) -> tuple[State, Answers]:
        """The bucket and the local tree, both at once."""
        found: list[State] = []
        failed: list[BaseException] = []

        def list_bucket() -> None:
            try:
                found.append(self.state())
            except BaseException as error:
                failed.append(error)

        thread = threading.Thread(target=list_bucket, name="listing", daemon=True)
        thread.start()
        try:
            files = scan(self.output)
            check_site(files, self.output)
            site = answers(files, self.output, self._settings)
        finally:
            thread.join()
        if failed:
            raise failed[0]
        return found[0], site

    def deploy(self, *, build: bool, dry_run: bool = False, everything: bool = False) -> Release:
        """Publish the site as it is in the output folder, after building it where that is asked for and needed.

        Args:
            build: build it first, unless nothing changed since the last build.
            dry_run: say what would be done.
            everything: upload what is there already, too.
        """
        sources = ""
        if build:
            sources, live = self._build(everything or dry_run)
            if live is not None:
                return self._unchanged(live.last, len(live.last.files) if live.last else 0)
        state, site = self._look()
        plan = self._plan(state, site, everything)
        base = _number(state) if self._base is None else self._base
        if not plan.changed and not state.unfinished:
            return self._unchanged(state.last, len(plan.kept))
        self._check(plan)
        content = Content(self.output, plan, "deploy", 0, build_of(self.output, site.files), sources, _commit(self.output.parent))
        if dry_run:
            return replace(self._release(content, state.next_number - 1, ()), dry=True)
        base = self._checked(base, state)
        with self._locked("deploy", state.next_number, _new(plan)) as (lock, before):
            if before is not None or self._overtaken(state):
                state = self.state()
                plan = self._plan(state, site, everything)
                if plan.changed:
                    self._checked(base, state)
                content = replace(content, plan=plan)
                lock.announce(_new(plan))
            return self._publish(content, state, lock, before)

    def _check(self, plan: Plan) -> None:
        """Refuse what must not be published or would not work; tell what is let through and what leads to nothing."""
        lets = allowed(self._settings.allow)
        names = {*plan.kept, *(upload.path for upload in plan.uploads)}
        hosts = (self._settings.domain, f"www.{self._settings.domain}")
        check_uploads(plan.uploads, self.output, lets)
        lost = check_references(plan.uploads, names, self.output, hosts, lets)
        for line in (*standing(lets), *lost):
            self._progress.note(line)
        shapes = [upload.path for upload in plan.uploads if guessed(upload.path, upload.cache_control)]
        if shapes:
            shown = f"{', '.join(shapes[:5])}{', …' if len(shapes) > 5 else ''}"
            self._progress.detail(f"Browsers keep {len(shapes)} of these files for a year, by the hash in their names: {shown}")

    @staticmethod
    def _plan(state: State, site: Answers, everything: bool) -> Plan:
        plan = plan_release(site.files, state.bucket, state.last, state.recorded, site.cache_control, everything=everything)
        check_names(stuck(plan.uploads, state.last))
        return plan

    def _build(self, needed: bool) -> tuple[str, State | None]:
        """Build the site, unless that was done already.

        Returns:
            The sources' fingerprint, and the bucket's state when the live release was made from the very same.
        """
        from amianai_infra.site import build
        from amianai_infra.site.environment import Surroundings, public_environment

        surroundings = Surroundings.of(os.environ, self._settings.pass_environment)
        environment = {**public_environment(self._target, self._outputs), **self._settings.environment}
        folder = self._target.root / self._settings.directory
        site = build.Site(folder, self._settings.build_command, self.output, environment, surroundings)
        found = build.sources(site)
        marks = build.Marks(self._target.local / "site" / "built.json")
        if marks.done(found.fingerprint, self.output):
            self._progress.detail(f"Build {found.build_id} is there already: sources and settings did not change.")
            return found.fingerprint, None
        if not needed and not self.output.exists():
            state = self.state()
            if _serves(state, found.fingerprint):
                return found.fingerprint, state
        self._base = self._newest()
        logs = self._target.local / "logs"
        build.install(folder, surroundings, self._progress, logs / "site-packages.log")
        build.run(site, found.build_id, self._progress, logs / "site-build.log")
        marks.keep(found.fingerprint, self.output)
        return found.fingerprint, None

    def _unchanged(self, last: Manifest | None, kept: int) -> Release:
        summary = last.summary if last else None
        return Release(
            number=summary.number if summary else 0,
            kind=summary.kind if summary else "deploy",
            origin=summary.origin if summary else 0,
            build=summary.build if summary else "",
            url=self._url,
            changed=False,
            uploaded=(),
            kept=kept,
            gone=(),
            size=0,
            seconds=self._clock() - self._started,
        )

    @property
    def _url(self) -> str:
        return self._target.site_address(self._outputs).url

    def rollback(self, number: int | None, *, dry_run: bool = False) -> Release:
        """Make an earlier (or later) release live again, from the versions that the bucket keeps.

        Args:
            number: the release; None for the one before the one that is live.
            dry_run: say what would be done.

        Raises:
            NotFoundError: there is no such release, or its files have expired; nothing was changed.
        """
        state = self.state()
        wanted = self._wanted(state, number)
        plan = plan_rollback(wanted, state.bucket, _live(state), state.recorded)
        if dry_run:
            return replace(self._release(self._content(Path(), plan, wanted, "rollback"), state.next_number - 1, ()), dry=True)
        if not plan.changed and not state.unfinished:
            return self._unchanged(state.last, len(plan.kept))
        with self._locked("rollback", state.next_number, _new(plan)) as (lock, before):
            if before is not None or self._overtaken(state):
                base, state = _number(state), self.state()
                if _origin(wanted) != _origin(_live(state)):
                    self._checked(base, state, waited=number is not None)
            return self._restore(wanted, state, lock, "rollback", before)

    def _wanted(self, state: State, number: int | None) -> Manifest:
        live = _live(state)
        chosen = number if number is not None else previous(live)
        if chosen is None:
            raise NotFoundError(
                "There is no release before the one that is live.", where=f"release {live.number}", fix="`amianai releases`"
            )
        key = manifest_key(chosen)
        if key not in state.bucket.records:
            raise NotFoundError(
                f"There is no release {chosen}.", where=f"s3://{self.store.name}/{key}", fix="`amianai releases` lists them"
            )
        return decode(self.store.get(key).data, key)

    def _restore(self, wanted: Manifest, state: State, lock: Lock, kind: str, before: Holder | None) -> Release:
        from tempfile import TemporaryDirectory

        from amianai_infra.site.restore import fetch

        plan = plan_rollback(wanted, state.bucket, _live(state), state.recorded)
        lock.announce(_new(plan))
        with TemporaryDirectory(prefix="amianai-rollback-") as folder:
            with self._progress.task(f"Release {wanted.number}: reading its files") as task:
                task.total(len(plan.uploads))
                fetch(self.store, wanted, plan.uploads, Path(folder), task.advance)
                task.say(f"{len(plan.uploads)} files")
            return self._publish(self._content(Path(folder), plan, wanted, kind), state, lock, before)

    @staticmethod
    def _content(root: Path, plan: Plan, wanted: Manifest, kind: str) -> Content:
        made = wanted.summary
        return Content(root, plan, kind, _origin(wanted), made.build, wanted.sources, made.commit)

    def _locked(self, doing: str, number: int, pending: tuple[str, ...]) -> _Held:
        from amianai_infra.site.lock import Lock

        return _Held(Lock(self.store, self._progress.note, clock=self._clock, sleep=self._sleep), doing, number, pending, self._wait)

    def _overtaken(self, state: State) -> bool:
        """Whether another release was registered since the bucket was listed."""
        return self._newest() != _number(state)

    def _newest(self) -> int:
        """The number of the newest release; 0 when there is none."""
        return max((release_number(key) or 0 for key, _ in self.store.list(RELEASES)), default=0)

    def _checked(self, base: int, state: State, *, waited: bool = True) -> int:
        """Make sure that a release does not undo what it never saw.

        Args:
            base: the release that was live when this one began.
            state: what is live now.
            waited: whether `--wait` agrees to another deploy in between; it never agrees to a rollback.

        Returns:
            The release that this one may replace.

        Raises:
            RefusedError: something else was released meanwhile, and nobody agreed to release over it.
        """
        made = since(state.last, base)
        if made and not (waited and self._wait and made[0].kind == "deploy"):
            told = overtaken(made)
            if self._agreed is None or not self._agreed(told):
                raise RefusedError(
                    f"{told} This release was begun before that and would undo it; nothing was changed.",
                    where=f"release {made[0].number} in s3://{self.store.name}",
                    fix="see `amianai releases`; to release over it all the same, run the command again",
                )
        return _number(state)

    def _publish(self, content: Content, state: State, lock: Lock, before: Holder | None) -> Release:
        from amianai_infra.site.execute import Executor

        plan, last = content.plan, state.last
        if not plan.changed and before is None:
            return self._unchanged(last, len(plan.kept))
        manifest = last
        lock.settled = False
        if plan.changed or last is None or _unaccounted(before, last, state.bucket):
            with self._progress.task("Upload") as task:
                task.total(len(plan.uploads))
                done = Executor(content.root, self.store, lock.check, task.advance).run(plan.uploads)
                lock.confirm()
                manifest = self._register(content, state, done, before)
                task.say(f"{len(done)} files, {amount_of(plan.size)}; {len(plan.kept)} unchanged")
        assert manifest is not None  # noqa: S101
        paths = self._invalidate(plan, manifest, cut_off=before is not None)
        lock.settled = True
        pruned = self._prune(manifest, state.bucket, lock)
        release = replace(self._release(content, manifest.number, paths), pruned=pruned)
        if self._verify:
            release = replace(release, verified=self._verified(content, manifest, last, lock))
        return replace(release, seconds=self._clock() - self._started)

    def _register(self, content: Content, state: State, done: Mapping[str, Entry], before: Holder | None) -> Manifest:
        """Write the release's manifest: from here on it exists."""
        from amianai_infra.site.lock import whoami

        files = {**content.plan.kept, **done}
        number = state.next_number
        summary = Summary(
            number=number,
            kind=content.kind,
            origin=content.origin or number,
            build=content.build,
            started=self._started,
            seconds=round(self._clock() - self._started, 3),
            who=_actor() or whoami(),
            commit=content.commit,
            files=len(files),
            size=sum(entry.size for entry in files.values()),
            uploaded=len(done),
        )
        manifest = following(
            state.last,
            summary,
            dict(sorted(files.items())),
            sources=content.sources,
            leftovers=before.pending if before else (),
            present=state.bucket.objects,
        )
        data = encode(manifest)
        try:
            written = self.store.put(manifest_key(number), data, _RECORD, replaces=None)
        except ConflictError as error:
            raise LockedError(
                f"Somebody else registered release {number} meanwhile.", where=error.where, fix="see `amianai releases`, then run it again"
            ) from error
        self._remember(number, written.etag, data)
        return manifest

    def _invalidate(self, plan: Plan, manifest: Manifest, *, cut_off: bool) -> tuple[str, ...]:
        distribution = self._outputs.site.distribution_id
        if cut_off:
            paths: tuple[str, ...] = (invalidation.EVERYTHING,)  # what the release that was cut off changed is not known
        else:
            replaced = set(plan.replaced)
            paths = invalidation.minimal(replaced, (path for path in manifest.files if path not in replaced))
        if not paths or not distribution:
            return ()
        from amianai_infra.site.cdn import invalidate

        invalidate(self._target, distribution, paths, f"amianai-{manifest.number}-{time.time_ns()}", self._progress, sleep=self._sleep)
        return paths

    def _prune(self, manifest: Manifest, bucket: Bucket, lock: Lock) -> int:
        old = prunable(manifest, bucket, self._clock(), self._settings.old_asset_days)
        if old:
            lock.confirm()
            self.store.delete(old)
        return len(old)

    def _verified(self, content: Content, manifest: Manifest, last: Manifest | None, lock: Lock) -> Report | None:
        from amianai_infra.site.verify import Verification

        changed = [upload.path for upload in content.plan.uploads]
        try:
            with self._progress.task("Verification") as task:
                report = Verification(
                    self._target.site_address(self._outputs),
                    manifest,
                    changed,
                    lambda path: (content.root / path).read_bytes(),
                    self._settings.hsts,
                    sleep=self._sleep,
                    clock=self._clock,
                ).run(task)
                task.say(verified(report))
                return report
        except VerificationError as error:
            raise self._repaired(error, content, manifest, last, lock) from error

    def _repaired(self, error: VerificationError, content: Content, manifest: Manifest, last: Manifest | None, lock: Lock) -> AmianaiError:
        """Roll a release back that failed its verification; gives the error to raise."""
        if content.kind == "repair" or last is None or manifest is last:
            error.fix = "there is no earlier release to go back to; correct what is named above and deploy again"
            return error
        self._progress.note(f"Release {manifest.number} failed its verification; going back to release {last.number}.")
        self._verify = False
        self._restore(last, self.state(), lock, "repair", None)
        error.fix = f"Release {last.number} is live again; correct what is named above and deploy again"
        return error

    def _release(self, content: Content, number: int, paths: tuple[str, ...]) -> Release:
        plan = content.plan
        return Release(
            number=number,
            kind=content.kind,
            origin=content.origin or number,
            build=content.build,
            url=self._url,
            changed=plan.changed,
            uploaded=tuple(upload.path for upload in plan.uploads),
            kept=len(plan.kept),
            gone=plan.gone,
            size=plan.size,
            seconds=self._clock() - self._started,
            invalidated=paths,
        )


@dataclass
class _Held:
    """The lock, held while the block runs."""

    lock: Lock
    doing: str
    number: int
    pending: tuple[str, ...]
    wait: float

    def __enter__(self) -> tuple[Lock, Holder | None]:
        before = self.lock.acquire(self.doing, self.number, self.pending, self.wait)
        self.lock.__enter__()
        return self.lock, before

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.lock.__exit__(kind, error, trace)


def _new(plan: Plan) -> tuple[str, ...]:
    return tuple(upload.path for upload in plan.uploads if upload.replaces is None)


def _unaccounted(before: Holder | None, last: Manifest, bucket: Bucket) -> bool:
    """Whether a release that was cut off left files that no manifest names: only a new one has them pruned some day."""
    pending = before.pending if before else ()
    return any(path in bucket.objects and path not in last.files and path not in last.retired for path in pending)


def _number(state: State) -> int:
    return state.bucket.newest or 0


def _origin(manifest: Manifest) -> int:
    return manifest.summary.origin or manifest.number


def _live(state: State) -> Manifest:
    if state.last is None:
        raise NotFoundError("Nothing was released yet.", fix="run `amianai deploy`")
    return state.last


def _serves(state: State, fingerprint: str) -> bool:
    """Whether the bucket holds exactly what the live release, made from these sources, put there."""
    from amianai_infra.site.plan import trusted

    last = state.last
    return (
        last is not None
        and last.sources == fingerprint
        and not state.unfinished
        and all(trusted(path, state.bucket, last, state.recorded) for path in last.files)
    )


def _actor() -> str:
    """Who started a run of GitHub Actions; empty elsewhere."""
    if os.environ.get("GITHUB_ACTIONS") != "true":
        return ""
    return f"{os.environ.get('GITHUB_ACTOR', 'GitHub')} (GitHub Actions run {os.environ.get('GITHUB_RUN_ID', '?')})"


def _commit(folder: Path) -> str:
    """The git commit of the sources, with a `+` when there are changes that are not committed; empty without git."""
    import subprocess

    def git(*words: str) -> str | None:
        try:
            answer = subprocess.run(
                ("git", "-C", str(folder), *words), capture_output=True, text=True, errors="replace", timeout=10, check=False
            )
        except (OSError, subprocess.SubprocessError):
            return None
        return answer.stdout.strip() if answer.returncode == 0 else None

    commit = git("rev-parse", "HEAD")
    return f"{commit}{'+' if git('status', '--porcelain', '--', '.') else ''}" if commit else ""


def deploy(
    target: Target,
    settings: Settings | ReleaseSettings,
    outputs: StackOutputs,
    progress: Progress,
    *,
    build: bool = True,
    verify: bool = True,
    wait: float = 0.0,
    dry_run: bool = False,
    everything: bool = False,
    agreed: Agreed | None = None,
) -> Release:
    """Build the site and publish what changed; see `Publisher`."""
    publisher = Publisher(target, settings, outputs, progress, wait=wait, verify=verify, agreed=agreed)
    return publisher.deploy(build=build, dry_run=dry_run, everything=everything)


def rollback(
    target: Target,
    settings: Settings | ReleaseSettings,
    outputs: StackOutputs,
    progress: Progress,
    *,
    number: int | None = None,
    verify: bool = True,
    wait: float = 0.0,
    dry_run: bool = False,
    agreed: Agreed | None = None,
) -> Release:
    """Make another release live again; see `Publisher`."""
    return Publisher(target, settings, outputs, progress, wait=wait, verify=verify, agreed=agreed).rollback(number, dry_run=dry_run)


def releases(target: Target, settings: Settings | ReleaseSettings, outputs: StackOutputs, progress: Progress) -> list[Listed]:
    """The releases, newest first. Those whose replaced files have expired are marked."""
    publisher = Publisher(target, settings, outputs, progress)
    state = publisher.state()
    return [] if state.last is None else listed(state.last, time.time(), ReleaseSettings.of(settings).old_version_days)
