from __future__ import annotations

from itertools import islice
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amianai_infra.rules.connections import Backoff, Kind, hardware, kind_of, max_connections, pool_size


@pytest.mark.parametrize(
    ("sqlstate", "text", "kind"),
    [
        ("57P01", "", "gone"),
        ("57P03", "", "gone"),
        ("08006", "", "gone"),
        ("08P01", "", "gone"),
        ("25006", "", "standby"),
        ("0A000", "cannot set transaction read-write mode during recovery", "standby"),
        ("0A000", "cached plan must not change result type", "outdated"),
        ("0A000", "something else", "other"),
        ("40001", "", "conflict"),
        ("40P01", "", "conflict"),
        ("28P01", "", "login"),
        ("53300", "", "busy"),
        ("57014", "canceling statement due to statement timeout", "other"),
        ("23505", "password authentication failed", "other"),
        (None, "the connection is closed", "gone"),
        (None, 'connection failed: FATAL:  password authentication failed for user "a"', "login"),
        (None, 'FATAL:  PAM authentication failed for user "a"', "login"),
        (None, "connection failed: SSL error: certificate verify failed", "untrusted"),
        (None, 'server certificate for "a" does not match host name "b"', "untrusted"),
        (None, 'root certificate file "/x" does not exist', "untrusted"),
        (None, "server does not support SSL, but SSL was required", "untrusted"),
        (None, 'FATAL:  no pg_hba.conf entry for host "1.2.3.4"', "refused"),
        (None, 'FATAL:  database "x" does not exist', "absent"),
        (None, "FATAL:  sorry, too many clients already", "busy"),
        (None, "FATAL:  remaining connection slots are reserved", "busy"),
        (None, "FATAL:  the database system is starting up", "gone"),
        (None, "connection refused", "gone"),
    ],
)
def test_what_a_failure_means(sqlstate: str | None, text: str, kind: Kind) -> None:
    assert kind_of(sqlstate, text, operational=True) == kind


def test_without_a_code_only_operational_errors_are_connections() -> None:
    assert kind_of(None, "the connection is closed", operational=False) == "other"


@given(st.integers(0, 10_000))
def test_waits_double_with_jitter_up_to_a_ceiling(seed: int) -> None:
    delays = list(islice(Backoff(0.05, 1.0).delays(Random(seed).random), 12))
    for number, delay in enumerate(delays):
        full = min(0.05 * 2**number, 1.0)
        assert full / 2 <= delay <= full


@pytest.mark.parametrize(
    ("name", "cpus", "gib", "most"),
    [
        ("db.t3.micro", 2, 1.0, 8),
        ("db.t4g.small", 2, 2.0, 8),
        ("db.t3.medium", 2, 4.0, 8),
        ("db.t3.xlarge", 4, 16.0, 16),
        ("db.m6g.large", 2, 8.0, 8),
        ("db.r6g.4xlarge", 16, 128.0, 64),
        ("db.x2g.16xlarge", 64, 1024.0, 256),
        ("db.unheard.of", 2, 1.0, 8),
    ],
)
def test_sizes_follow_the_instance_class(name: str, cpus: int, gib: float, most: int) -> None:
    assert hardware(name) == (cpus, gib)
    size = pool_size(name)
    assert size.most == most
    assert 1 <= size.least <= size.most <= max_connections(name) // 5


def test_the_smallest_instance_allows_about_a_hundred() -> None:
    assert 80 <= max_connections("db.t3.micro") <= 112
    assert max_connections("db.r6g.16xlarge") == 5000
