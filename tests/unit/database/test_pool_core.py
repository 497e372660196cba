"""Which failures are repeated: decided without a server."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from psycopg import InterfaceError, OperationalError, errors
from psycopg_pool import PoolClosed, PoolTimeout

from amianai_infra import database
from amianai_infra.database.credentials import FixedCredentials, Login
from amianai_infra.database.endpoint import Endpoint
from amianai_infra.database.pool_core import Attempt, ConnectionLostError, Link, Phase, UnknownOutcomeError, judge, shown
from amianai_infra.errors import AmianaiError, ForbiddenError, UnreachableError

LOST = (OperationalError("the connection is closed"), errors.AdminShutdown("x"), errors.CrashShutdown("x"), InterfaceError("closed"))
CONFLICTS = (errors.SerializationFailure("x"), errors.DeadlockDetected("x"))
OWN = (errors.UniqueViolation("x"), errors.SyntaxError("x"), errors.QueryCanceled("x"), errors.InsufficientPrivilege("x"))


@pytest.mark.parametrize("error", [*LOST, *CONFLICTS, errors.ReadOnlySqlTransaction("x"), errors.TooManyConnections("x")])
@pytest.mark.parametrize("idempotent", [True, False])
def test_before_anything_was_done_it_is_done_again(error: Exception, idempotent: bool) -> None:
    assert judge(error, Attempt("before"), idempotent=idempotent) is None


@pytest.mark.parametrize("error", [*LOST, *CONFLICTS])
@pytest.mark.parametrize("phase", ["work", "commit"])
def test_idempotent_work_is_done_again(error: Exception, phase: Phase) -> None:
    assert judge(error, Attempt(phase), idempotent=True) is None


@pytest.mark.parametrize("error", LOST)
def test_other_work_is_not(error: Exception) -> None:
    assert isinstance(judge(error, Attempt("work"), idempotent=False), ConnectionLostError)
    assert isinstance(judge(error, Attempt("commit"), idempotent=False), UnknownOutcomeError)


@pytest.mark.parametrize("error", [*CONFLICTS, *OWN])
@pytest.mark.parametrize("phase", ["work", "commit"])
def test_what_the_database_says_of_the_work_is_said_as_it_is(error: Exception, phase: Phase) -> None:
    assert judge(error, Attempt(phase), idempotent=False) is error


@pytest.mark.parametrize("error", [*OWN, errors.ReadOnlySqlTransaction("x"), ValueError("x"), PoolTimeout("x")])
def test_what_would_not_pass_is_never_repeated(error: Exception) -> None:
    assert judge(error, Attempt("work"), idempotent=True) is error


@pytest.mark.parametrize("error", [InterfaceError("the cursor is closed"), errors.ProtocolViolation("x"), OperationalError("busy")])
@pytest.mark.parametrize("phase", ["work", "commit"])
def test_what_the_connection_outlived_is_no_outage(error: Exception, phase: Phase) -> None:
    assert judge(error, Attempt(phase, lost=False), idempotent=True) is error


@pytest.mark.parametrize(
    "error",
    [
        OperationalError("connection refused"),
        errors.InvalidPassword("password authentication failed"),
        UnreachableError("AWS did not answer.", fix="check the network and run the command again"),
        ForbiddenError("No usable AWS credentials.", fix="run `aws configure` or `aws sso login`, or set AWS_PROFILE"),
    ],
)
def test_what_a_server_logs_speaks_of_no_command(error: Exception, tmp_path: Path) -> None:
    link = Link(Endpoint("db.example.com", 5432, "amianai", tmp_path), FixedCredentials(Login("a", "b")), primary=True, name="x")
    link.again(error, 0.0)
    for said in (str(error), str(link.explained(""))):
        assert not re.search("`|run |command", said)
    assert "goes on trying" in link.explained("").fix


def test_a_closed_pool_is_not_waited_for() -> None:
    assert type(judge(PoolClosed("x"), Attempt("before"), idempotent=True)) is AmianaiError


def test_an_unknown_kind_of_statement_is_named_only() -> None:
    assert shown(3) == "(int)"


def test_the_public_names() -> None:
    assert {"Endpoint", "IamCredentials", "PoolSize", "SecretCredentials"} <= set(database.__all__), "what a pool is made of"
    assert all(getattr(database, name).__name__ == name for name in database.__all__)
    with pytest.raises(AttributeError):
        _ = database.Nothing


def test_type_checkers_of_applications_read_our_annotations() -> None:
    """Source: PEP 561."""
    assert (Path(database.__file__).parents[1] / "py.typed").is_file()


def test_nothing_is_loaded_before_it_is_used() -> None:
    code = (
        "import sys, amianai_infra.database; print('psycopg' in sys.modules); amianai_infra.database.Pool; print('psycopg' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\nTrue\n"


def test_without_the_driver_the_fix_is_named() -> None:
    code = (
        "import sys; sys.modules['psycopg'] = None\n"
        "from amianai_infra.errors import MissingToolError\n"
        "try:\n    from amianai_infra.database import Pool\n"
        "except MissingToolError as error: print(error.fix)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "amianai-infra[database]" in done.stdout
