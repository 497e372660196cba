"""Which names the site answers to and how a certificate for them is validated. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

CAA_ISSUER = '0 issue "amazon.com"'


def site_names(domain: str) -> tuple[str, ...]:
    """The apex and www."""
    return (domain, f"www.{domain}")


def validation_domains(names: Iterable[str]) -> tuple[str, ...]:
    """The names that need a validation record of their own: a wildcard shares the record of the name below it.

    Source: AWS Certificate Manager User Guide, "AWS Certificate Manager DNS validation".
    """
    return tuple(dict.fromkeys(name.lower().removeprefix("*.") for name in names))


def validation_option(options: Sequence[Any], domain: str) -> Mapping[str, str]:
    """Name, type and value of the record that validates a domain.

    Args:
        options: the certificate's `domain_validation_options`.
        domain: one of `validation_domains`.

    Raises:
        ValueError: the certificate asks for no such record.
    """
    for option in options:
        if str(_field(option, "domain_name")).lower().removeprefix("*.") == domain:
            return {part: str(_field(option, f"resource_record_{part}")) for part in ("name", "type", "value")}
    raise ValueError(f"the certificate has no validation record for {domain}")


def _field(option: Any, name: str) -> Any:
    return option.get(name) if isinstance(option, Mapping) else getattr(option, name)
