"""Resource names, their length limits, and tags. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

PROJECT = "amianai-infra"
STACK = "prod"
EXTENSIONS_SCHEMA = "amianai_extensions"  # where what we make of PostgreSQL's extensions is: `public` is the team's
TAG_STACK = "amianai:stack"
TAG_URN = "amianai:urn"
SANDBOX_VARIABLE = "AMIANAI_SANDBOX"  # names the checkout in a shell that `amianai sandbox env` leads to its sandbox

DOMAIN = r"(?=.{4,253}\Z)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}"
ORIGIN = r"(https?|wss?)://((\*\.)?[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(:(\d{1,5}|\*))?"
"""What a Content-Security-Policy may name: a scheme, a host or all below one, a port. Nothing in it can end the directive."""
CSP_SOURCES = (
    rf"(?:(?:script-src|style-src|connect-src|manifest-src|form-action)(?: {ORIGIN})+"
    rf"|(?:img|font|media|frame|worker)-src(?: (?:{ORIGIN}|data:|blob:))+)"
)
"""A directive and what it allows besides. Scripts come from origins alone: `data:` and `blob:` would let in what anybody wrote."""
BUDGET = r"/[^\s,]* (document|stylesheet|script|image|media|font|other|total) \d{1,7}"
"""The pages that a budget is for, a type of Lighthouse's and KiB. What other hosts serve (`third-party`) is not measured here."""
_ID = r"[A-Za-z0-9._-]{1,64}"


def is_id(text: object) -> bool:
    """Whether a value that others wrote can be the id of a build, a release or a lock."""
    return isinstance(text, str) and re.fullmatch(_ID, text) is not None


def slug(text: str) -> str:
    """Lower-case letters, digits and single hyphens: `Example.com` gives `example-com`."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def bucket_name(prefix: str, purpose: str, domain: str) -> str:
    """A globally unique S3 bucket name of at most 63 characters.

    A domain has one owner, so a name that carries it is free unless its owner took it.

    Source: S3 User Guide, "General purpose bucket naming rules".
    """
    return f"{prefix}-{purpose}-{slug(domain)}"[:63].rstrip("-")


PREVIEW_DAYS = 30
"""The longest that a preview of the site lasts."""


def preview_domain(domain: str) -> str:
    """The name below which previews of the site answer, each under a label of its own."""
    return f"preview.{domain}"


def state_bucket_name(prefix: str, account: str, region: str) -> str:
    """The bucket that holds the Pulumi state of one account and region."""
    return f"{prefix}-state-{account}-{region}"


def database_identifier(prefix: str) -> str:
    """The instance's identifier where none is chosen."""
    return f"{prefix}-postgres"


def monitoring_role_name(prefix: str, identifier: str) -> str:
    """The database's monitoring role."""
    return _of_database(prefix, identifier, "-monitoring")


def rotation_name(prefix: str, identifier: str) -> str:
    """The function that rotates the database's master password, and its role."""
    return _of_database(prefix, identifier, "-rotation")


def _of_database(prefix: str, identifier: str, suffix: str) -> str:
    """A role's or function's name of at most 64 characters; begins with the prefix whatever the identifier is.

    The operator may create and pass roles of the prefix only.

    Source: IAM User Guide, "IAM and AWS STS quotas"; AWS Lambda API Reference, CreateFunction.
    """
    name = identifier if identifier.startswith(f"{prefix}-") else f"{prefix}-{identifier}"
    return name[: 64 - len(suffix)].rstrip("-") + suffix


def role_secret_name(prefix: str, identifier: str, role: str) -> str:
    """The secret of one of the database's roles: `eeyore/database/eeyore-postgres/application`.

    It begins with the prefix whatever the identifier is: the operator may make secrets of the prefix only.
    """
    return f"{prefix}/database/{identifier}/{role}"


def secret_name(arn: str) -> str:
    """The name in a secret's ARN, which AWS takes in the ARN's place: without the six characters that Secrets Manager adds."""
    return re.sub(r"-[A-Za-z0-9]{6}$", "", arn.rpartition(":")[2])


def proxy_role_name(prefix: str, identifier: str) -> str:
    """The role of the database's proxy."""
    return _of_database(prefix, identifier, "-proxy")


COGNITO_RESERVED = ("aws", "amazon", "cognito")
"""What the prefix of a hosted domain must not contain. Source: Cognito Developer Guide, "Using the Amazon Cognito domain"."""


def user_pool_domain(prefix: str, domain: str) -> str:
    """A Cognito hosted-domain prefix of at most 63 characters, without the reserved words."""
    name = slug(f"{prefix}-{domain}")
    for word in COGNITO_RESERVED:
        name = name.replace(word, "x")
    return name[:63].strip("-")


def stack_parameter(prefix: str) -> str:
    """The SSM parameter that publishes the stack's outputs."""
    return f"/{prefix}/stack"


def audit_log_group(prefix: str) -> str:
    """The log group of administrative work on the database."""
    return f"/{prefix}/database/audit"


def default_tags(extra: dict[str, str] | None = None) -> dict[str, str]:
    """Tags every taggable resource carries; nothing extra replaces ours."""
    return {
        **(extra or {}),
        "Project": PROJECT,
        "Environment": "production",
        "ManagedBy": "pulumi",
        TAG_STACK: f"{PROJECT}/{STACK}",
    }


def query_log_group(prefix: str) -> str:
    """The log group, in us-east-1, of the queries that the zone's name servers answer."""
    return f"/{prefix}/dns/queries"


TAGS_AT_MOST = 50 - 8
"""AWS takes fifty; ours are `default_tags`, the name, the URN, and one or two more on what commands make."""

_OWN_TAGS = frozenset({"name", "project", "environment", "managedby"})
_TAG_TEXT = r"[\w .:/=+@-]*"


def tag_problems(tags: Mapping[str, str]) -> list[str]:
    """Why AWS, or the stack, cannot take these tags beside its own; empty when it can.

    Policies' conditions and the recovery after a kill rest on our own keys. IAM compares keys without regard to case.

    Source: Tagging AWS Resources User Guide, "Tag naming limits and requirements".
    """
    problems = [f"tags.{key}: {why}" for key, text in tags.items() if (why := _tag_problem(key, text))]
    folded = [key.lower() for key in tags]
    problems += [f"tags.{key}: is given twice in another case" for key in tags if folded.count(key.lower()) > 1]
    if len(tags) > TAGS_AT_MOST:
        problems.append(f"tags: {len(tags)} are more than the {TAGS_AT_MOST} that AWS leaves beside the stack's own")
    return problems


def _tag_problem(key: str, text: str) -> str:
    name = key.lower()
    if name in _OWN_TAGS or name.startswith(("amianai:", "aws:")):
        return f"is set by {'AWS' if name.startswith('aws:') else 'the stack itself'}; choose another key"
    if not 1 <= len(key) <= 128 or len(text) > 256:
        return "a key has 1 to 128 characters, a value at most 256"
    if not (re.fullmatch(_TAG_TEXT, key) and re.fullmatch(_TAG_TEXT, text)):
        return "only letters, digits, spaces and . : / = + - @ _ are allowed"
    return ""


def urn_tag(urn: str) -> str:
    """The value of tag `amianai:urn`: the URN in characters and length that every AWS service takes.

    `$` (between parent and child type) is refused by IAM, RDS and CloudFront, so it becomes `@`; values longer than 256
    characters end in a digest. The engine looks resources up by this value after a kill.

    Source: Tagging AWS Resources User Guide, "Tag naming limits and requirements".
    """
    value = urn.replace("$", "@")
    if len(value) <= 256:
        return value
    import hashlib  # here, because the command line's help imports this module

    return f"{value[:239]}+{hashlib.sha256(value.encode()).hexdigest()[:16]}"
