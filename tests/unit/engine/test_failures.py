"""What the engine says when it fails becomes an error with the next step, and the right exit code."""

from __future__ import annotations

import pytest

from amianai_infra.engine.events import Problem, Record
from amianai_infra.engine.failures import classify, command_failure, complaints, failure
from amianai_infra.engine.process import Completed
from amianai_infra.errors import ConfigurationError, EngineError, ForbiddenError, LockedError, MissingToolError, UnreachableError

NOTHING = Completed("", "", 1)
_SECRETS = "error: get stack secrets manager: secrets (code=FailedPrecondition): operation error KMS: Decrypt, StatusCode: 400,"
_KEY = "arn:aws:kms:us-east-1:123456789012:key/0b5c7c2e-7a5e-4d5c-9d0a-3f2d6a1b9c11"


@pytest.mark.parametrize(
    ("text", "kind", "hint"),
    [
        ("the stack is currently locked by 1 lock(s)", LockedError, "state locks"),
        ("error: get stack secrets manager: incorrect passphrase", ConfigurationError, "PULUMI_CONFIG_PASSPHRASE"),
        (f"{_SECRETS} KMSInvalidStateException: {_KEY} is pending deletion.", EngineError, "is pending deletion: `amianai setup` cancels"),
        (f"{_SECRETS} DisabledException: {_KEY} is disabled.", EngineError, "is disabled or cannot be used: `amianai setup` enables it"),
        (f"{_SECRETS} KMSInvalidStateException: {_KEY} is unavailable.", EngineError, "aws kms describe-key"),
        (f"{_SECRETS} AccessDeniedException: no permission", ForbiddenError, "amianai doctor"),
        (f"{_SECRETS} api error ExpiredTokenException: it expired", ForbiddenError, "aws sso login"),
        ("write /x/prod.json: no space left on device", EngineError, "disk space"),
        ("open /x: read-only file system", EngineError, "writable"),
        ("api error ExpiredToken: The security token included in the request is expired", ForbiddenError, "aws sso login"),
        ("AccessDenied: not authorized to perform: rds:CreateDBInstance", ForbiddenError, "amianai doctor"),
        ("dial tcp 127.0.0.1:9: connect: connection refused", UnreachableError, "sandbox status"),
        ("aws (resource) plugin [aws] did not begin responding to RPC connections", UnreachableError, "sandbox status"),
        ("rpc error: code = Unavailable desc = error reading from server: EOF", UnreachableError, "sandbox status"),
        ("no resource plugin 'pulumi-resource-aws' found", MissingToolError, "on PATH"),
        ("AssociateRouteTable: InvalidRouteTableID.NotFound: The route table 'rtb-1' does not exist", EngineError, "preview --refresh"),
        ("DBInstanceAlreadyExists: DB instance already exists", EngineError, "run the command again"),
    ],
)
def test_known_messages_get_their_next_step(text: str, kind: type[Exception], hint: str) -> None:
    found, fix = classify(text)
    assert found is kind
    assert hint in fix


def test_the_cause_and_the_resource_are_named() -> None:
    record = Record("up")
    record.problems.append(Problem("urn:pulumi:prod::p::aws:rds/instance:Instance::database", "InsufficientDBInstanceCapacity"))
    error = failure("up", record, NOTHING)
    assert "database (aws:rds/instance:Instance): InsufficientDBInstanceCapacity" in error.where
    assert error.exit_code == 1


def test_many_problems_are_cut() -> None:
    record = Record("preview")
    record.problems += [Problem("", f"problem {number} " + "x" * 5000) for number in range(20)]
    error = failure("preview", record, NOTHING)
    assert "and 12 more" in error.where
    assert len(error.where) < 20_000


def test_without_events_the_output_tells() -> None:
    ended = Completed("Updating (prod):\n", "warning: old\nerror: something specific\n", 255)
    assert "something specific" in failure("up", Record("up"), ended).where
    assert complaints(ended) == ["something specific"]
    assert complaints(Completed("", "panic: boom\n", 2)) == ["panic: boom"]
    assert "code 7" in command_failure("Creating the stack", Completed("", "", 7)).where


def test_what_the_program_raised_is_told_once_and_without_its_traceback() -> None:
    raised = "invoke of aws:route53/getZone:getZone failed: no hosted zones match 'Z1'"
    record = Record("preview")
    record.problems += [
        Problem(
            "",
            f'python inline source runtime error: {raised}\nTraceback (most recent call last):\n  File "x.py", line 1\nException: {raised}',
        ),
        Problem("", f"Exception calling application: {raised}"),
    ]
    error = failure("preview", record, NOTHING)
    assert error.where == raised
    assert (error.exit_code, "dns.zone_id" in error.fix) == (2, True)


@pytest.mark.parametrize(("code", "told"), [(-9, "was killed (signal 9)"), (3, "ended with code 3 and said nothing")])
def test_an_engine_that_ended_without_a_word_is_told_as_that(code: int, told: str) -> None:
    ended = Completed("", "", code)
    for error in (failure("up", Record("up", 0), ended), command_failure("Writing the stack's state", ended)):
        assert told in error.where
        assert "run the command again" in error.fix
