"""The code of the viewer function: www to apex, directory indexes. Pure; the JavaScript stands beside this file."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path

LONGEST = 10_240


@lru_cache(maxsize=1)
def _template() -> str:
    return Path(__file__).with_name("viewer_function.js").read_text(encoding="utf-8")


def viewer_function(apex: str, hsts_seconds: int = 0) -> str:
    """The function's JavaScript for one domain.

    Args:
        apex: the domain that www is redirected to.
        hsts_seconds: max-age of the redirect's Strict-Transport-Security; 0 sends none.

    Source: CloudFront Developer Guide, "JavaScript runtime 2.0 features"; a function has 10 KB at most.
    """
    hsts = f"max-age={hsts_seconds}" if hsts_seconds else ""
    return _template().replace("__APEX__", json.dumps(apex)).replace("__HSTS__", json.dumps(hsts))
