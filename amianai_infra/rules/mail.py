"""Who sends the sign-in e-mail. Pure."""

from __future__ import annotations


def sender(ses_identity_arn: str, domain: str) -> str:
    """The From address for an SES identity: the address itself, or `no-reply@` the verified domain.

    Args:
        ses_identity_arn: `arn:aws:ses:<region>:<account>:identity/<address or domain>`.
        domain: the product's domain, when the ARN names neither.
    """
    identity = ses_identity_arn.rpartition("identity/")[2]
    if "@" in identity:
        return identity
    return f"no-reply@{identity or domain}"
