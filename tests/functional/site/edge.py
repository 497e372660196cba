"""The viewer function in a node of its own, asked request by request, as CloudFront runs it."""

from __future__ import annotations

import json
import subprocess
import threading
from typing import Any

from amianai_infra.rules.viewer_function import viewer_function

_BEFORE = """
const crypto = require('crypto');
let items = {};
const cf = { kvs: () => ({ get: async (key) => { if (key in items) return items[key]; throw new Error('KeyNotFound'); } }) };
"""
_AFTER = """
require('readline').createInterface({ input: process.stdin }).on('line', async (line) => {
    const asked = JSON.parse(line);
    if (asked.items) items = asked.items;
    console.log(JSON.stringify(await handler({ request: asked.request })));
});
"""


class Edge:
    """One node. Requests are answered one after another, each with the store as it is then."""

    def __init__(self, *, previews: bool = False) -> None:
        code = viewer_function("example.com", previews=previews)
        body = "\n".join(line for line in code.splitlines() if not line.startswith("import "))
        self._node = subprocess.Popen(["node", "-e", _BEFORE + body + _AFTER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._turn = threading.Lock()
        self._sent: dict[str, str] | None = None

    def ask(self, request: dict[str, Any], items: dict[str, str]) -> dict[str, Any]:
        """What the function returns for a request."""
        with self._turn:
            assert self._node.stdin is not None
            assert self._node.stdout is not None
            asked = {"request": request, **({"items": items} if items != self._sent else {})}
            self._sent = items
            self._node.stdin.write(json.dumps(asked) + "\n")
            self._node.stdin.flush()
            found: dict[str, Any] = json.loads(self._node.stdout.readline())
            return found

    def close(self) -> None:
        """End it."""
        self._node.communicate(timeout=10)
