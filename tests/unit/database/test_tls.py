"""The authorities of RDS, and how their list is replaced."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from pathlib import Path

import pytest

from amianai_infra.database.endpoint import RDS_CA
from amianai_infra.database.tls import _PEM, authorities, refresh
from amianai_infra.errors import UntrustedError

NOW = datetime(2027, 1, 2, tzinfo=UTC)


def test_the_list_holds_what_its_header_says() -> None:
    text = RDS_CA.read_text(encoding="ascii")
    found = authorities(text)
    assert len(found) == text.count("BEGIN CERTIFICATE") == 120
    assert "120 certificates" in text
    assert all(f"# {name}" in text for name in ("Source:", "Taken:", "Expires:", "Refresh:"))


def test_every_region_has_an_authority_for_the_years_to_come() -> None:
    names = {
        value
        for one in authorities(RDS_CA.read_text(encoding="ascii"))
        if ssl.cert_time_to_seconds(one["notAfter"]) > datetime(2036, 1, 1, tzinfo=UTC).timestamp()
        for part in one["subject"]
        for key, value in part
        if key == "commonName"
    }
    for region in ("us-east-1", "us-west-2", "eu-west-1", "eu-central-1", "ap-southeast-2"):
        assert f"Amazon RDS {region} Root CA RSA2048 G1" in names, "the authority that the instance is created with"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "ca.pem"
    path.write_bytes(RDS_CA.read_bytes())
    return path


def test_refreshing_keeps_the_authorities_of_the_proxy(file: Path) -> None:
    every = _PEM.findall(file.read_text())
    of_rds = [one for one in every if "Amazon RDS" in str(authorities(one))]
    assert refresh(file, lambda: "\r\n".join(of_rds).replace("\n", "\r\n").replace("\r\r", "\r"), NOW) == 120
    text = file.read_text()
    assert "Taken:   2027-01-02; 120 certificates" in text
    assert sorted(_PEM.findall(text)) == sorted(every)


@pytest.mark.parametrize("what", ["", "<html>", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_what_is_no_list_changes_nothing(file: Path, what: str) -> None:
    before = file.read_bytes()
    with pytest.raises(UntrustedError, match="not AWS's list"):
        refresh(file, lambda: what, NOW)
    assert file.read_bytes() == before


def test_a_foreign_authority_among_them_is_refused(file: Path, tmp_path: Path) -> None:
    from amianai_infra.sandbox.certificates import ensure_certificates

    before = file.read_bytes()
    foreign = ensure_certificates(tmp_path / "tls").ca.read_text()
    with pytest.raises(UntrustedError):
        refresh(file, lambda: before.decode() + foreign, NOW)
    assert file.read_bytes() == before
