"""A CloudFront KeyValueStore for tests: the calls of boto3's client that a release makes, with the service's rules."""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError

from amianai_infra.site.routes import AT_ONCE


class Store:
    """One store: an ETag, fifty keys a call."""

    def __init__(self) -> None:
        self.items: dict[str, str] = {}
        self.calls: list[list[str]] = []
        self.version = 0
        self.stolen = 0
        self.refuse = ""

    def client(self, service: str) -> Any:
        assert service == "cloudfront-keyvaluestore"
        return self

    def describe_key_value_store(self, KvsARN: str) -> dict[str, Any]:
        if self.refuse:
            raise ClientError({"Error": {"Code": self.refuse, "Message": "no"}}, "DescribeKeyValueStore")
        return {"ETag": str(self.version)}

    def get_paginator(self, name: str) -> Any:
        assert name == "list_keys"
        return self

    def paginate(self, KvsARN: str, PaginationConfig: dict[str, int]) -> Any:
        listed = [{"Key": key, "Value": value} for key, value in sorted(self.items.items())]
        return [{"Items": listed[: PaginationConfig["PageSize"]]}, {"Items": listed[PaginationConfig["PageSize"] :]}]

    def update_keys(self, KvsARN: str, IfMatch: str, Puts: Any = (), Deletes: Any = ()) -> dict[str, str]:
        assert 0 < len(Puts) + len(Deletes) <= AT_ONCE
        if self.stolen:
            self.stolen -= 1
            self.version += 1
        if IfMatch != str(self.version):
            raise ClientError({"Error": {"Code": "ConflictException", "Message": "changed"}}, "UpdateKeys")
        self.items |= {one["Key"]: one["Value"] for one in Puts}
        for one in Deletes:
            del self.items[one["Key"]]
        self.calls.append([one["Key"] for one in (*Puts, *Deletes)])
        self.version += 1
        return {"ETag": str(self.version)}
