"""The exception tree. Every error says what failed, where, and what to do next.

Exit codes: 1 failed, 2 usage or configuration, 3 refused by a safety gate, 4 somebody else holds the lock.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

from amianai_infra.printing import printable, quoted, under


class AmianaiError(Exception):
    """Root of every error this package raises on purpose.

    Args:
        what: what failed, one sentence. Further lines are taken for what others wrote.
        details: what exactly, each on a line of its own.
        where: the configuration key, file, resource or command it concerns.
        fix: what the reader can do next, one sentence or one command.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, what: str, *, details: Iterable[str] = (), where: str = "", fix: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.details = tuple(details)
        self.where = where
        self.fix = fix

    def lines(self) -> list[str]:
        """The error as it is printed. A line break in a part of it never begins a line that could pass for ours."""
        first, _, rest = self.what.partition("\n")
        lines = [printable(first), *quoted(rest), *(printable(f"  - {one}") for one in self.details)]
        lines += under("  where: ", self.where) if self.where else []
        lines += under("  next:  ", self.fix) if self.fix else []
        return lines

    @property
    def cause(self) -> str:
        """What failed and where, as the `where` of an error that it led to; that one says what is next."""
        return "\n".join(one for one in (self.what, *self.details, self.where) if one)

    def __str__(self) -> str:
        return "\n".join(self.lines())


class ConfigurationError(AmianaiError):
    """A setting, flag or file is missing or wrong; nothing was changed."""

    exit_code = 2


class RefusedError(AmianaiError):
    """A safety gate stopped a dangerous operation; nothing was changed."""

    exit_code = 3


class LockedError(AmianaiError):
    """Somebody else is working on the same thing right now."""

    exit_code = 4


class MissingToolError(AmianaiError):
    """A program this machine needs is not installed or too old."""


class NotFoundError(AmianaiError):
    """The thing asked for does not exist."""


class ForbiddenError(AmianaiError):
    """It exists, but these credentials may not touch it, or they have expired."""


class UnreachableError(AmianaiError):
    """The network, a server or a process did not answer."""


class ClockError(AmianaiError):
    """This machine's clock is wrong, so that no request is taken."""


class UntrustedError(AmianaiError):
    """A server could not prove that it is the one that was meant; it was told nothing."""


class EngineError(AmianaiError):
    """The Pulumi engine reported a failure."""


class BuildError(AmianaiError):
    """The site's build failed or produced something that must not be published."""


class VerificationError(AmianaiError):
    """What was deployed does not answer as it should."""


def first(lines: Sequence[str], most: int) -> list[str]:
    """The first of many lines, for `details`, and how many more there are."""
    return [*lines[:most], *([f"… and {len(lines) - most} more"] if len(lines) > most else [])]
