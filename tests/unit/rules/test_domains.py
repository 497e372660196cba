"""Names and their validation."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amianai_infra.rules.domains import site_names, validation_domains, validation_option
from amianai_infra.rules.mail import sender

LABEL = st.from_regex(r"[a-z][a-z0-9]{0,10}", fullmatch=True)
NAMES = st.lists(st.builds(lambda label, star: ("*." if star else "") + f"{label}.example.com", LABEL, st.booleans()))


def test_apex_and_www() -> None:
    assert site_names("example.com") == ("example.com", "www.example.com")


@given(NAMES)
def test_no_record_is_asked_for_twice(names: list[str]) -> None:
    found = validation_domains(names)
    assert len(set(found)) == len(found)
    assert set(found) == {name.removeprefix("*.") for name in names}


def test_an_option_is_found_by_its_domain() -> None:
    parts = {"resource_record_name": "_n", "resource_record_type": "CNAME", "resource_record_value": "_v"}
    option = {"name": "_n", "type": "CNAME", "value": "_v"}
    assert validation_option([{"domain_name": "*.example.com", **parts}], "example.com") == option
    assert validation_option([SimpleNamespace(domain_name="example.com", **parts)], "example.com") == option
    with pytest.raises(ValueError, match=r"no validation record for www\.example\.com"):
        validation_option([{"domain_name": "example.com", **parts}], "www.example.com")


def test_the_sender_of_mail() -> None:
    assert sender("arn:aws:ses:us-east-1:1:identity/example.org", "example.com") == "no-reply@example.org"
    assert sender("arn:aws:ses:us-east-1:1:identity/me@example.org", "example.com") == "me@example.org"
