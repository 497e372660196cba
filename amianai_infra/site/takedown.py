"""Takes one page down for good: from the site, and from the versions that the bucket keeps of every release.

It is a release of its own, without a build: its manifest says what was taken down, by whom and why, and is what keeps later rollbacks and
releases from bringing the same content back. Whatever is cut off is finished by the same command again.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import unquote, urlsplit

from amianai_infra.errors import NotFoundError, RefusedError, VerificationError
from amianai_infra.rules.addresses import INDEX, addresses_of, encoded
from amianai_infra.site import invalidation
from amianai_infra.site.manifest import Manifest, Taken, following
from amianai_infra.site.release import Publisher, State, actor
from amianai_infra.target import aws_error

_AT_ONCE = 1000
_PATHS = 15
"""Paths that are forgotten one by one in previews."""


def _of(page: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The versions of a page of the listing, marks of a deletion among them."""
    yield from (one for kind in ("Versions", "DeleteMarkers") for one in page.get(kind, ()))


@dataclass(frozen=True)
class Takedown:
    """What was taken down.

    Attributes:
        number: the release that says so.
        files: the files that answered at the address, in this release or an earlier one.
        addresses: every address that answers 404 now.
        versions: stored versions that were deleted.
        why: the reason.
        who: who did it.
        seconds: whole duration.
    """

    number: int
    files: tuple[str, ...]
    addresses: tuple[str, ...]
    versions: int
    why: str
    who: str
    seconds: float


def candidates(address: str) -> tuple[str, ...]:
    """The files that may answer at an address, as people write it or as a whole URL."""
    path = unicodedata.normalize("NFC", unquote(urlsplit(address).path))
    base = path.strip("/")
    return (f"{base}/{INDEX}", f"{base}.html", base) if base else (INDEX,)


def chosen(address: str, live: Manifest) -> tuple[str, ...]:
    """The files to take down: what answers at the address now, and what answered there in a release of another form.

    Raises:
        RefusedError: it is what a site cannot be without.
    """
    path = unquote(urlsplit(address).path)
    named = candidates(address)
    answering = {name for name in named if name in live.files and any(one.path == path for one in addresses_of(name, live.files))}
    found = tuple(name for name in named if name in answering or name not in live.files)
    front = live.addressed.home.strip("/")
    if INDEX in found or (front and f"{front}/{INDEX}" in found):
        raise RefusedError("The front page cannot be taken down: a site needs one.", where=address, fix="publish another: `amianai deploy`")
    return found


class Remover(Publisher):
    """Takes pages of one site down."""

    def takedown(self, address: str, why: str) -> Takedown:
        """Take down what answers at an address.

        Raises:
            NotFoundError: nothing answers there, and nothing of it is kept.
            RefusedError: a site cannot be without it.
        """
        state = self.state()
        if state.last is None:
            raise NotFoundError("Nothing was released yet.", fix="run `amianai deploy`")
        with self._locked("takedown", state.next_number, ()) as (lock, before):
            state = self.state()
            live = state.last
            assert live is not None  # noqa: S101
            wanted = chosen(address, live)
            found = list(self._versions(wanted))
            there = {*live.files, *(str(one["Key"]) for one in found)}
            files = tuple(path for path in wanted if path in there) or tuple(path for path in wanted if path in live.taken)
            if not files:
                raise NotFoundError(
                    f"Nothing answers at {address}, and the bucket keeps nothing of it.",
                    where=", ".join(wanted),
                    fix="name the address as pages link it",
                )
            lock.settled = False
            addresses = sorted({one.path for path in files for one in addresses_of(path, {*live.files, *files})})
            pending = before.pending if before else ()
            manifest = live if there.isdisjoint(files) else self._without(files, found, why, state, pending)
            self._in_force = "" if before else live.table
            self._route(self._table_of(manifest), lock)
            self._delete(found, self.store.name)
            self._forget([] if before else addresses, manifest)
            found += self._from_previews(files, manifest)
            lock.settled = True
        if self._verify:
            self._check_gone(addresses, manifest)
        taken = manifest.taken[files[0]]
        seconds = self._clock() - self._started
        return Takedown(manifest.number, files, tuple(addresses), len(found), taken.why, taken.who, seconds)

    def _without(self, files: tuple[str, ...], found: list[dict[str, Any]], why: str, state: State, leftovers: Iterable[str]) -> Manifest:
        """Register a release that is the live one without these files, and says why."""
        from amianai_infra.site.lock import whoami

        live = state.last
        assert live is not None  # noqa: S101
        who, now = actor() or whoami(), self._clock()
        kept = {path: entry for path, entry in live.files.items() if path not in files}
        summary = replace(
            live.summary,
            number=state.next_number,
            kind="takedown",
            started=now,
            seconds=round(self._clock() - self._started, 3),
            who=who,
            files=len(kept),
            size=sum(entry.size for entry in kept.values()),
            uploaded=0,
        )
        made = following(live, summary, kept, sources="", leftovers=leftovers, present=state.bucket.objects, routing=live.routing)
        taken = {path: Taken(now, who, why, live.number, self._contents(path, found, live)) for path in files}
        retired = {path: one for path, one in made.retired.items() if path not in files}
        return self._record(replace(made, retired=retired, taken={**live.taken, **taken}))

    @staticmethod
    def _contents(path: str, found: list[dict[str, Any]], live: Manifest) -> tuple[str, ...]:
        known = {str(one["ETag"]).strip('"') for one in found if one["Key"] == path and "ETag" in one}
        known |= {live.files[path].content} if path in live.files else set()
        known |= set(live.taken[path].contents) if path in live.taken else set()
        return tuple(sorted(known))

    def _versions(self, files: Iterable[str]) -> Iterator[dict[str, Any]]:
        """Every stored version of these files, marks of a deletion among them."""
        from botocore.exceptions import BotoCoreError, ClientError

        client = self._target.client("s3")
        try:
            for path in files:
                pages = client.get_paginator("list_object_versions").paginate(
                    Bucket=self.store.name, Prefix=path, ExpectedBucketOwner=self._outputs.account
                )
                for page in pages:
                    yield from (one for one in _of(page) if one["Key"] == path)
        except (BotoCoreError, ClientError) as error:
            raise aws_error(error, f"listing the versions of a page in {self.store.name}") from error

    def _from_previews(self, files: tuple[str, ...], manifest: Manifest) -> list[dict[str, Any]]:
        """Delete the same files, and the same contents elsewhere, of every preview; gives their versions."""
        from botocore.exceptions import BotoCoreError, ClientError

        from amianai_infra.site.cdn import invalidate

        previews = self._outputs.previews
        if not previews.bucket:
            return []
        contents = {content for path in files for content in manifest.taken[path].contents}
        pages = self._target.client("s3").get_paginator("list_object_versions")
        try:
            listed = [
                one for page in pages.paginate(Bucket=previews.bucket, ExpectedBucketOwner=self._outputs.account) for one in _of(page)
            ]
        except (BotoCoreError, ClientError) as error:
            raise aws_error(error, f"listing the versions of previews in {previews.bucket}") from error
        same = {one["Key"] for one in listed if one["Key"].partition("/")[2] in files or str(one.get("ETag", "")).strip('"') in contents}
        found = [one for one in listed if one["Key"] in same]
        self._delete(found, previews.bucket)
        paths = tuple(invalidation.encoded(f"/{key}") for key in sorted(same)) if len(same) <= _PATHS else (invalidation.EVERYTHING,)
        if paths:
            reference = f"amianai-{manifest.number}-{int(self._clock())}"
            invalidate(self._target, previews.distribution_id, paths, reference, self._progress, sleep=self._sleep)
        return found

    def _delete(self, found: list[dict[str, Any]], bucket: str) -> None:
        from botocore.exceptions import BotoCoreError, ClientError

        client = self._target.client("s3")
        try:
            for start in range(0, len(found), _AT_ONCE):
                some = [{"Key": one["Key"], "VersionId": one["VersionId"]} for one in found[start : start + _AT_ONCE]]
                answer = client.delete_objects(
                    Bucket=bucket, Delete={"Objects": some, "Quiet": True}, ExpectedBucketOwner=self._outputs.account
                )
                if answer.get("Errors"):
                    raise VerificationError(
                        "Not every stored version could be deleted:",
                        details=[f"{one.get('Key')}: {one.get('Code')}" for one in answer["Errors"]][:10],
                        where=f"s3://{bucket}",
                        fix="run the same command again: it finishes what is left",
                    )
        except (BotoCoreError, ClientError) as error:
            raise aws_error(error, f"deleting the versions of a page in {bucket}") from error

    def _forget(self, addresses: list[str], manifest: Manifest) -> None:
        """Have the CDN forget them; everything where a release that was cut off left what is not known."""
        from amianai_infra.site.cdn import invalidate

        paths = tuple(invalidation.encoded(one) for one in addresses) or (invalidation.EVERYTHING,)
        distribution = self._outputs.site.distribution_id
        if distribution:
            reference = f"amianai-{manifest.number}-{int(self._clock())}"
            invalidate(self._target, distribution, paths, reference, self._progress, sleep=self._sleep)

    def _check_gone(self, addresses: list[str], manifest: Manifest) -> None:
        """Ask for every address: none may answer with what was there."""
        from amianai_infra.site.verify import Visitor

        visitor = Visitor(self._target.site_address(self._outputs))
        there = {one.path for path in manifest.files for one in addresses_of(path, manifest.files)}
        answering = {one: visitor.get(encoded(one)).status for one in addresses if one not in there}
        visitor.close()
        wrong = {one: status for one, status in answering.items() if status == 200 and not _answered_otherwise(manifest)}
        if wrong:
            raise VerificationError(
                "It was taken down, and still answers:",
                details=[f"{one} answers {status}" for one, status in wrong.items()],
                where=self._url,
                fix="run the same command again: the CDN may not have heard of it everywhere",
            )


def _answered_otherwise(manifest: Manifest) -> bool:
    """Whether the site answers for what it does not have: with its fallback, or by a rule."""
    return bool(manifest.addressed.fallback) or any(rule.is_pattern for rule in manifest.addressed.rules)


def described(done: Takedown) -> list[str]:
    """A takedown in a few lines, for people."""
    from amianai_infra.progress import duration
    from amianai_infra.site.texts import count_of

    return [
        f"Taken down as release {done.number} by {done.who}: {done.why}. {duration(done.seconds)}",
        *(f"  {address}" for address in done.addresses),
        f"Deleted {count_of(done.versions, 'stored version')} of {', '.join(done.files)}: no rollback and no release brings them back.",
    ]


def listed(taken: Mapping[str, Taken]) -> list[str]:
    """What was taken down, by whom and why."""
    from datetime import UTC, datetime

    return [
        f"{datetime.fromtimestamp(one.at, UTC):%Y-%m-%d %H:%M} UTC: {path}, by {one.who}: {one.why}" for path, one in sorted(taken.items())
    ]
