"""The site's bucket, through obstore: conditional writes, versions, listings, and errors that say what is wrong.

Only obstore's blocking calls are used, from threads: they release the interpreter's lock while they wait. Its asynchronous
calls abort the process in one run of five, when the interpreter ends while the library's own threads still wait for its
lock (measured with obstore 0.12.1 and Python 3.11: 6 of 30 runs against 0 of 60), and are slower by half.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import obstore
from obstore import exceptions as failures
from obstore.store import S3Store

from amianai_infra.errors import AmianaiError, ForbiddenError, NotFoundError, UnreachableError
from amianai_infra.site.manifest import LARGEST, PREFIX
from amianai_infra.site.plan import Stored
from amianai_infra.site.tree import PART

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig, S3Credential

    from amianai_infra.outputs import StackOutputs
    from amianai_infra.target import Credentials, Target

Result = TypeVar("Result")

CONNECTIONS = 64
"""At 30 ms a request more than 64 connections gain little; on this side each costs a thread."""

RETRY: RetryConfig = {
    "max_retries": 10,
    "retry_timeout": timedelta(minutes=3),
    "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=8), "base": 2},
}
"""The library tries again, with jitter, on 5xx, throttling and broken connections."""

_TRIES = 4
_PARTS_AT_ONCE = 3


class ConflictError(AmianaiError):
    """The object is not what it was when the release was planned: somebody else wrote it."""


class Written(NamedTuple):
    """What the store answered to a write.

    Attributes:
        etag: without quotes.
        version: None in a bucket without versions.
    """

    etag: str
    version: str | None


class Content(NamedTuple):
    """An object that was read."""

    data: bytes
    etag: str
    version: str | None
    modified: float


def bucket_of(target: Target, outputs: StackOutputs, name: str) -> SiteBucket:
    """One of the stack's buckets, as the target reaches it."""
    endpoint = target.endpoint("s3")
    ca = os.environ.get("AWS_CA_BUNDLE") if endpoint is None or endpoint.startswith("https:") else None
    return SiteBucket(name, outputs.region, endpoint, target.credentials(), owner=outputs.account, ca=ca)


class SiteBucket:
    """One bucket.

    Args:
        name: the bucket.
        region: its region.
        endpoint: where it is when that is not AWS's own address.
        credentials: who signs.
        owner: the account that the bucket must belong to; S3 refuses every request otherwise.
        ca: PEM file of further authorities for TLS.
        sleep: how to wait between tries.
    """

    def __init__(
        self,
        name: str,
        region: str,
        endpoint: str | None,
        credentials: Credentials,
        *,
        owner: str,
        ca: str | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.name = name
        self._region = region
        self._endpoint = endpoint
        self._credentials = credentials
        self._owner = owner
        self._ca = ca
        self._sleep = sleep

    @cached_property
    def _quick(self) -> S3Store:
        """For everything that is sent in one piece."""
        return self._store(timedelta(seconds=90))

    @cached_property
    def _patient(self) -> S3Store:
        """For the parts of big files, which may take minutes on a slow line."""
        return self._store(timedelta(minutes=10))

    @cached_property
    def _listing(self) -> S3Store:
        """For listings, the one request whose further headers the library sends and does not sign, which S3 refuses.

        Names are all that is read through it; no object is read or written without the owner being compared.
        """
        return self._store(timedelta(seconds=90), compare=False)

    def _store(self, timeout: timedelta, *, compare: bool = True) -> S3Store:
        client: ClientConfig = {
            "timeout": timeout,
            "connect_timeout": timedelta(seconds=10),
            "pool_idle_timeout": timedelta(seconds=20),
            "user_agent": "amianai-infra",
            "default_headers": {"x-amz-expected-bucket-owner": self._owner} if compare else {},
        }
        settings: dict[str, Any] = {"virtual_hosted_style_request": self._endpoint is None}
        if self._endpoint is not None:
            settings["endpoint"] = self._endpoint
            client["allow_http"] = self._endpoint.startswith("http://")
        if self._ca:
            client["root_certificate"] = Path(self._ca).read_bytes()
        with _without_ambient_aws():
            return S3Store(
                self.name, region=self._region, client_options=client, retry_config=RETRY, **settings, **_signing(self._credentials)
            )

    def list(self, prefix: str | None = None) -> Iterator[tuple[str, Stored]]:
        """Every object, a thousand a request."""
        with self._explained("listing the site's bucket"):
            for page in self._listing.list(prefix, chunk_size=1000):
                for found in page:
                    yield found["path"], Stored(_bare(found["e_tag"]), found["last_modified"].timestamp(), found["size"])

    def get(self, key: str, version: str | None = None) -> Content:
        """Read one object, or one version of it.

        Raises:
            NotFoundError: it is not there.
            AmianaiError: it lies among our records, and is larger than any.
        """
        with self._explained(f"reading {key}"):
            answer = obstore.get(self._quick, key, options={"version": version} if version else None)
            meta = answer.meta
            if key.startswith(PREFIX) and meta["size"] > LARGEST:
                raise AmianaiError(
                    f"{key} has {meta['size']} bytes: it is no record of ours, and was not read.",
                    where=f"s3://{self.name}/{key}",
                    fix="somebody changed it: restore the object's earlier version, or delete it",
                )
            data = answer.bytes()
            return Content(bytes(data), _bare(meta["e_tag"]), meta["version"], meta["last_modified"].timestamp())

    def put(self, key: str, data: bytes, attributes: Mapping[str, str], *, replaces: str | None) -> Written:
        """Write one object, provided that it is still what it was.

        A write whose answer was lost is found again by its content, so that it is neither repeated nor taken for
        somebody else's.

        Args:
            key: the object.
            data: its content.
            attributes: its headers.
            replaces: ETag of the object to replace; None when there must be none.

        Raises:
            ConflictError: somebody else wrote it meanwhile.
        """
        mode: Any = {"e_tag": f'"{replaces}"'} if replaces is not None else "create"
        for attempt in range(1, _TRIES + 1):
            try:
                answer = obstore.put(self._quick, key, data, attributes=attributes, mode=mode, use_multipart=False)  # type: ignore[arg-type]
                return Written(_bare(answer["e_tag"]), answer["version"])
            except (failures.BaseError, OSError, ValueError) as raised:
                error = explained(raised, f"writing {key}", self.name)
                found = self._ours(key, data) if isinstance(error, (ConflictError, NotFoundError)) else None
                if found is not None:
                    return found
                if attempt == _TRIES or not (isinstance(error, UnreachableError) or " 409 " in error.where):
                    raise error from raised
            from random import uniform

            self._sleep(uniform(0.05, 0.2 * 2**attempt))  # noqa: S311
        raise AssertionError("unreachable")

    def _ours(self, key: str, data: bytes) -> Written | None:
        """The object as we wrote it, when an earlier try arrived after all and only its answer was lost."""
        try:
            found = self.get(key)
        except NotFoundError:
            return None
        return Written(found.etag, found.version) if found.data == data else None

    def put_parts(self, key: str, parts: Iterator[bytes], attributes: Mapping[str, str]) -> Written:
        """Write one big object in parts. When the iterator raises, the upload is aborted and nothing is written."""
        with self._explained(f"writing {key}"):
            answer = obstore.put(
                self._patient,
                key,
                parts,
                attributes=dict(attributes),
                use_multipart=True,
                chunk_size=PART,
                max_concurrency=_PARTS_AT_ONCE,
            )
            return Written(_bare(answer["e_tag"]), answer["version"])

    def delete(self, keys: Sequence[str]) -> None:
        """Delete objects, a thousand a request."""
        with self._explained("deleting old files"):
            for start in range(0, len(keys), 1000):
                obstore.delete(self._quick, list(keys[start : start + 1000]))

    @contextmanager
    def _explained(self, doing: str) -> Iterator[None]:
        try:
            yield
        except (failures.BaseError, OSError, ValueError) as error:
            raise explained(error, doing, self.name) from error


def _signing(credentials: Credentials) -> dict[str, Any]:
    """What requests are signed with. Credentials that end are asked for again by the library before they do: a release may last longer."""
    renew = credentials.renew
    if renew is None:
        keys = {"access_key_id": credentials.access_key, "secret_access_key": credentials.secret_key, "session_token": credentials.token}
        return {name: value for name, value in keys.items() if value}

    def present() -> S3Credential:
        now = renew()
        return {"access_key_id": now.access_key, "secret_access_key": now.secret_key, "token": now.token, "expires_at": now.expires}

    return {"credential_provider": present}


def _bare(etag: str | None) -> str:
    return (etag or "").strip('"')


@contextmanager
def _without_ambient_aws() -> Iterator[None]:
    """Hide AWS_* while a client is made: the library would let them override what it is told."""
    hidden = {name: os.environ.pop(name) for name in list(os.environ) if name.upper().startswith("AWS_")}
    try:
        yield
    finally:
        os.environ.update(hidden)


_RENEWING = "External AWS credential provider: "  # in the library's words, what a function raised that it asked for credentials
_EXPIRED = ("ExpiredToken", "RequestExpired", "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken")


def explained(error: Exception, doing: str, bucket: str) -> AmianaiError:
    """Our own error for one of the library's: absent, forbidden, unreachable and changed stay four different errors."""
    text = str(error).partition("\n\nDebug source")[0]
    said = text if len(text) <= 600 else f"{text[:300]} … {text[-300:]}"  # the request's address comes first, the service's reason last
    where = f"s3://{bucket}: {said}"
    if isinstance(error, (failures.AlreadyExistsError, failures.PreconditionError)):
        return ConflictError(f"Somebody else wrote to the bucket while {doing}.", where=where, fix="run the command again")
    if _RENEWING in text or any(code in text for code in _EXPIRED):
        renewing = text.partition(_RENEWING)[2]
        what = "ended and could not be renewed" if renewing else "have expired or are not valid"
        fix = "run `aws sso login` or renew the access key, then run the command again"
        return ForbiddenError(f"The AWS credentials {what} ({doing}).", where=renewing or where, fix=fix)
    if isinstance(error, (failures.PermissionDeniedError, failures.UnauthenticatedError)) or " 403 " in text or " 401 " in text:
        return ForbiddenError(
            f"These credentials may not do this ({doing}), or the bucket belongs to another account.",
            where=where,
            fix="`amianai doctor` compares them; `amianai status --json` shows bucket and account of the stack",
        )
    if isinstance(error, FileNotFoundError) or " 404 " in text:
        return NotFoundError(f"Not found while {doing}.", where=where)
    if "InsufficientStorage" in text:
        what, fix = f"The bucket has no room left ({doing}).", "free some space where it is kept, then run the command again: it goes on"
    elif isinstance(error, failures.GenericError):
        return UnreachableError(f"The bucket did not answer while {doing}.", where=where, fix="run the command again: it goes on")
    else:
        what = f"The bucket refused {doing}."
        fix = "delete the object that is named above: its key cannot be a file's path" if "invalid path" in text else ""
    return AmianaiError(what, where=where, fix=fix)
