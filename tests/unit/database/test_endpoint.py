from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from amianai_infra.database.endpoint import RDS_CA, Endpoint
from amianai_infra.errors import ConfigurationError

HERE = Endpoint("db.example.com", 5432, "amianai", Path("/tmp/ca.pem"))


def test_every_connection_is_verified() -> None:
    parameters = HERE.parameters("someone", "test")
    assert (parameters["sslmode"], parameters["sslrootcert"]) == ("verify-full", "/tmp/ca.pem")
    assert HERE.libpq("someone")["PGSSLMODE"] == "verify-full"
    assert "sslmode=verify-full" in HERE.url("someone")


def test_through_a_tunnel_the_name_stays() -> None:
    tunnelled = HERE.at(("127.0.0.1", 15432))
    assert (tunnelled.host, tunnelled.port) == ("db.example.com", 15432)
    assert tunnelled.parameters("someone", "test")["hostaddr"] == "127.0.0.1"
    assert tunnelled.libpq("someone")["PGHOSTADDR"] == "127.0.0.1"
    assert HERE.at(None) == HERE


def test_a_url_leads_through_the_tunnel_and_names_the_file_with_the_password() -> None:
    url = HERE.at(("127.0.0.1", 15432)).url("some one", Path("/a b/pgpass"))
    known = conninfo_to_dict(url)
    assert (known["host"], known["hostaddr"], known["port"]) == ("db.example.com", "127.0.0.1", "15432")
    assert (known["user"], known["passfile"], known["sslmode"]) == ("some one", "/a b/pgpass", "verify-full")
    assert "password" not in known


def test_replicas_are_the_same_on_other_hosts() -> None:
    found = HERE.replicas_from_environment({"DATABASE_REPLICA_HOSTS": "one.example.com, two.example.com,"})
    assert [place.host for place in found] == ["one.example.com", "two.example.com"]
    assert {(place.port, place.database, place.ca) for place in found} == {(5432, "amianai", Path("/tmp/ca.pem"))}
    assert HERE.replicas_from_environment({}) == []


@given(
    user=st.text(st.characters(min_codepoint=33, max_codepoint=0x2FF), min_size=1, max_size=20),
    name=st.text(st.characters(min_codepoint=33, max_codepoint=0x2FF), min_size=1, max_size=20),
)
def test_a_url_reads_as_what_it_was_made_from(tmp_path_factory: pytest.TempPathFactory, user: str, name: str) -> None:
    ca = tmp_path_factory.getbasetemp() / "a b.pem"
    ca.touch()
    made = Endpoint("db.example.com", 5433, name, ca)
    assert Endpoint.from_url(made.url(user, Path("/a b/pgpass"))) == (made, user)


@pytest.mark.parametrize("mode", ["disable", "allow", "prefer", "require", "verify-ca"])
def test_a_lowered_mode_is_refused_by_name(mode: str) -> None:
    with pytest.raises(ConfigurationError, match="lowers sslmode"):
        Endpoint.from_url(f"postgresql://someone@db.example.com/amianai?sslmode={mode}")


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("postgresql://someone:hunter2@db.example.com/amianai", "holds a password"),
        ("postgresql://someone@db.example.com/amianai?hostaddr=10.0.0.1", "options that are not taken: hostaddr"),
        ("postgresql://someone@db.example.com/amianai?sslcrl=x&options=-csearch_path", "options, sslcrl"),
        ("mysql://someone@db.example.com/amianai", "not a PostgreSQL URL"),
        ("postgresql:///amianai", "not a PostgreSQL URL"),
        ("postgresql://someone@db.example.com:port/amianai", "port"),
    ],
)
def test_what_a_url_may_not_say(url: str, reason: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Endpoint.from_url(url)
    assert reason in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(("file", "reason"), [("system", "authorities of the system"), ("nowhere.pem", "does not exist"), (".", "exist")])
def test_authorities_are_a_file_that_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, reason: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "system").touch()
    url = "postgresql://someone@db.example.com/amianai"
    with pytest.raises(ConfigurationError, match=reason):
        Endpoint.from_url(f"{url}?sslrootcert={file}")
    with pytest.raises(ConfigurationError, match=reason):
        Endpoint.from_environment({"DATABASE_URL": url, "DATABASE_CA": file})


def test_from_the_environment(tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    ca.touch()
    environ = {"DATABASE_HOST": "db.example.com", "DATABASE_PORT": "5433", "DATABASE_NAME": "amianai", "DATABASE_USER": "someone"}
    assert Endpoint.from_environment(environ) == (Endpoint("db.example.com", 5433, "amianai", RDS_CA), "someone")
    named, _ = Endpoint.from_environment({**environ, "DATABASE_CA": str(ca)})
    assert named.ca == ca
    assert Endpoint.from_environment({"DATABASE_URL": "postgres://a@b/c"})[0].host == "b"
    with pytest.raises(ConfigurationError, match="DATABASE_HOST and DATABASE_NAME"):
        Endpoint.from_environment({})
    with pytest.raises(ConfigurationError, match="not a number"):
        Endpoint.from_environment({**environ, "DATABASE_PORT": "x"})


def test_through_a_tunnel_the_environment_says_what_the_certificate_names() -> None:
    environ = {"DATABASE_HOST": "127.0.0.1", "DATABASE_PORT": "15432", "DATABASE_NAME": "amianai"}
    found, _ = Endpoint.from_environment({**environ, "DATABASE_SERVER_NAME": "db.example.com"})
    assert found == Endpoint("db.example.com", 15432, "amianai", RDS_CA, "127.0.0.1")
    assert found.replicas_from_environment({"DATABASE_REPLICA_HOSTS": "one.example.com"})[0].address == ""
    assert Endpoint.from_environment({**environ, "DATABASE_SERVER_NAME": "127.0.0.1"})[0].address == ""
    with pytest.raises(ConfigurationError, match="has no address"):
        Endpoint.from_environment({**environ, "DATABASE_HOST": "nowhere.invalid", "DATABASE_SERVER_NAME": "db.example.com"})


HOSTILE = {
    "PGHOST": "elsewhere.example.com",
    "PGHOSTADDR": "10.0.0.1",
    "PGOPTIONS": "-csearch_path=theirs",
    "PGREQUIREAUTH": "none",
    "PGTARGETSESSIONATTRS": "standby",
    "PGSSLMODE": "disable",
    "PGSSLCERT": "/theirs.crt",
    "PGSSLCERTMODE": "require",
    "PGSSLCRL": "/theirs.crl",
    "PGREQUIREPEER": "somebody",
    "PGCLIENTENCODING": "LATIN1",
    "PGAPPNAME": "theirs",
}


def libpq_sees() -> dict[bytes, bytes | None]:
    """What libpq makes of the parameters and the environment. Nothing is connected to: the attempt is only begun."""
    conninfo = make_conninfo("", **HERE.at(("127.0.0.1", 9)).parameters("someone", "test"))
    return {one.keyword: one.val for one in pq.PGconn.connect_start(conninfo.encode()).info}


def test_the_environment_of_libpq_does_not_reach_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("PG")]:
        monkeypatch.delenv(name)
    plain = libpq_sees()
    for name, value in HOSTILE.items():
        monkeypatch.setenv(name, value)
    assert libpq_sees() == plain
    assert (plain[b"hostaddr"], plain[b"target_session_attrs"]) == (b"127.0.0.1", b"any")


@pytest.mark.parametrize("name", ["PGSERVICE", "PGDATESTYLE"])
def test_what_no_parameter_outranks_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "german")
    with pytest.raises(ConfigurationError, match=f"{name} would change"):
        HERE.parameters("someone", "test")
