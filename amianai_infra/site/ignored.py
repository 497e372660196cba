"""What lies in the output and is no part of the site.

A folder that is published as it is may be a repository: its `.git`, README and package.json are no pages. The site's directory may have a
file in gitignore's form that says more, or otherwise; its patterns are relative to the output.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from amianai_infra.errors import ConfigurationError

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

IGNORE_FILE = ".amianaiignore"
_SHOWN = 10
_NO_SITE = (
    *(".*", "!.well-known", "node_modules", "package.json", "package-lock.json", "npm-shrinkwrap.json", "pnpm-lock.yaml"),
    *("pnpm-workspace.yaml", "yarn.lock", "bun.lock", "bun.lockb", "README", "README.md", "README.rst", "README.txt", "Makefile"),
    *("Dockerfile", "amianai.lock.json", "Pulumi.yaml", "Pulumi.*.yaml"),
)
"""In a folder that holds its own sources."""


@dataclass(frozen=True)
class Ignored:
    """Leaves out what is no part of the site, and remembers it.

    Attributes:
        spec: the patterns; None where nothing is left out.
        left_out: what was left out, folders with a `/`.
    """

    spec: GitIgnoreSpec | None
    left_out: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, folder: Path, output: Path) -> Ignored:
        """The rules of one site.

        Args:
            folder: its directory.
            output: what is published.

        Raises:
            ConfigurationError: the ignore file cannot be read.
        """
        file = folder / IGNORE_FILE
        try:
            own = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
            lines = [*(_NO_SITE if folder.is_relative_to(output) else ()), *own]
            if not lines:
                return cls(None)
            from pathspec import GitIgnoreSpec

            return cls(GitIgnoreSpec.from_lines(lines))
        except ValueError as error:
            raise ConfigurationError(
                "The ignore file cannot be read.", where=f"{file}: {error}", fix="gitignore(5) tells its form"
            ) from error

    def __call__(self, path: str) -> bool:
        """Whether a file, or a folder (with a `/` at its end), is left out."""
        if self.spec is None or not self.spec.match_file(path):
            return False
        self.left_out.append(path)
        return True

    def told(self) -> list[str]:
        """What was left out, for people."""
        if not self.left_out:
            return []
        shown = ", ".join(sorted(self.left_out)[:_SHOWN]) + (", …" if len(self.left_out) > _SHOWN else "")
        return [f"No part of the site: {shown} ({len(self.left_out)} in all; {IGNORE_FILE} in the site's directory can say otherwise)"]
