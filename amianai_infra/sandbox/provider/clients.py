"""The boto3 clients of the provider: one a service and region, to the emulator and nowhere else."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from amianai_infra.sandbox.provider import validation

if TYPE_CHECKING:
    from amianai_infra.sandbox.emulator import Key


ATTEMPTS = 25
"""As the official provider: throttling, failures of the service and lost connections are worth as many."""

_REFUSED = 6
_THROTTLED = ("Throttl", "RequestLimitExceeded", "SlowDown", "TooManyRequests", "PriorRequestNotComplete", "RequestThrottled")
# What a repeated request is answered when the first one was carried out: the operations that say so, and the codes' parts.
_SO_ALREADY = (
    (("Attach", "Associate", "Authorize", "Add"), ("Already", "Duplicate")),
    (("Detach", "Disassociate", "Revoke", "Remove", "Delete", "Release"), ("NotAttached", "NotAssociated", "NotFound", "NoSuch")),
)
_READING = ("Describe", "Get", "List", "Head")


def lost(error: BaseException | None, status: int = 0, code: str = "") -> bool:
    """Whether nobody knows if a request was carried out: no answer came, or the service failed over it."""
    from botocore.exceptions import ClientError, EndpointConnectionError, HTTPClientError
    from botocore.exceptions import ConnectionError as NoConnection

    if isinstance(error, ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        code = error.response.get("Error", {}).get("Code", "")
    elif error is not None:
        return isinstance(error, (HTTPClientError, NoConnection)) and not isinstance(error, EndpointConnectionError)
    return status >= 500 and not code.startswith(_THROTTLED)


class AbandonedError(Exception):
    """The engine that asked is gone: nothing more is done for it."""


class EscapedError(Exception):
    """A request was about to leave for somewhere that is not the emulator."""


class Clients:
    """Makes and keeps boto3 clients.

    Args:
        endpoint: the emulator's address, `http://127.0.0.1:4566`.
        key: what requests to it are signed with.
    """

    def __init__(self, endpoint: str, key: Key) -> None:
        self.endpoint = endpoint.rstrip("/")
        self._lock = threading.Lock()
        self._made: dict[tuple[str, str], Any] = {}
        self._session: Any = None
        self._key = key
        self._call = threading.local()

    @contextmanager
    def during(self, active: Callable[[], bool]) -> Iterator[None]:
        """Send requests in this thread only as long as whoever asked is there."""
        self._call.active = active
        try:
            yield
        finally:
            self._call.active = None

    @contextmanager
    def creating(self) -> Iterator[None]:
        """Leave it to the caller to repeat what may have been carried out: a second creation would make a second resource."""
        self._call.creating = True
        try:
            yield
        finally:
            self._call.creating = False

    def get(self, service: str, region: str) -> Any:
        """The client of a service in a region; safe to share between threads."""
        key = (service, region)
        found = self._made.get(key)
        if found is None:
            with self._lock:
                found = self._made.get(key)
                if found is None:
                    found = self._made[key] = self._make(service, region)
        return found

    def _make(self, service: str, region: str) -> Any:
        import boto3
        from botocore.config import Config

        if self._session is None:
            self._session = boto3.Session(botocore_session=_isolated_session())
        config = Config(
            connect_timeout=5,
            read_timeout=60,
            retries={"total_max_attempts": ATTEMPTS, "mode": "standard"},
            max_pool_connections=32,
            proxies={},
            s3={"addressing_style": "path"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        client = self._session.client(
            service,
            region_name=region,
            endpoint_url=self.endpoint,
            aws_access_key_id=self._key.access_key,
            aws_secret_access_key=self._key.secret_key,
            config=config,
        )
        validation.watch(client)
        client.meta.events.register_last("before-send", self._stay_home)
        service_id = client.meta.service_model.service_id.hyphenize()
        client.meta.events.register_first(f"needs-retry.{service_id}", self._not_again)
        client.meta.events.register(f"after-call.{service_id}", self._done_before)
        return client

    def _not_again(self, operation: Any, attempts: int, response: Any = None, caught_exception: Any = None, **_: Any) -> bool | None:
        """False where a request must not be repeated; None leaves it to botocore."""
        from botocore.exceptions import EndpointConnectionError

        status, code = (response[0].status_code, response[1].get("Error", {}).get("Code", "")) if response else (0, "")
        unsure = lost(caught_exception, status, code)
        self._call.unsure = unsure or (attempts > 1 and self._call.unsure)
        if isinstance(caught_exception, EndpointConnectionError):
            return False if attempts >= _REFUSED else None
        creating = getattr(self._call, "creating", False) and not operation.name.startswith(_READING)
        return False if creating and unsure else None

    def _done_before(self, http_response: Any, parsed: Any, model: Any, **_: Any) -> None:
        """Take "it is so already" for success where an earlier attempt of the same call may have made it so."""
        code = parsed.get("Error", {}).get("Code", "")
        if code and self._call.unsure:
            answers = [parts for verbs, parts in _SO_ALREADY if model.name.startswith(verbs)]
            if any(part in code for parts in answers for part in parts):
                del parsed["Error"]
                http_response.status_code = 200

    def _stay_home(self, request: Any, **_: Any) -> None:
        active = getattr(self._call, "active", None)
        if active is not None and not active():
            raise AbandonedError("the engine that asked for this is gone")
        if not request.url.startswith((f"{self.endpoint}/", f"{self.endpoint}?")) and request.url != self.endpoint:
            raise EscapedError(f"the sandbox's provider talks to {self.endpoint} only, not to {request.url.split('?')[0]}")


def _isolated_session() -> Any:
    """A botocore session that reads neither the environment nor a profile."""
    from botocore.configprovider import BOTOCORE_DEFAUT_SESSION_VARIABLES
    from botocore.session import Session

    variables = {name: (key, None, default, convert) for name, (key, _, default, convert) in BOTOCORE_DEFAUT_SESSION_VARIABLES.items()}
    variables["config_file"] = (None, None, os.devnull, None)
    variables["credentials_file"] = (None, None, os.devnull, None)
    return Session(session_vars=variables)
