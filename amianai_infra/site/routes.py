"""Puts a release's addresses in force: writes its table to the key-value store that the viewer function reads.

A table's own keys go up first, the one key that puts it in force with the last of them; what earlier tables left is deleted then, but
for the table that was in force until now: the edges hear of a change one after another. Whatever is cut off is done by the next call.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from amianai_infra.errors import LockedError
from amianai_infra.rules.routing import CONFIG, Table
from amianai_infra.target import aws_error

if TYPE_CHECKING:
    from amianai_infra.target import Target

AT_ONCE = 50
"""Keys of one call. Source: CloudFront Developer Guide, "Quotas on key value stores"."""
_TRIES = 5


@dataclass(frozen=True)
class Change:
    """What is to be written, in this order.

    Attributes:
        puts: keys with their values.
        deletes: keys that go then.
    """

    puts: Mapping[str, str]
    deletes: Sequence[str] = ()


class Routes:
    """The key-value store of one site.

    Args:
        target: the environment.
        arn: the store's ARN.
        check: raises when the release must not go on; asked before every call that writes.
        sleep: how to wait.
    """

    def __init__(self, target: Target, arn: str, check: Callable[[], None], *, sleep: Callable[[float], None] = time.sleep) -> None:
        self._client = target.client("cloudfront-keyvaluestore")
        self._arn = arn
        self._check = check
        self._sleep = sleep

    def put(self, table: Table) -> bool:
        """Put a table in force; whether it was not already.

        Raises: as `change`.
        """

        def wanted(found: dict[str, str]) -> Change | None:
            if found.get(CONFIG) == table.config and table.keys.keys() <= found.keys():
                return None
            before = _table_of(found)
            old = [key for key in found if key != CONFIG and key.partition("/")[0] not in (table.name, before)]
            return Change({**{key: value for key, value in table.keys.items() if key not in found}, CONFIG: table.config}, old)

        return self.change(wanted)

    def change(self, wanted: Callable[[dict[str, str]], Change | None]) -> bool:
        """Change the store by what it holds; whether anything was to be changed. It is decided anew where somebody else wrote meanwhile.

        Raises:
            LockedError: somebody else writes to the store all the time.
            ForbiddenError, NotFoundError, UnreachableError: as the names say.
        """
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            for _ in range(_TRIES):
                try:
                    return self._change(wanted)
                except ClientError as error:
                    if error.response["Error"]["Code"] != "ConflictException":
                        raise
                    self._sleep(0.5)
        except (BotoCoreError, ClientError) as error:
            raise aws_error(error, f"writing the site's addresses to {self._arn}") from error
        raise LockedError("Somebody else writes to the store of the site's addresses.", where=self._arn, fix="run the command again")

    def _change(self, wanted: Callable[[dict[str, str]], Change | None]) -> bool:
        version = self._client.describe_key_value_store(KvsARN=self._arn)["ETag"]
        chosen = wanted(dict(self._found()))
        if chosen is None:
            return False
        new = [{"Key": key, "Value": value} for key, value in chosen.puts.items()]
        for batch in _batches([*new, *({"Key": key} for key in chosen.deletes)]):
            self._check()
            puts, deletes = [one for one in batch if "Value" in one], [one for one in batch if "Value" not in one]
            said = {**({"Puts": puts} if puts else {}), **({"Deletes": deletes} if deletes else {})}
            version = self._client.update_keys(KvsARN=self._arn, IfMatch=version, **said)["ETag"]
        return True

    def _found(self) -> Iterator[tuple[str, str]]:
        for page in self._client.get_paginator("list_keys").paginate(KvsARN=self._arn, PaginationConfig={"PageSize": AT_ONCE}):
            for item in page.get("Items", []):
                yield item["Key"], item["Value"]


def _table_of(found: dict[str, str]) -> str:
    """The table in force; empty when there is none, or somebody wrote something else."""
    import json

    try:
        return str(json.loads(found[CONFIG])["t"])
    except (KeyError, TypeError, ValueError):
        return ""


def _batches(items: Sequence[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    left = iter(items)
    while batch := list(islice(left, AT_ONCE)):
        yield batch
