"""Previews: builds of pull requests and branches, each published under an address of its own that nobody can guess, for a while.

A preview lies in another bucket than the site and answers through another distribution. Each publication lies in a folder of its own; the
one key of its address in the key-value store names the folder, and the moment at which the edge stops answering. So it goes live whole,
ends at once, and no cache has to forget anything.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from amianai_infra.errors import ConfigurationError, LockedError, NotFoundError, RefusedError, VerificationError
from amianai_infra.naming import slug
from amianai_infra.rules.addresses import MISSING
from amianai_infra.rules.routing import Table, preview_config, table
from amianai_infra.site.ignored import Ignored
from amianai_infra.site.manifest import PREFIX, RELEASES, Entry, Manifest, Summary, Taken, decode, manifest_key, release_number
from amianai_infra.site.output import allowed, build_of, check_budgets, check_references, check_uploads, standing
from amianai_infra.site.plan import Bucket, Plan, plan_release, sort_listing
from amianai_infra.site.publication import OWN_404, Publication, publication, without_taken
from amianai_infra.site.release import actor, blocked, commit_of
from amianai_infra.site.routes import Change, Routes
from amianai_infra.site.settings import ReleaseSettings, folders
from amianai_infra.site.store import ConflictError, SiteBucket, bucket_of
from amianai_infra.site.texts import amount_of, count_of, verified
from amianai_infra.site.tree import located

if TYPE_CHECKING:
    from collections.abc import Sequence

    from amianai_infra.outputs import StackOutputs
    from amianai_infra.progress import Progress
    from amianai_infra.site.given import Given
    from amianai_infra.target import Target

RECORDS = f"{PREFIX}previews/"
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,28}[a-z0-9])?")
_KEY = re.compile(rf"{re.escape(RECORDS)}({_NAME.pattern})\.json")
_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"
DAYS = 14
"""How long a preview answers where nothing is said."""
_UNGUESSABLE = 26
"""Letters of 5 bits: 130 bits."""
_RECORD = {"Content-Type": "application/json", "Cache-Control": "no-store"}


@dataclass(frozen=True)
class Preview:
    """One preview.

    Attributes:
        name: what people call it: `pr-12`.
        label: the name below the previews' domain that it answers under.
        folder: where its files lie in the bucket.
        before: where those of its last publication lie, which edges may answer from for some seconds yet.
        published: seconds since 1970.
        expires: when its address stops answering, seconds since 1970.
        build: its build id, where it has one.
        commit: git commit of its sources.
        who: user and host.
        files: how many.
        size: bytes in all.
    """

    name: str
    label: str
    folder: str
    before: str
    published: float
    expires: int
    build: str
    commit: str
    who: str
    files: int
    size: int


@dataclass(frozen=True)
class Shown:
    """A preview and its address.

    Attributes:
        preview: what is recorded of it.
        url: where it answers.
        expired: whether it answers no longer.
    """

    preview: Preview
    url: str
    expired: bool


class Previews:
    """The previews of one site.

    Args:
        target: the environment.
        settings: what a release reads.
        outputs: what the stack published.
        progress: where to report.
        given: a finished site that is published as it is, instead of the settings' output.
        verify: whether to look at it afterwards.
        store: the previews' bucket; made from the target when not given.
        live: the site's bucket, of which the newest record is read; made from the target when not given.
        clock: seconds since 1970.
        sleep: how to wait.

    Raises:
        RefusedError: the stack has no place for previews.
    """

    def __init__(
        self,
        target: Target,
        settings: ReleaseSettings,
        outputs: StackOutputs,
        progress: Progress,
        *,
        given: Given | None = None,
        verify: bool = True,
        store: SiteBucket | None = None,
        live: SiteBucket | None = None,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if not outputs.previews.bucket:
            raise RefusedError(
                "This stack has no place for previews yet.",
                where="site.previews",
                fix="run `amianai up --set site.previews=true`: it adds a distribution, a bucket and a certificate",
            )
        self._target = target
        self._settings = settings
        self._outputs = outputs
        self._progress = progress
        self._given = given
        self._verify = verify
        self._store = store
        self._live = live
        self._clock = clock
        self._sleep = sleep

    @cached_property
    def store(self) -> SiteBucket:
        """The previews' bucket."""
        return self._store or bucket_of(self._target, self._outputs, self._outputs.previews.bucket)

    @property
    def _output(self) -> Path:
        return self._given.folder if self._given else folders(self._target.root, self._settings)[1]

    @property
    def _folder(self) -> Path:
        return self._given.folder if self._given else folders(self._target.root, self._settings)[0]

    def publish(self, name: str, seconds: float, *, build: bool) -> Shown:
        """Publish the site as the preview `name`, whose address stays the same while it lasts.

        Args:
            name: what people call it.
            seconds: how long it answers from now on.
            build: build it first.

        Raises:
            BuildError: it must not be published.
            LockedError: somebody else publishes the same preview.
            VerificationError: it does not answer as it should, and was removed again.
        """
        if build:
            self._build()
        ignored = Ignored.of(self._folder, self._output)
        site = publication(self._output, self._settings, ignored, page_policies=bool(self._outputs.site.page_policies))
        files, left_out = without_taken(site.files, self._taken())
        self._progress.note([*site.notes, *left_out])
        site = site._replace(files=files)
        plan = plan_release(site.files, Bucket({}, {}), None, 0.0, site.cache_control)
        self._check(plan, site)
        before, etag = self._recorded(name)
        preview = self._preview(name, site, before, seconds)
        routes = table({file.path for file in files}, site.routing, whole=True)
        config = preview_config(routes, preview.folder, preview.expires)
        entries = self._upload(plan, preview)
        self._record(preview, etag)
        self._route(preview, routes, config)
        self._prune()
        if self._verify:
            self._look(preview, routes, site, entries)
        return self._shown(preview)

    def _build(self) -> None:
        from amianai_infra.site import build
        from amianai_infra.site.environment import public_environment

        site = build.site_of(self._target.root, self._settings, public_environment(self._target, self._outputs), os.environ)
        if site.has_nothing_to_build:
            return
        found = build.sources(site)
        build.run(site, found, found.build_id, self._progress, self._target.local)

    def _taken(self) -> Mapping[str, Taken]:
        """What was taken down from the live site."""
        live = self._live or bucket_of(self._target, self._outputs, self._outputs.site.bucket)
        number = max((release_number(key) or 0 for key, _ in live.list(RELEASES)), default=0)
        return decode(live.get(manifest_key(number)).data, manifest_key(number)).taken if number else {}

    def _check(self, plan: Plan, site: Publication) -> None:
        """Refuse what a release would refuse, but for what pages weigh, which is told."""
        lets = allowed(self._settings.allow)
        check_uploads(plan.uploads, self._output, lets)
        lost = check_references(plan.uploads, plan.paths, site.files, self._output, self._settings.hosts, lets, site.routing)
        heavy = check_budgets(site.files, self._output, self._settings.hosts, self._settings.budgets)
        over = [f"Over site.budgets: {line}" for line in heavy]
        self._progress.note([*standing(lets), *lost, *over, *blocked(plan, self._output, self._settings, self._outputs)])

    def _preview(self, name: str, site: Publication, before: Preview | None, seconds: float) -> Preview:
        from amianai_infra.site.lock import whoami

        now = self._clock()
        kept = before if before is not None and before.expires > now else None
        random = "".join(secrets.choice(_ALPHABET) for _ in range(_UNGUESSABLE))
        return Preview(
            name=name,
            label=kept.label if kept else f"{name}-{random}",
            folder=secrets.token_hex(8),
            before=before.folder if before else "",
            published=now,
            expires=int(now + seconds),
            build=build_of(self._output, site.files),
            commit="" if self._given and self._given.unpacked else commit_of(self._folder),
            who=actor() or whoami(),
            files=len(site.files),
            size=sum(file.size for file in site.files),
        )

    def _upload(self, plan: Plan, preview: Preview) -> Mapping[str, Entry]:
        from amianai_infra.site.execute import Executor

        below = f"{preview.folder}/"
        uploads = [one._replace(path=below + one.path, source=one.source or one.path) for one in plan.uploads]
        with self._progress.task("Upload") as task:
            task.total(len(uploads))
            done = Executor(self._output, self.store, lambda: None, task.advance).run(uploads)
            with suppress(ConflictError):  # what the CDN answers where an address is known and its file is not there any more
                self.store.put(MISSING, OWN_404.read_bytes(), {"Content-Type": "text/html; charset=utf-8"}, replaces=None)
            task.say(f"{len(uploads)} files, {amount_of(plan.size)}")
        return {path.removeprefix(below): entry for path, entry in done.items()}

    def _record(self, preview: Preview, etag: str | None) -> None:
        data = json.dumps(asdict(preview)).encode()
        try:
            self.store.put(f"{RECORDS}{preview.name}.json", data, _RECORD, replaces=etag)
        except ConflictError as error:
            raise LockedError(f"Somebody else publishes preview {preview.name} now.", where=error.where, fix="run it again") from error

    def _recorded(self, name: str) -> tuple[Preview | None, str | None]:
        """What is recorded of a preview, and the record's ETag."""
        try:
            found = self.store.get(f"{RECORDS}{name}.json")
        except NotFoundError:
            return None, None
        return _read(found.data), found.etag

    @property
    def _routes(self) -> Routes:
        return Routes(self._target, self._outputs.previews.routes_arn, lambda: None, sleep=self._sleep)

    def _route(self, preview: Preview, routes: Table, config: str) -> None:
        """Have the preview's address answer; forget addresses that have ended, and tables of none."""

        def wanted(found: dict[str, str]) -> Change:
            puts = {key: value for key, value in routes.keys.items() if key not in found} | {preview.label: config}
            return Change(puts, _ended({**found, **puts}, self._clock(), spared=found.get(preview.label, "")))

        self._routes.change(wanted)

    def _prune(self) -> None:
        """Delete the files of publications that no preview names, and the records of those that ended."""
        bucket = sort_listing(self.store.list())
        found = dict(self._records(bucket))
        now = self._clock()
        named = {folder for one in found.values() if one.expires > now for folder in (one.folder, one.before)}
        kept = {MISSING, *(key for key, stored in bucket.objects.items() if now - stored.modified < _UNDER_WAY)}
        old = [key for key in bucket.objects if key not in kept and key.partition("/")[0] not in named]
        self.store.delete([*old, *(key for key, one in found.items() if one.expires <= now)])

    def _records(self, bucket: Bucket) -> Iterator[tuple[str, Preview]]:
        for key in bucket.records:
            if _KEY.fullmatch(key):
                with suppress(NotFoundError):  # removed meanwhile
                    yield key, _read(self.store.get(key).data)

    def _look(self, preview: Preview, routes: Table, site: Publication, entries: Mapping[str, Entry]) -> None:
        from amianai_infra.site.verify import Verification

        sources = {file.path: located(self._output, file) for file in site.files}
        try:
            with self._progress.task("Verification") as task:
                report = Verification(
                    self._target.preview_address(self._outputs, preview.label),
                    Manifest(_summary(preview), entries, routing=site.routing, table=routes.name),
                    sources,
                    lambda path: Path(sources[path]).read_bytes(),
                    self._settings.hsts,
                    sleep=self._sleep,
                    clock=self._clock,
                    preview=True,
                    stack=self._outputs.site.answered,
                    page_policies=bool(self._outputs.site.page_policies),
                ).run(task)
                task.say(verified(report))
        except VerificationError as error:
            self._verify = False
            self.remove(preview.name)
            error.what = error.what.replace("Release 0", f"Preview {preview.name}")
            error.fix = "the preview was removed again; correct what is named above and publish it again"
            raise

    def listed(self) -> list[Shown]:
        """Every preview, newest first, those that ended lately among them."""
        found = [self._shown(one) for _, one in self._records(Bucket({}, dict(self.store.list(RECORDS))))]
        return sorted(found, key=lambda one: -one.preview.published)

    def _shown(self, preview: Preview) -> Shown:
        url = self._target.preview_address(self._outputs, preview.label).url
        return Shown(preview, url, expired=preview.expires <= self._clock())

    def remove(self, name: str) -> Shown:
        """Have a preview answer 404 at once, and delete its files.

        Raises:
            NotFoundError: there is none of that name.
        """
        found, _ = self._recorded(name)
        if found is None:
            raise NotFoundError(f"There is no preview {name}.", fix="`amianai previews` lists them")

        def wanted(held: dict[str, str]) -> Change | None:
            left = {key: value for key, value in held.items() if key != found.label}
            gone = [*([found.label] if found.label in held else []), *_ended(left, self._clock())]
            return Change({}, gone) if gone else None

        self._routes.change(wanted)
        files = [key for folder in (found.folder, found.before) if folder for key, _ in self.store.list(f"{folder}/")]
        self.store.delete([*files, f"{RECORDS}{name}.json"])
        if self._verify:
            self._gone(found)
        return replace(self._shown(found), expired=True)

    def _gone(self, preview: Preview) -> None:
        """Ask whether it answers no longer; edges hear of it seconds apart."""
        from amianai_infra.site.verify import TRIES, Visitor

        visitor = Visitor(self._target.preview_address(self._outputs, preview.label))
        status = 0
        for attempt in range(TRIES):
            status = visitor.get("/").status
            if status == 404:
                break
            self._sleep(2.0**attempt)
        visitor.close()
        if status != 404:
            raise VerificationError(
                f"Preview {preview.name} was removed, and still answers {status}.",
                where=self._shown(preview).url,
                fix="its files are deleted; the CDN may not have heard of it everywhere: look again in a minute",
            )


_UNDER_WAY = 3600.0
"""Seconds in which a publication that is under way has its record."""


def _ended(found: Mapping[str, str], now: float, *, spared: str = "") -> list[str]:
    """The keys of addresses that have ended, and of tables that none of the others names. Pure.

    Args:
        found: what the store holds.
        now: seconds since 1970.
        spared: the value that was an address's until now: edges may answer by its table for some seconds yet.
    """
    addresses = {key: _said(value) for key, value in found.items() if "/" not in key}
    ended = [key for key, (_, expires) in addresses.items() if expires <= now]
    tables = {_said(spared)[0], *(name for key, (name, _) in addresses.items() if key not in ended)}
    return [*ended, *(key for key in found if "/" in key and key.partition("/")[0] not in tables)]


def _said(value: str) -> tuple[str, float]:
    """The table and the end of an address; an end long ago where it is no value of ours."""
    try:
        config = json.loads(value)
        return str(config["t"]), float(config["e"])
    except (ValueError, KeyError, TypeError):
        return "", 0.0


def _read(data: bytes) -> Preview:
    """A record of ours.

    Raises:
        ConfigurationError: it is none.
    """
    try:
        found = Preview(**json.loads(data))
        texts = (found.label, found.folder, found.before, found.build, found.commit, found.who)
        numbers = (found.published, found.expires, found.files, found.size)
        typed = all(isinstance(one, str) and one.isprintable() for one in texts) and all(type(one) in (int, float) for one in numbers)
        forms = {found.name: _NAME.pattern, found.label: "[a-z0-9-]{1,63}", found.folder: "[0-9a-f]{16}", found.before: "(?:[0-9a-f]{16})?"}
        if not (typed and all(re.fullmatch(form, text) for text, form in forms.items())):
            raise ValueError(f"not a preview: {found!r:.200}")
    except (ValueError, TypeError) as error:
        raise ConfigurationError(
            "The record of a preview cannot be read.", where=f"{RECORDS}: {error}", fix="delete it in the previews' bucket, then go on"
        ) from error
    return found


def _summary(preview: Preview) -> Summary:
    return Summary(
        number=0,
        kind="deploy",
        origin=0,
        build=preview.build,
        started=preview.published,
        seconds=0.0,
        who=preview.who,
        commit=preview.commit,
        files=preview.files,
        size=preview.size,
        uploaded=preview.files,
    )


def name_of(text: str) -> str:
    """The name of a preview: of a branch, `feature/New page` is `feature-new-page`.

    Raises:
        ConfigurationError: nothing of it can be part of an address.
    """
    name = slug(text)[:30].strip("-")
    if not _NAME.fullmatch(name):
        raise ConfigurationError(f"{text!r} cannot be part of an address.", where="--preview", fix="give it a name such as pr-12")
    return name


def branch_of(root: Path) -> str:
    """The branch that is checked out; empty where there is none."""
    import subprocess

    try:
        words = ("git", "-C", str(root), "symbolic-ref", "--short", "--quiet", "HEAD")
        return subprocess.run(words, capture_output=True, text=True, errors="replace", timeout=10, check=False).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def described(shown: Shown) -> list[str]:
    """What was published, for people."""
    one = shown.preview
    return [
        f"Preview {one.name}: {count_of(one.files, 'file')} ({amount_of(one.size)}), until {_when(one.expires)} UTC.",
        f"  {shown.url}",
        "Whoever knows the address can see it. The live site was not touched.",
    ]


def listing(previews: Sequence[Shown]) -> list[str]:
    """The list for people, times in UTC."""
    from amianai_infra import printing

    if not previews:
        return ["There is no preview."]
    rows: list[tuple[str, ...]] = [("PREVIEW", "PUBLISHED (UTC)", "UNTIL (UTC)", "BUILD", "COMMIT", "FILES", "WHO", "ADDRESS")]
    for shown in previews:
        one = shown.preview
        until = "ended" if shown.expired else _when(one.expires)
        row = (one.name, _when(one.published), until, one.build or "-", one.commit[:10] or "-", str(one.files), one.who, shown.url)
        rows.append(row)
    return printing.table(rows)


def _when(moment: float) -> str:
    from datetime import UTC, datetime

    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M}"
