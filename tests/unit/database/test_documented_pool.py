"""The pool for Node that docs/database.md shows, run by Node with packages that note what is asked of them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

DOCUMENTED = Path(__file__).parents[3] / "docs" / "database.md"
PACKAGES = {
    "pg": """
import { EventEmitter } from "node:events";
class Pool extends EventEmitter {
  constructor({ user }) { super(); console.log("pool of", user); }
  query() { this.emit("error", new Error("terminating connection")); return { rows: [] }; }
}
export default { Pool };
""",
    "@aws-sdk/client-secrets-manager": """
let failures = 1;
export class GetSecretValueCommand {}
export class SecretsManagerClient {
  async send() {
    console.log("asked for the secret");
    if (failures-- > 0) throw new Error("Region is missing");
    return { SecretString: '{"username": "someone", "password": "x"}' };
  }
}
""",
}
PROGRAM = """
import { query } from "./pool.mjs";
console.log("imported");
await query("SELECT 1").catch((error) => console.log(error.message));
await query("SELECT 1");
await query("SELECT 1");
"""


def test_it_logs_in_at_the_first_query_and_outlives_an_idle_connection(tmp_path: Path) -> None:
    (block,) = [part.partition("```")[0] for part in DOCUMENTED.read_text().split("```js\n")[1:] if "pg.Pool" in part]
    (tmp_path / "pool.mjs").write_text(block)
    (tmp_path / "program.mjs").write_text(PROGRAM)
    (tmp_path / "ca.pem").touch()
    for name, text in PACKAGES.items():
        folder = tmp_path / "node_modules" / name
        folder.mkdir(parents=True)
        (folder / "index.mjs").write_text(text)
        (folder / "package.json").write_text('{"exports": "./index.mjs"}')
    environ = {"DATABASE_CA": "ca.pem", "PATH": os.environ["PATH"]}
    done = subprocess.run(["node", "program.mjs"], cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)
    said = ["imported", "asked for the secret", "Region is missing", "asked for the secret", "pool of someone"]
    assert (done.stdout.splitlines(), done.returncode) == (said, 0), done.stderr
    assert done.stderr.splitlines() == ["idle database connection: terminating connection"] * 2
