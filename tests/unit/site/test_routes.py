"""The key-value store of a site's addresses: what is written when, and how the calls are signed on AWS."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse

from amianai_infra.errors import ForbiddenError, LockedError
from amianai_infra.rules.routing import CONFIG, Routing, Table, table
from amianai_infra.site.routes import Routes
from amianai_infra.target import AwsTarget
from tests.functional.site.key_values import Store

ARN = "arn:aws:cloudfront::123456789012:key-value-store/01234567-89ab-cdef-0123-456789abcdef"


def routes(store: Store, check: Any = lambda: None) -> Routes:
    return Routes(store, ARN, check, sleep=lambda seconds: None)  # type: ignore[arg-type]


def tables(count: int) -> list[Table]:
    return [table([f"page-{number}-{which}/index.html" for number in range(9000)], Routing()) for which in range(count)]


def test_a_small_site_is_one_call() -> None:
    store, wanted = Store(), table(["index.html", "a.html"], Routing())
    assert routes(store).put(wanted)
    assert store.items == wanted.items
    assert len(store.calls) == 1
    assert not routes(store).put(wanted)
    assert len(store.calls) == 1


def test_a_table_comes_in_force_when_all_of_it_is_there_and_the_one_before_it_stays() -> None:
    store = Store()
    one, two, three = tables(3)
    for wanted in (one, two, three):
        store.calls.clear()
        assert routes(store).put(wanted)
        written = [key for call in store.calls for key in call]
        assert [key for key in written[: written.index(CONFIG)] if key.startswith(wanted.name)] == list(wanted.keys)
    assert store.items == {**two.keys, **three.items}


def test_what_was_cut_off_anywhere_is_finished() -> None:
    (wanted, other) = tables(2)
    for calls in range(4):
        store = Store()
        routes(store).put(other)
        left = [calls]

        def cut(left: list[int] = left) -> None:
            if not left[0]:
                raise KeyboardInterrupt
            left[0] -= 1

        try:
            routes(store, cut).put(wanted)
        except KeyboardInterrupt:
            assert store.items[CONFIG] == other.config or store.items.items() >= wanted.items.items()
        routes(store).put(wanted)
        assert store.items.items() >= wanted.items.items()


def test_somebody_elses_write_is_seen_and_the_table_written_all_the_same() -> None:
    store, wanted = Store(), table(["index.html"], Routing())
    store.stolen = 2
    assert routes(store).put(wanted)
    assert store.items == wanted.items
    store.stolen = 99
    with pytest.raises(LockedError, match="Somebody else writes"):
        routes(store).put(table(["a.html"], Routing()))


def test_a_missing_right_is_named() -> None:
    store = Store()
    store.refuse = "AccessDeniedException"
    with pytest.raises(ForbiddenError):
        routes(store).put(table(["a.html"], Routing()))


def test_what_somebody_wrote_by_hand_is_replaced() -> None:
    store, wanted = Store(), table(["index.html"], Routing())
    store.items = {CONFIG: "[]", "stray": "x"}
    assert routes(store).put(wanted)
    assert store.items == wanted.items


def test_on_aws_calls_are_signed_for_every_region_and_sent_to_the_accounts_own_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Signature version 4A, which the service asks for. It cannot be proved here that AWS accepts it."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
    client = AwsTarget(tmp_path, "eu-central-1", "eeyore").client("cloudfront-keyvaluestore")
    sent: list[Any] = []

    class Raw:
        def stream(self, *args: Any, **kwargs: Any) -> Any:
            return iter([b'{"ItemCount": 0, "TotalSizeInBytes": 0}'])

    def answered(request: Any, **_: Any) -> AWSResponse:
        sent.append(request)
        return AWSResponse(request.url, 200, {"ETag": "E"}, Raw())  # type: ignore[arg-type]

    client.meta.events.register("before-send", answered)
    client.update_keys(KvsARN=ARN, IfMatch="E", Puts=[{"Key": "k", "Value": "v"}])
    (request,) = sent
    assert request.url.startswith("https://123456789012.cloudfront-kvs.global.api.aws/key-value-stores/")
    authorization = request.headers["Authorization"]
    said = authorization.decode() if isinstance(authorization, bytes) else authorization
    assert re.match(r"AWS4-ECDSA-P256-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/\d{8}/cloudfront-keyvaluestore/aws4_request", said)
    assert request.headers["X-Amz-Region-Set"] in ("*", b"*")
