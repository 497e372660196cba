"""A release from end to end: build, plan, upload, register, invalidate, verify; and the way back.

A release exists from the moment its manifest is in the bucket; the newest manifest is the release that is live. Whatever
is cut off before that is finished by the next release, which finds the lock still taken.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from amianai_infra.errors import AmianaiError, LockedError, NotFoundError, RefusedError, VerificationError
from amianai_infra.rules.addresses import Form, forms
from amianai_infra.rules.cache import guessed
from amianai_infra.rules.routing import Routing, Table, table
from amianai_infra.site import invalidation
from amianai_infra.site.history import Listed, listed, previous, since
from amianai_infra.site.ignored import Ignored
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
from amianai_infra.site.output import (
    allowed,
    build_of,
    check_budgets,
    check_names,
    check_outside,
    check_references,
    check_uploads,
    search_engines,
    standing,
)
from amianai_infra.site.plan import Bucket, Plan, Stored, plan_release, plan_rollback, prunable, sort_listing, stays, stuck
from amianai_infra.site.publication import Publication, publication, without_taken
from amianai_infra.site.settings import ReleaseSettings, folders
from amianai_infra.site.store import ConflictError, SiteBucket, bucket_of
from amianai_infra.site.texts import amount_of, overtaken, unexplained, verified
from amianai_infra.site.tree import located

if TYPE_CHECKING:
    from amianai_infra.config import Settings
    from amianai_infra.outputs import StackOutputs
    from amianai_infra.progress import Progress
    from amianai_infra.site.diff import Diff
    from amianai_infra.site.given import Given
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
        gone: files that the site no longer names.
        size: bytes uploaded.
        seconds: whole duration.
        invalidated: paths that the CDN was told to forget.
        pruned: files that were deleted because the site no longer names them; the bucket keeps their versions.
        verified: what was looked at; None when nothing was.
        dry: nothing was done.
        staying: how many of those that are gone stay served for a while: assets with a hash in their name.
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
    staying: int = 0


class State(NamedTuple):
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

    def live_at(self, moment: float) -> int:
        """The release that was the newest then, by the store's clock; 0 before the first."""
        made = ((release_number(key), record.modified) for key, record in self.bucket.records.items())
        return max((number for number, modified in made if number and modified <= moment), default=0)

    @property
    def unfinished(self) -> bool:
        """Whether a release is under way or was cut off."""
        lock = self.bucket.records.get(LOCK)
        return lock is not None and lock.size > 0


class Content(NamedTuple):
    """What is to be live.

    Attributes:
        root: folder that holds the files to upload.
        plan: what must be done.
        kind: see `Summary`.
        origin: release it is taken from; 0 for the new one itself.
        build: build id.
        sources: fingerprint of its declared inputs, or its build id.
        commit: git commit.
        routing: what it says of its addresses besides its files.
        published: folder it is published from, relative to the project.
    """

    root: Path
    plan: Plan
    kind: str
    origin: int
    build: str
    sources: str = ""
    commit: str = ""
    routing: Routing = Routing()
    published: str = ""


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
        confirm: asks whether to publish another site than the live one, and raises when not; where not given, nobody can be asked.
        given: a finished site that is published as it is, instead of the settings' output.
        over_budget: release pages that weigh more than `site.budgets` allows, and say so.
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
        confirm: Callable[[str], None] | None = None,
        given: Given | None = None,
        over_budget: bool = False,
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
        self._confirm = confirm
        self._site = given
        self._over_budget = over_budget
        self._base: int | None = None
        self._in_force = ""
        self._table: Table | None = None
        self._given = store
        self._clock = clock
        self._sleep = sleep
        self._started = clock()

    @cached_property
    def store(self) -> SiteBucket:
        """The site's bucket."""
        return self._given if self._given is not None else bucket_of(self._target, self._outputs, self._outputs.site.bucket)

    @cached_property
    def output(self) -> Path:
        """The folder with the finished site."""
        return self._site.folder if self._site else folders(self._target.root, self._settings)[1]

    @cached_property
    def _folder(self) -> Path:
        """Whose ignore file counts: the site's own folder, or the top of what is given."""
        return self._site.folder if self._site else folders(self._target.root, self._settings)[0]

    @property
    def _published(self) -> str:
        return self._site.name if self._site else Path(os.path.relpath(self.output, self._target.root)).as_posix()

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

    def _look(self) -> tuple[State, Publication]:
        """The bucket and the finished site, both at once."""
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
            ignored = Ignored.of(self._folder, self.output)
            site = publication(self.output, self._settings, ignored, page_policies=bool(self._outputs.site.page_policies))
        finally:
            thread.join()
        if failed:
            raise failed[0]
        return found[0], site

    def deploy(self, *, build: bool, dry_run: bool = False, everything: bool = False, begun: float | None = None) -> Release:
        """Publish the site as it is in the output folder, after building it where that is asked for and needed.

        Args:
            build: build it first; where `site.inputs` declares what the build depends on, only when that changed.
            dry_run: say what would be done.
            everything: build and upload what is there already, too.
            begun: when its build began, seconds since 1970, where that was before this call.
        """
        sources = ""
        if build:
            sources, live = self._build(needed=dry_run, everything=everything)
            if live is not None:
                return self._unchanged(live.last, len(live.last.files) if live.last else 0)
        state, site = self._look()
        self._possible(site)
        for note in site.notes:
            self._progress.note(note)
        plan = self._plan(state, site, everything, say=self._progress.note)
        base = self._base if self._base is not None else _number(state) if begun is None else state.live_at(begun)
        if not plan.changed and not state.unfinished:
            return self._unchanged(state.last, len(plan.kept))
        self._progress.note(unexplained(plan, state.last, sources))
        self._check(plan, site)
        build_id, commit = build_of(self.output, site.files), self._commit()
        content = Content(self.output, plan, "deploy", 0, build_id, sources, commit, site.routing, self._published)
        if dry_run:
            self._progress.note(self._other_site(state.last))
            return replace(self._release(content, state.next_number - 1, ()), dry=True)
        self._same_site(state.last)
        base = self._checked(base, state)
        with self._locked("deploy", state.next_number, _new(plan)) as (lock, before):
            if before is not None or self._overtaken(state):
                state = self.state()
                plan = self._plan(state, site, everything)
                if plan.changed:
                    self._same_site(state.last)
                    self._checked(base, state)
                content = content._replace(plan=plan)
                lock.announce(_new(plan))
            del site  # its files are in the plan: a hundred thousand of them take 13 MB
            return self._publish(content, state, lock, before)

    def _commit(self) -> str:
        """The commit of the sources; empty for an archive, which does not tell."""
        return "" if self._site and self._site.unpacked else commit_of(self._folder)

    def _possible(self, site: Publication) -> None:
        """Refuse what a stack without the functions at the edge cannot do, and say which addresses it cannot answer.

        Raises:
            RefusedError: the stack has to be brought up to date first.
        """
        if self._outputs.site.routes_arn:
            return
        from amianai_infra.rules.header_rules import SYSTEM

        headers = any(name not in SYSTEM for file in site.files for name, _ in file.headers)
        routing = site.routing
        wanted = {"site.fallback": routing.fallback, "site.base_path": routing.home, "_redirects": routing.rules, "_headers": headers}
        asked = [name for name, value in wanted.items() if value]
        if asked:
            raise RefusedError(
                f"This stack cannot do {', '.join(asked)} yet: it was built before releases wrote their addresses to the CDN.",
                where="the stack has no key-value store, and no function that makes headers",
                fix="run `amianai up`, then the command again; nothing was uploaded",
            )
        pages = forms({file.path for file in site.files})
        lost = sorted(base for base, form in pages.items() if form is not Form.FOLDER or "." in base.rpartition("/")[2])
        if lost:
            self._progress.note(
                f"Addresses such as /{lost[0]} answer 404 on this stack: it was built before releases wrote them to the CDN."
                " Run `amianai up`, then deploy again."
            )

    def _other_site(self, last: Manifest | None) -> list[str]:
        """Says that the live release is one of another site; empty when it is not, or did not record it."""
        if last is None or last.published in ("", self._published):
            return []
        return [f"The live release {last.number} was published from {last.published}; this is {self._published}."]

    def _same_site(self, last: Manifest | None) -> None:
        """Make sure that one site does not take the place of another one unasked.

        Raises:
            RefusedError: nobody agreed.
        """
        for told in self._other_site(last):
            if self._confirm is None:
                raise RefusedError(
                    f"{told} Nothing was published.",
                    where=self._site.name if self._site else "site.directory and site.output",
                    fix="choose the live site's, best in the stack file; `amianai deploy` asks whether to publish the other one",
                )
            self._confirm(f"{told} Publish it in its place?")

    def _check(self, plan: Plan, site: Publication) -> None:
        """Refuse what must not be published or would not work; tell what is let through and what leads to nothing."""
        lets = allowed(self._settings.allow)
        check_uploads(plan.uploads, self.output, lets)
        lost = check_references(plan.uploads, plan.paths, site.files, self.output, self._settings.hosts, lets, site.routing)
        hosts = (*self._settings.hosts, urlsplit(self._url).netloc)  # in the sandbox pages name the address that it serves them at
        searched = search_engines(site.files, self.output, hosts, site.routing)
        for line in (*standing(lets), *lost, *searched, *blocked(plan, self.output, self._settings, self._outputs)):
            self._progress.note(line)
        self._weigh(site)
        shapes = [upload.path for upload in plan.uploads if guessed(upload.path, upload.cache_control)]
        if shapes:
            shown = f"{', '.join(shapes[:5])}{', …' if len(shapes) > 5 else ''}"
            self._progress.detail(f"Browsers keep {len(shapes)} of these files for a year, by the hash in their names: {shown}")

    def _weigh(self, site: Publication) -> None:
        """Compare what pages weigh with `site.budgets`.

        Raises:
            RefusedError: one weighs more, and nobody said to release it all the same.
        """
        over = check_budgets(site.files, self.output, self._settings.hosts, self._settings.budgets)
        if over and not self._over_budget:
            raise RefusedError(
                "Pages weigh more than site.budgets allows:",
                details=over,
                where=str(self.output),
                fix="make them lighter, or raise the budget; --over-budget releases them as they are; nothing was uploaded",
            )
        self._progress.note([f"Over site.budgets: {line}" for line in over])

    def _plan(self, state: State, site: Publication, everything: bool, say: Callable[[str], None] = lambda note: None) -> Plan:
        files, left_out = without_taken(site.files, state.last.taken if state.last else {})
        for note in left_out:
            say(note)
        plan = plan_release(files, state.bucket, state.last, state.recorded, site.cache_control, everything=everything)
        check_names(stuck(plan.uploads, state.last))
        return plan._replace(rerouted=self._rerouted(state.last, site.routing))

    def _settings_moved(self, last: Manifest | None) -> bool:
        """Whether the settings ask for other addresses than a release has, as far as that can be told without the site's files."""
        base, fallback = self._settings.base_path, self._settings.fallback
        said = last.addressed if last else Routing()
        same = said.home == (f"/{base}/" if base else "") and said.fallback in (fallback, f"{base}/{fallback}" if fallback else "")
        return not same or self._rerouted(last, said)

    def _rerouted(self, last: Manifest | None, routing: Routing) -> bool:
        """Whether addresses change even where no file does."""
        return last is not None and (last.addressed != routing or bool(self._outputs.site.routes_arn and not last.table))

    def _build(self, *, needed: bool, everything: bool) -> tuple[str, State | None]:
        """Build the site. Where its inputs are declared and did not change, what was built from them is taken as it is.

        Args:
            needed: the output must be on this machine.
            everything: build it in any case.

        Returns:
            What identifies the sources (the inputs' fingerprint, where none are declared the build id), and the bucket's state when the
            live release was made from the very same.
        """
        from amianai_infra.site import build
        from amianai_infra.site.environment import public_environment

        local = self._target.local
        site = build.site_of(self._target.root, self._settings, public_environment(self._target, self._outputs), os.environ)
        if site.has_nothing_to_build:
            self._progress.note(f"Nothing to build: {self.output} is published as it is.")
            return "", None
        found = build.sources(site)
        marks = build.Marks(local / "site" / "built.json")
        if found.fingerprint and not everything:
            if marks.done(found.fingerprint, site):
                self._progress.note(f"Not built: nothing that site.inputs names changed since build {found.build_id}.")
                return found.fingerprint, None
            if not needed and not self.output.exists():
                state = self.state()
                if _serves(state, found.fingerprint) and not self._settings_moved(state.last):
                    self._progress.note("Not built: the live release was made from what site.inputs names.")
                    return found.fingerprint, state
        self._base = self._newest()
        build.run(site, found, found.build_id, self._progress, local)
        if found.fingerprint:
            marks.keep(found.fingerprint, site)
        return found.fingerprint or found.build_id, None

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
        plan = self._way_back(wanted, state)
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
        if number is None and state.unfinished and self._is_going_back(live):
            return live
        chosen = number if number is not None else previous(live)
        if chosen is None:
            later = next((one.number for one in live.history if one.kind == "deploy" and one.number > _origin(live)), None)
            raise NotFoundError(
                f"Nothing was live before the content of release {_origin(live)}, which is live.",
                where=f"release {live.number}",
                fix=f"to go forward again: `amianai rollback {later}`" if later else "`amianai releases` lists them",
            )
        return self.manifest(state, chosen)

    def _is_going_back(self, live: Manifest) -> bool:
        """Whether what is live is a rollback that is under way or was cut off: another one finishes it and does not go back once more."""
        from amianai_infra.site.lock import Lock

        holder = Lock(self.store, self._progress.note).holder()
        return holder is not None and (holder.doing, holder.release) == ("rollback", live.number)

    def manifest(self, state: State, number: int) -> Manifest:
        """The record of a release.

        Raises:
            NotFoundError: there is no such release.
        """
        key = manifest_key(number)
        if key not in state.bucket.records:
            raise NotFoundError(
                f"There is no release {number}.", where=f"s3://{self.store.name}/{key}", fix="`amianai releases` lists them"
            )
        return state.last if state.last and state.last.number == number else decode(self.store.get(key).data, key)

    def _restore(self, wanted: Manifest, state: State, lock: Lock, kind: str, before: Holder | None) -> Release:
        from tempfile import TemporaryDirectory

        from amianai_infra.site.restore import fetch

        plan = self._way_back(wanted, state)
        lock.announce(_new(plan))
        with TemporaryDirectory(prefix="amianai-rollback-") as folder:
            with self._progress.task(f"Release {wanted.number}: reading its files") as task:
                task.total(len(plan.uploads))
                fetch(self.store, wanted, plan.uploads, Path(folder), task.advance)
                task.say(f"{len(plan.uploads)} files")
            return self._publish(self._content(Path(folder), plan, wanted, kind), state, lock, before)

    def _way_back(self, wanted: Manifest, state: State) -> Plan:
        """What makes a release live again, but for what was taken down."""
        live = _live(state)
        plan = plan_rollback(replace(wanted, files=wanted.restorable(live.taken)), state.bucket, live, state.recorded)
        return plan._replace(rerouted=self._rerouted(live, wanted.addressed))

    @staticmethod
    def _content(root: Path, plan: Plan, wanted: Manifest, kind: str) -> Content:
        made = wanted.summary
        return Content(root, plan, kind, _origin(wanted), made.build, wanted.sources, made.commit, wanted.addressed, wanted.published)

    @contextmanager
    def _locked(self, doing: str, number: int, pending: tuple[str, ...]) -> Iterator[tuple[Lock, Holder | None]]:
        """The lock, held while the block runs, and the holder it was taken over from."""
        from amianai_infra.site.lock import Lock

        lock = Lock(self.store, self._progress.note, clock=self._clock, sleep=self._sleep)
        before = lock.acquire(doing, number, pending, self._wait)
        with lock:
            yield lock, before

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
                    fix="see `amianai releases`; to release over it all the same, run the command again"
                    " (where the build was a job of its own: from the build on)",
                )
        return _number(state)

    def _publish(self, content: Content, state: State, lock: Lock, before: Holder | None) -> Release:
        from amianai_infra.site.execute import Executor

        plan, last = content.plan, state.last
        if not plan.changed and before is None:
            return self._unchanged(last, len(plan.kept))
        manifest = last
        lock.settled = False
        self._in_force = last.table if last is not None and before is None else ""
        self._table = None
        if plan.changed or last is None or _unaccounted(before, last, state.bucket):
            with self._progress.task("Upload") as task:
                task.total(len(plan.uploads))
                executor = Executor(content.root, self.store, lock.check, task.advance)
                done = executor.run(plan.uploads, lambda: self._route_both(content, last, lock))
                lock.confirm()
                manifest = self._register(content, state, done, before)
                task.say(f"{len(done)} files, {amount_of(plan.size)}; {len(plan.kept)} unchanged")
        assert manifest is not None  # noqa: S101
        self._route(self._table or self._table_of(manifest), lock)
        pruned = self._prune(manifest, state.bucket, lock)
        paths = self._invalidate(plan, manifest, pruned, cut_off=before is not None)
        lock.settled = True
        staying = sum(1 for path in plan.gone if path in manifest.retired and stays(path, manifest.retired[path]))
        release = replace(self._release(content, manifest.number, paths), pruned=len(pruned), staying=staying)
        if self._verify:
            try:
                release = replace(release, verified=self._verified(content, manifest, last, lock, everything=before is not None))
            except KeyboardInterrupt:
                lock.settled = False  # nobody knows whether it answers as it should: the next run looks again
                raise
        return replace(release, seconds=self._clock() - self._started)

    def _route_both(self, content: Content, last: Manifest | None, lock: Lock) -> None:
        """Have the addresses of the new pages answer beside those that are live: what names either is about to be exchanged."""
        if self._outputs.site.routes_arn:
            before = set(last.files) if last else set()
            after = content.plan.paths
            if before != after:
                self._route(table(before | after, last.addressed if last else content.routing, last.retired if last else ()), lock)

    def _route(self, wanted: Table | None, lock: Lock) -> None:
        """Put a table of addresses in force, where it is not."""
        if wanted is None or wanted.name == self._in_force:
            return
        from amianai_infra.site.routes import Routes

        Routes(self._target, self._outputs.site.routes_arn, lock.check, sleep=self._sleep).put(wanted)
        self._in_force = wanted.name

    def _register(self, content: Content, state: State, done: Mapping[str, Entry], before: Holder | None) -> Manifest:
        """Write the release's manifest: from here on it exists."""
        from amianai_infra.site.lock import whoami

        kept = content.plan.kept
        files = {path: done[path] if path in done else kept[path] for path in sorted((*done, *kept))}
        number = state.next_number
        summary = Summary(
            number=number,
            kind=content.kind,
            origin=content.origin or number,
            build=content.build,
            started=self._started,
            seconds=round(self._clock() - self._started, 3),
            who=actor() or whoami(),
            commit=content.commit,
            files=len(files),
            size=sum(entry.size for entry in files.values()),
            uploaded=len(done),
        )
        manifest = following(
            state.last,
            summary,
            files,
            sources=content.sources,
            published=content.published,
            leftovers=before.pending if before else (),
            present=state.bucket.objects,
            routing=content.routing,
        )
        return self._record(manifest)

    def _table_of(self, manifest: Manifest) -> Table | None:
        if not self._outputs.site.routes_arn:
            return None
        return table(manifest.files, manifest.addressed, (path for path, one in manifest.retired.items() if stays(path, one)))

    def _record(self, manifest: Manifest) -> Manifest:
        """Write a manifest, with the name of its table of addresses."""
        self._table = self._table_of(manifest)
        manifest = replace(manifest, table=self._table.name if self._table else "")
        data, number = encode(manifest), manifest.number
        try:
            written = self.store.put(manifest_key(number), data, _RECORD, replaces=None)
        except ConflictError as error:
            raise LockedError(
                f"Somebody else registered release {number} meanwhile.", where=error.where, fix="see `amianai releases`, then run it again"
            ) from error
        self._remember(number, written.etag, data)
        return manifest

    def _invalidate(self, plan: Plan, manifest: Manifest, removed: Iterable[str], *, cut_off: bool) -> tuple[str, ...]:
        distribution = self._outputs.site.distribution_id
        if cut_off:
            paths: tuple[str, ...] = (invalidation.EVERYTHING,)  # what the release that was cut off changed is not known
        else:
            replaced = {*plan.replaced, *(path for path in removed if not stays(path, manifest.retired[path]))}
            paths = invalidation.minimal(replaced, (path for path in manifest.files if path not in replaced))
        if not paths or not distribution:
            return ()
        from amianai_infra.site.cdn import invalidate

        invalidate(self._target, distribution, paths, f"amianai-{manifest.number}-{time.time_ns()}", self._progress, sleep=self._sleep)
        return paths

    def _prune(self, manifest: Manifest, bucket: Bucket, lock: Lock) -> tuple[str, ...]:
        """Delete what the release does not name and what need not stay; every version is kept for a rollback."""
        old = prunable(manifest, bucket, self._clock(), self._settings.old_asset_days)
        if old:
            lock.confirm()
            self.store.delete(old)
        return old

    def _verified(
        self, content: Content, manifest: Manifest, last: Manifest | None, lock: Lock, *, everything: bool = False
    ) -> Report | None:
        """Look at what the release changed; at all of it where one was cut off, because what that had changed is not known."""
        from amianai_infra.site.verify import Verification

        sources = {upload.path: located(content.root, upload) for upload in content.plan.uploads}
        try:
            with self._progress.task("Verification") as task:
                report = Verification(
                    self._target.site_address(self._outputs),
                    manifest,
                    manifest.files if everything else sources,
                    lambda path: Path(sources[path]).read_bytes() if path in sources else b"",
                    self._settings.hsts,
                    removed=content.plan.gone,
                    stack=self._outputs.site.answered,
                    page_policies=bool(self._outputs.site.page_policies),
                    sleep=self._sleep,
                    clock=self._clock,
                ).run(task)
                task.say(verified(report))
        except VerificationError as error:
            raise self._repaired(error, content, manifest, last, lock) from error
        if report.otherwise:
            raise VerificationError(
                f"Release {manifest.number} is live, and visitors get other headers than the stack says:",
                details=list(report.otherwise),
                where=self._url,
                fix="run `amianai up`, which puts them right; right after one, wait some minutes and run `amianai deploy --everything`",
            )
        return report

    def _repaired(self, error: VerificationError, content: Content, manifest: Manifest, last: Manifest | None, lock: Lock) -> AmianaiError:
        """Roll a release back that failed its verification; gives the error to raise."""
        if content.kind == "repair" or last is None or manifest is last:
            back = "`amianai rollback` takes it back" if previous(manifest) else "there is no earlier release to go back to"
            error.fix = f"{back}; correct what is named above and deploy again"
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
    """Whether the bucket holds exactly what the live release, made from these inputs, put there."""
    from amianai_infra.site.plan import trusted

    last = state.last
    return (
        last is not None
        and last.sources == fingerprint
        and not state.unfinished
        and all(trusted(path, state.bucket, last, state.recorded) for path in last.files)
    )


def actor() -> str:
    """Who started a run of GitHub Actions; empty elsewhere."""
    if os.environ.get("GITHUB_ACTIONS") != "true":
        return ""
    return f"{os.environ.get('GITHUB_ACTOR', 'GitHub')} (GitHub Actions run {os.environ.get('GITHUB_RUN_ID', '?')})"


def blocked(plan: Plan, output: Path, settings: ReleaseSettings, outputs: StackOutputs) -> list[str]:
    """What pages load from elsewhere and the stack's policy refuses, and the setting that allows it."""
    policy = outputs.site.answered.get("content-security-policy")
    if not policy:
        return []
    return check_outside(plan.uploads, output, settings.hosts, policy, settings.csp_sources if outputs.site.page_policies else None)


def commit_of(folder: Path) -> str:
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
    begun: float | None = None,
    confirm: Callable[[str], None] | None = None,
    given: Given | None = None,
    over_budget: bool = False,
) -> Release:
    """Build the site and publish what changed; see `Publisher`."""
    publisher = Publisher(
        target,
        settings,
        outputs,
        progress,
        wait=wait,
        verify=verify,
        agreed=agreed,
        confirm=confirm,
        given=given,
        over_budget=over_budget,
    )
    return publisher.deploy(build=build, dry_run=dry_run, everything=everything, begun=begun)


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


def compare(
    target: Target,
    settings: Settings | ReleaseSettings,
    outputs: StackOutputs,
    progress: Progress,
    before: int | None = None,
    after: int | None = None,
) -> Diff:
    """What two releases differ in.

    Args:
        target: the environment.
        settings: what a release reads.
        outputs: what the stack published.
        progress: where to report.
        before: the older release; None for the one whose content was live before the content that is live.
        after: the newer one; None for the one that is live.

    Raises:
        NotFoundError: there is no such release.
    """
    from amianai_infra.site.diff import compared

    publisher = Publisher(target, settings, outputs, progress)
    state = publisher.state()
    live = _live(state)
    older = before if before is not None else previous(live)
    if older is None:
        raise NotFoundError(
            f"Nothing was live before the content of release {_origin(live)}, which is live.",
            fix="name two releases: `amianai releases` lists them",
        )
    return compared(publisher.manifest(state, older), live if after is None else publisher.manifest(state, after))
