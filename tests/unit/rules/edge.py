"""The viewer function, run by node, with a key-value store that is a dictionary.

It cannot prove what CloudFront's own runtime lacks; docs name the features it has.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from typing import Any

# What the runtime gives a function by `import`.
_MODULES = """
const crypto = require('crypto');
const store = JSON.parse(require('fs').readFileSync(0));
const cf = { kvs: () => ({ get: async (key) => { if (key in store.items) return store.items[key]; throw new Error('KeyNotFound'); } }) };
"""
_MAIN = (
    ";(async () => { const out = []; for (const one of store.events) out.push(await handler(one)); console.log(JSON.stringify(out)); })();"
)


def run(events: list[dict[str, Any]], code: str, items: Mapping[str, str] | None = None) -> list[Any]:
    """All events in one node: what the function returns for each."""
    body = "\n".join(line for line in code.splitlines() if not line.startswith("import "))
    given = json.dumps({"events": events, "items": dict(items or {})})
    done = subprocess.run(["node", "-e", _MODULES + body + _MAIN], input=given, capture_output=True, text=True, check=True, timeout=60)
    found: list[Any] = json.loads(done.stdout)
    return found


def event(uri: str, host: str = "example.com", query: dict[str, Any] | None = None, **headers: str) -> dict[str, Any]:
    """A viewer's request; `sec_fetch_mode="navigate"` is a header."""
    sent = {name.replace("_", "-"): {"value": value} for name, value in headers.items()}
    sent |= {"host": {"value": host}} if host else {}
    return {"version": "1.0", "request": {"method": "GET", "uri": uri, "querystring": query or {}, "headers": sent, "cookies": {}}}
