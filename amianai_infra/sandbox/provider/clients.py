"""The boto3 clients of the provider: one a service and region, to the emulator and nowhere else."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

from amianai_infra.sandbox.provider import validation

if TYPE_CHECKING:
    from amianai_infra.sandbox.emulator import Key


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
            retries={"total_max_attempts": 2, "mode": "standard"},
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
        return client

    def _stay_home(self, request: Any, **_: Any) -> None:
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
