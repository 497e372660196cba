"""What a release needs to know of the settings, and a memory of it that loads without pydantic.

Resolving every setting takes as long as releasing an unchanged site. So what a release needs is kept in a small file
beside the fingerprint of everything it was resolved from; while that is the same, the file is the answer.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from amianai_infra.errors import ConfigurationError

if TYPE_CHECKING:
    from amianai_infra.config import Settings

EXAMPLE_INPUTS: Mapping[str, list[str]] = {"examples/site": ["."]}
"""What the site that comes with the toolkit is built from: its own folder, and nothing else."""

_CONFIG = Path(__file__).parents[1] / "config.py"


@dataclass(frozen=True)
class ReleaseSettings:
    """The settings a release reads.

    Attributes:
        domain: domain of the product.
        region: region of the stack.
        prefix: prefix of resource names.
        directory: the site's folder, relative to the project.
        build_command: what builds it, run there; empty: its own build script.
        output: the folder that the build fills, relative to `directory`.
        inputs: what the build depends on, relative to `directory`; empty: it is built at every deploy.
        empty_output: build into an empty output.
        old_asset_days: how long files that no release names any more stay served.
        old_version_days: how long replaced files stay restorable.
        cache_rules: own Cache-Control headers by path pattern.
        headers: further headers by address, one a line, as in `_headers`.
        allow: what is published although it looks like what must not be, each with the reason.
        environment: public variables added to the build's environment.
        pass_environment: names of the caller's variables that the build gets, too.
        hsts: whether responses must carry Strict-Transport-Security.
        base_path: what the site lives below, without slashes around it; empty for the root.
        fallback: the page that answers navigations to addresses the site does not have; empty for none.
        csp_sources: what pages may load from elsewhere, added to the Content-Security-Policy.
        inline_scripts: `hashed`: pages run the scripts within them that the release has; `allowed`: any.
        budgets: what pages may weigh, a path, a type and KiB each.
    """

    domain: str
    region: str
    prefix: str
    directory: str
    build_command: str
    output: str
    inputs: Sequence[str]
    empty_output: bool
    old_asset_days: int
    old_version_days: int
    cache_rules: Mapping[str, str]
    headers: Sequence[str]
    allow: Sequence[str]
    environment: Mapping[str, str]
    pass_environment: Sequence[str]
    hsts: bool
    base_path: str = ""
    fallback: str = ""
    csp_sources: Sequence[str] = ()
    inline_scripts: str = "hashed"
    budgets: Sequence[str] = ()

    @property
    def hosts(self) -> tuple[str, ...]:
        """The site's own host names."""
        return (self.domain, f"www.{self.domain}")

    @classmethod
    def of(cls, settings: Settings | ReleaseSettings) -> ReleaseSettings:
        """From all the settings."""
        if isinstance(settings, ReleaseSettings):
            return settings
        site = settings.site
        return cls(
            domain=settings.domain_name,
            region=settings.region,
            prefix=settings.prefix,
            directory=site.directory,
            build_command=site.build_command,
            output=site.output,
            inputs=site.inputs or EXAMPLE_INPUTS.get(site.directory, []),
            empty_output=site.empty_output,
            old_asset_days=site.old_asset_days,
            old_version_days=site.old_version_days,
            cache_rules=dict(site.cache_rules),
            headers=list(site.headers),
            allow=list(site.allow),
            environment=dict(site.environment),
            pass_environment=list(site.pass_environment),
            hsts=site.hsts_seconds > 0,
            base_path=site.base_path,
            fallback=site.fallback,
            csp_sources=list(site.csp_sources),
            inline_scripts=site.inline_scripts,
            budgets=list(site.budgets),
        )


def folders(root: Path, chosen: ReleaseSettings) -> tuple[Path, Path]:
    """The site's folder and its output.

    Args:
        root: the project.
        chosen: what a release reads.

    Raises:
        ConfigurationError: one of them is outside of the repository.
    """
    folder = Path(os.path.normpath(root / chosen.directory))
    output = Path(os.path.normpath(folder / chosen.output))
    repository = _repository(folder if Path(chosen.directory).is_absolute() else root)
    for key, text, path in (("site.directory", chosen.directory, folder), ("site.output", chosen.output, output)):
        if not path.is_relative_to(repository):
            raise ConfigurationError(
                f"{key} = {text} leads out of the repository.",
                where=f"{path}; the repository is {repository}",
                fix="choose a folder inside of it; an absolute site.directory may be given for once, with --set",
            )
    return folder, output


def _repository(folder: Path) -> Path:
    """The repository that a folder is in; the folder itself, where it is in none."""
    return next((above for above in (folder, *folder.parents) if (above / ".git").exists()), folder)


def fingerprint(flags: Mapping[str, str], environ: Mapping[str, str], stack_file: Path) -> str:
    """One value for everything that settings are resolved from, this program's own defaults included."""
    chosen = {name: value for name, value in environ.items() if name.startswith("AMIANAI_") or name in ("DOMAIN_NAME", "GITHUB_USERNAME")}
    try:
        text = stack_file.read_bytes()
    except OSError:
        text = b""
    defaults = _CONFIG.stat()
    facts = [dict(flags), chosen, str(stack_file), hashlib.sha256(text).hexdigest(), defaults.st_mtime_ns, defaults.st_size]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def remembered(file: Path, mark: str) -> ReleaseSettings | None:
    """What `remember` kept for the same fingerprint; None when there is nothing, or it is from another version."""
    try:
        kept = json.loads(file.read_bytes())
        return ReleaseSettings(**kept["settings"]) if kept["fingerprint"] == mark else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def remember(file: Path, mark: str, settings: ReleaseSettings) -> None:
    """Keep the settings for the next release. A disk that takes no writes is no reason to fail."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({"fingerprint": mark, "settings": asdict(settings)}, indent=1), encoding="utf-8")
    except OSError:
        return
