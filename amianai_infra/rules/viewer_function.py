"""The code of the viewer functions: www to apex, and the addresses of the live release. Pure; the JavaScript stands beside this file."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path

from amianai_infra.rules.header_rules import METADATA, NEEDS
from amianai_infra.rules.headers import WORDS, page_policy

LONGEST = 10_240


STATUS = "amianai-status"
"""Metadata of an object that is to be answered with that status."""


@lru_cache(maxsize=2)
def _template(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def response_function(policy: str = "") -> str:
    """The JavaScript of the function that sees every answer.

    The page of what is missing in a folder has the status 404, and what an object keeps as metadata becomes headers.

    Args:
        policy: the default Content-Security-Policy, which pages narrow; empty where the stack has another one.

    Source: CloudFront Developer Guide, "CloudFront Functions event structure" (a viewer response's status can be changed),
    "Restrictions on all edge functions" (none runs where the origin answered 400 or above, which the distribution's own error page
    answers); Amazon S3 User Guide, "Working with object metadata".
    """
    code = _template("response_function.js").replace("__STATUS__", json.dumps(f"x-amz-meta-{STATUS}"))
    code = code.replace("__KEPT__", json.dumps(f"x-amz-meta-{METADATA}")).replace("__WORDS__", json.dumps(WORDS))
    code = code.replace("__NEEDS__", json.dumps(f"x-amz-meta-{METADATA}{NEEDS}"))
    return code.replace("__POLICY__", json.dumps(page_policy(policy) if policy else []))


def viewer_function(apex: str, hsts_seconds: int = 0, *, previews: bool = False) -> str:
    """The function's JavaScript for one domain.

    Args:
        apex: the domain that www is redirected to.
        hsts_seconds: max-age of the redirect's Strict-Transport-Security; 0 sends none.
        previews: each name below the domain is a preview of its own, and nothing else answers.

    Source: CloudFront Developer Guide, "JavaScript runtime 2.0 features"; a function has 10 KB at most.
    """
    hsts = f"max-age={hsts_seconds}" if hsts_seconds else ""
    slots = {"__APEX__": apex, "__HSTS__": hsts, "__PREVIEWS__": previews}
    code = _template("viewer_function.js")
    for slot, value in slots.items():
        code = code.replace(slot, json.dumps(value))
    return code
