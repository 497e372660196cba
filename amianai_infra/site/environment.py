"""What the site's build gets to know: what programs need to run, the stack's public settings, and what the settings name besides."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from amianai_infra.errors import RefusedError
from amianai_infra.site.secrets import secret_value

if TYPE_CHECKING:
    from amianai_infra.outputs import StackOutputs
    from amianai_infra.target import Target

# What every program may know, what leads to the network, and where Node's version managers keep theirs.
_KNOWN = frozenset(
    (
        *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "TMPDIR", "TMP", "TEMP", "LD_LIBRARY_PATH", "SOURCE_DATE_EPOCH", "CI"),
        *("LANG", "LANGUAGE", "TZ", "TERM", "COLORTERM", "COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "CLICOLOR"),
        *("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME"),
        *("SSL_CERT_FILE", "SSL_CERT_DIR", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
        *("http_proxy", "https_proxy", "all_proxy", "no_proxy"),
        *("NVM_DIR", "NVM_BIN", "VOLTA_HOME", "ASDF_DIR", "ASDF_DATA_DIR", "MISE_DATA_DIR", "N_PREFIX", "PNPM_HOME", "BUN_INSTALL"),
        "COREPACK_INTEGRITY_KEYS",  # public keys, whatever the name says
    )
)
# Settings of Node and the package managers, less those that hold or lead to a credential.
_TOOLS = re.compile(r"^(?:LC_|NODE_|COREPACK_|YARN_|npm_config_|pnpm_config_)", re.IGNORECASE)
_CREDENTIAL = re.compile(r"auth|token|pass|secret|credential|key|otp", re.IGNORECASE)
# Credentials that are for nothing but registries of packages.
_REGISTRIES = frozenset({"NPM_TOKEN", "NODE_AUTH_TOKEN", "BUN_AUTH_TOKEN"})
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NEVER_MEANT = frozenset({"_", "PWD", "OLDPWD", "SHLVL"})
# What a framework bakes into the pages: variables that begin like this. Source: the manuals of each, "Environment variables".
_PREFIXES = {
    "next": "NEXT_PUBLIC_",
    "vite": "VITE_",
    "vitepress": "VITE_",
    "astro": "PUBLIC_",
    "@sveltejs/kit": "PUBLIC_",
    "nuxt": "NUXT_PUBLIC_",
    "react-scripts": "REACT_APP_",
    "gatsby": "GATSBY_",
    "@angular/core": "NG_APP_",
}
PUBLIC = "NEXT_PUBLIC_"
"""How the stack's own public values begin."""
_CREDENTIALS = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "GITHUB_TOKEN", "DATABASE_URL", "PGPASSWORD", "PULUMI_CONFIG_PASSPHRASE")
_NAMED = re.compile(r"""(?:\benv\.|\benv\[\s*["'`]|\$\{?)([A-Za-z_][A-Za-z0-9_]*)""")


@dataclass(frozen=True)
class Surroundings:
    """The part of a process's environment that a build gets.

    Attributes:
        common: what programs need to run.
        passed: what the settings name besides.
        kept: all others.
    """

    common: Mapping[str, str] = field(repr=False)
    passed: Mapping[str, str] = field(repr=False)
    kept: Mapping[str, str] = field(repr=False)

    @classmethod
    def of(cls, environ: Mapping[str, str], names: Sequence[str]) -> Surroundings:
        """From a process's environment.

        Args:
            environ: all of it.
            names: variables to pass on: exact, or the beginning of several and `*`.
        """
        passed = {name: value for name, value in environ.items() if any(_matches(name, one) for one in names)}
        common = {name: value for name, value in environ.items() if name not in passed and _is_common(name)}
        return cls(common, passed, {name: value for name, value in environ.items() if name not in passed and name not in common})

    @property
    def left_out(self) -> tuple[str, ...]:
        """The names of what a build does not get."""
        return tuple(sorted(name for name in self.kept if name not in _NEVER_MEANT and _PLAIN.fullmatch(name)))

    def for_registries(self, settings: Iterable[str]) -> dict[str, str]:
        """What the installation of packages gets besides: credentials of registries.

        Args:
            settings: texts of the package managers' settings files, which may name more (`_authToken=${MY_TOKEN}`).
        """
        named = {name for text in settings for name in names_in(text) if not name.startswith("AWS_")}
        return {name: value for name, value in self.kept.items() if name in named or name in _REGISTRIES or _TOOLS.match(name)}

    def named_in(self, text: str) -> set[str]:
        """Those left out that a program text asks for: `process.env.NAME`, `import.meta.env.NAME`, `${NAME}`."""
        return set(self.left_out) & names_in(text)

    def mentioned_in(self, text: str) -> set[str]:
        """Those left out whose names are words of a text."""
        return set(self.left_out) & set(_PLAIN.findall(text))


def names_in(text: str) -> set[str]:
    """Variables that a program text or a settings file asks for."""
    return set(_NAMED.findall(text))


def prefixes(packages: Collection[str]) -> set[str]:
    """How variables begin that the frameworks of a site bake into its pages.

    Args:
        packages: what the site asks for.
    """
    return {prefix for name, prefix in _PREFIXES.items() if name in packages}


def translated(public: Mapping[str, str], packages: Collection[str]) -> dict[str, str]:
    """The stack's public values, also under the names that the site's own frameworks bake into pages (`VITE_USER_POOL_ID`)."""
    others = sorted(prefixes(packages) - {PUBLIC})
    return {**public, **{prefix + name.removeprefix(PUBLIC): value for prefix in others for name, value in public.items()}}


def refuse_secrets(public: Mapping[str, str], environ: Mapping[str, str]) -> None:
    """Refuse values that would be in every page and look like a secret. Names say nothing: `PUBLIC_SECRET_SANTA` is a page's business.

    Args:
        public: variables that the build bakes into pages.
        environ: the environment of this process, whose credentials are known.

    Raises:
        RefusedError: the names; a value is not shown.
    """
    known = {environ[name]: f"the value of {name}" for name in (*_CREDENTIALS, *_REGISTRIES) if environ.get(name)}
    found = {name: known.get(value) or secret_value(value) for name, value in public.items()}
    problems = [f"{name} holds {kind}" for name, kind in sorted(found.items()) if kind]
    if problems:
        raise RefusedError(
            "What the build puts into the pages looks secret; nothing was built:",
            details=problems,
            where="site.environment, and variables of this shell that the site's framework makes public",
            fix="give it another name, without the public beginning, or take it out; replace a secret that was in a page before",
        )


def _matches(name: str, wanted: str) -> bool:
    return name.startswith(wanted[:-1]) if wanted.endswith("*") else name == wanted


def _is_common(name: str) -> bool:
    return name in _KNOWN or (_TOOLS.match(name) is not None and _CREDENTIAL.search(name) is None)


def public_environment(target: Target, outputs: StackOutputs, *, development: bool = False) -> dict[str, str]:
    """The variables that a build bakes into the pages, as Next.js calls them. Nothing in here is a secret.

    Args:
        target: the environment; on AWS the browser finds Cognito by its region.
        outputs: what the stack published.
        development: for `npm run dev`: the client for development, where the stack has one.
    """
    client = (development and outputs.auth.development_client_id) or outputs.auth.client_id
    return {
        "NEXT_PUBLIC_AWS_REGION": outputs.region,
        "NEXT_PUBLIC_USER_POOL_ID": outputs.auth.user_pool_id,
        "NEXT_PUBLIC_USER_POOL_CLIENT_ID": client,
        "NEXT_PUBLIC_COGNITO_ENDPOINT": target.endpoint("cognito-idp") or "",
        "NEXT_PUBLIC_SITE_URL": target.site_address(outputs).url,
    }
