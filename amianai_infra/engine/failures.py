"""What the engine reported when it failed, as errors that say what, where and what to do next."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from amianai_infra.engine.display import shorten
from amianai_infra.engine.events import Operation, Problem, Record, done_word, plain, short_type
from amianai_infra.engine.process import Completed
from amianai_infra.errors import (
    AmianaiError,
    ConfigurationError,
    EngineError,
    ForbiddenError,
    LockedError,
    MissingToolError,
    UnreachableError,
)

_DOING: dict[str, str] = {
    "preview": "Comparing the program with the stack failed",
    "up": "Updating the stack failed",
    "refresh": "Reading the stack's resources failed",
    "destroy": "Removing the stack failed",
}
_MOST = 8

EXISTS = re.compile(
    r"already ?exists|Duplicate|(Subnet|Resource|Operation)\.?(Conflict|Abort)|ResourceConflict|AlreadyOwnedByYou|ResourceInUse", re.I
)
"""What a service says when what is to be created is there already."""
UNSURE = re.compile(
    r"does not answer|connection|timed? ?out|deadline|reset|EOF|broken pipe|unavailable|cancell?ed|Throttl|TooManyRequests|SlowDown"
    r"|RequestLimitExceeded|PriorRequestNotComplete|Internal ?(Server)? ?(Error|Failure)|StatusCode: 5|HTTP.? 5\d\d|\b5\d\d:|\(5\d\d\)",
    re.I,
)
"""What is said when nobody knows whether a request was carried out."""

# What the engine writes, the error it is, and what to do about it. The first match counts.
_KNOWN: tuple[tuple[re.Pattern[str], type[AmianaiError], str], ...] = (
    (re.compile(r"currently locked by", re.I), LockedError, "wait until it ends; `amianai state locks` shows who it is"),
    (
        re.compile(r"is pending deletion", re.I),
        EngineError,
        "the KMS key of the state's secrets is pending deletion: `amianai setup` cancels that, as long as its days of waiting last",
    ),
    (
        re.compile(r"DisabledException|KMSInvalidStateException", re.I),
        EngineError,
        "the KMS key of the state's secrets is disabled or cannot be used: `amianai setup` enables it (`aws kms describe-key` shows it)",
    ),
    (
        re.compile(r"incorrect passphrase|passphrase must be set|PULUMI_CONFIG_PASSPHRASE", re.I),
        ConfigurationError,
        "set PULUMI_CONFIG_PASSPHRASE or PULUMI_CONFIG_PASSPHRASE_FILE to the stack's passphrase",
    ),
    (re.compile(r"no space left on device|disk quota exceeded", re.I), EngineError, "free some disk space and run the command again"),
    (re.compile(r"read-only file system", re.I), EngineError, "the state directory must be writable; mount it read-write or move it"),
    (re.compile(r"permission denied", re.I), EngineError, "check who owns the state directory and the project folder"),
    (
        re.compile(
            r"ExpiredToken|security token .* expired|InvalidClientTokenId|no valid credential|NoCredentialProviders|get identity"
            r"|AssumeRoleTokenProvider|CredentialsUnavailable",
            re.I,
        ),
        ForbiddenError,
        "run `aws sso login` or renew the access key, then run the command again",
    ),
    (
        re.compile(r"AccessDenied|UnauthorizedOperation|not authorized to perform", re.I),
        ForbiddenError,
        "`amianai doctor` compares these credentials with the operator policy in docs/aws.md",
    ),
    (
        re.compile(r"could not (find|load) (a )?(plugin|provider)|no resource plugin", re.I),
        MissingToolError,
        "`amianai doctor` shows which provider there is; where it cannot be downloaded, put pulumi-resource-aws on PATH",
    ),
    (
        re.compile(
            r"connection refused|no such host|i/o timeout|could not connect to .*provider|did not begin responding"
            r"|error reading from server",
            re.I,
        ),
        UnreachableError,
        "check the network (in the sandbox: `amianai sandbox status`) and run the command again",
    ),
    (
        EXISTS,
        EngineError,
        "it is not this stack's: find out whose it is, rename or remove it (or choose another prefix), and run the command again",
    ),
    (
        re.compile(r"getZone:getZone", re.I),
        ConfigurationError,
        "dns.zone_id has to name a public hosted zone of this account: `aws route53 list-hosted-zones`",
    ),
    (
        re.compile(r"\.NotFound|NotFound(Fault|Exception)?\b|NoSuch[A-Z]|does not exist"),
        EngineError,
        "if it was removed without this program, `amianai preview --refresh` shows what is gone, and `up --refresh` makes it again",
    ),
    (re.compile(r"resource .* cannot be deleted|is protected|protect", re.I), EngineError, "lift the protection first"),
)
_TRACEBACK = re.compile(r"\n\s*Traceback \(most recent call last\):.*", re.S)
# The SDK reports what the program raised twice, in its own words.
_RAISED = re.compile(r"^(python inline source runtime error|Exception calling application): ")
_CONTINUE = "correct the cause and run the command again: what was done is kept"


def failure(operation: Operation, record: Record, ended: Completed) -> AmianaiError:
    """The error for an operation that ended badly."""
    causes = _told(record.causes() or [Problem("", line) for line in complaints(ended) or [_end(ended)]])
    lines = [shorten(str(cause)) for cause in causes[:_MOST]]
    if len(causes) > _MOST:
        lines.append(f"and {len(causes) - _MOST} more")
    kind, fix = classify("\n".join(cause.message for cause in causes))
    done = len(record.steps())
    before = f"; {done} resources had been changed" if done and operation != "preview" else ""
    if kind is LockedError:
        return LockedError("Another operation is working on this stack.", where="\n".join(lines), fix=fix)
    return kind(f"{_DOING[operation]}{before}.", where="\n".join(lines), fix=fix)


def without_state(error: AmianaiError, record: Record, trouble: str) -> AmianaiError:
    """The error of an operation whose state could not be written to the end.

    Args:
        error: what the engine said.
        record: what happened until then.
        trouble: what is wrong with the place of the state, one clause.
    """
    steps = [step for step in record.steps() if step.type]
    told = [f"{done_word(record.operation, step.op)} {short_type(step.type)} {step.name}" for step in steps]
    return type(error)(
        error.what,
        details=[f"{trouble[:1].upper()}{trouble[1:]}", *told],
        where=error.where,
        fix="once the state can be read and written again, run the command again: it goes on, and looks for what was made and is not"
        " in it. The lock of this run may have stayed: the next run on this machine releases it, `amianai state unlock` on another one",
    )


def _told(causes: Sequence[Problem]) -> list[Problem]:
    """Each once, and what the program raised without the frames of its traceback."""
    told = [replace(cause, message=_RAISED.sub("", _TRACEBACK.sub("", cause.message))) for cause in causes]
    return list(dict.fromkeys(told))


def command_failure(doing: str, ended: Completed) -> AmianaiError:
    """The error for an engine command without events.

    Args:
        doing: what failed, as a sentence's start: "Creating the stack".
        ended: how it ended.
    """
    lines = complaints(ended) or [_end(ended)]
    kind, fix = classify("\n".join(lines))
    return kind(f"{doing} failed.", where=shorten("\n".join(lines[:_MOST])), fix=fix)


def _end(ended: Completed) -> str:
    """How an engine ended that said nothing."""
    if ended.code >= 0:
        return f"the engine ended with code {ended.code} and said nothing"
    return f"the engine was killed (signal {-ended.code}), as a system does that has no memory left"


def complaints(ended: Completed) -> list[str]:
    """The lines of the engine's output that say what went wrong."""
    texts = [[line.strip() for line in plain(text).splitlines() if line.strip()] for text in (ended.stderr, ended.stdout)]
    for lines in texts:
        first = next((number for number, line in enumerate(lines) if line.startswith("error:")), None)
        if first is not None:
            return [line.removeprefix("error: ") for line in lines[first:]]
    return [line for lines in texts for line in lines][-3:]


def classify(text: str) -> tuple[type[AmianaiError], str]:
    """Which of our errors a message of the engine is, and what to do about it."""
    for pattern, kind, fix in _KNOWN:
        if pattern.search(text):
            return kind, fix
    return EngineError, _CONTINUE
