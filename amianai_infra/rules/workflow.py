"""The GitHub Actions workflow that previews, releases and rolls back the site. Pure.

Source: GitHub Docs, "Workflow syntax for GitHub Actions", "Secure use reference" (untrusted input, pinned actions) and "OpenID
Connect reference".
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from amianai_infra.errors import ConfigurationError

WORKFLOW = ".github/workflows/deploy.yml"
MARKER = "<!-- amianai preview -->"
"""What our own comment on a pull request starts with."""

ACTIONS: Mapping[str, tuple[str, str, str]] = {
    "checkout": ("actions/checkout", "de0fac2e4500dabe0009e67214ff5f5447ce83dd", "v6.0.2"),
    "setup-node": ("actions/setup-node", "53b83947a5a98c8d113130e565377fae1a50d02f", "v6.3.0"),
    "setup-python": ("actions/setup-python", "a309ff8b426b58ec0e2a45f0f869d46889d02405", "v6.2.0"),
    "upload-artifact": ("actions/upload-artifact", "043fb46d1a93c77aae656e7c1c64a875d1fc6a0a", "v7.0.1"),
    "download-artifact": ("actions/download-artifact", "3e5f45b2cfb9172054b4087a40e8e0b5a5461e7c", "v8.0.1"),
    "credentials": ("aws-actions/configure-aws-credentials", "ec61189d14ec14c8efccab744f656cffd0e33f37", "v6.1.0"),
}
"""Every action by commit; a tag can be moved to other code."""

PYTHON = "3.12"
NODE = "22"

_TEMPLATE = Path(__file__).with_suffix(".yml")
_SLOT = re.compile(r"@([a-z-]+)@")
_ORIGIN = re.compile(r"^(?:https?://|ssh://)?(?:[^@/\s]+@)?github\.com(?::\d+/|[:/])[^/\s]+/([A-Za-z0-9._-]+?)(?:\.git)?/?$")

_INSTALL = """\
      - uses: {action}
        with:
          python-version: "{version}"
      # The packages that the lock file names, checked against its hashes. The engine itself is not needed.
      - name: Toolkit
        run: |
          python -m pip install --quiet --disable-pip-version-check --no-compile --require-hashes -r requirements.lock
          python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e ."""

_CREDENTIALS = """\
      - uses: {action}
        with:
          role-to-assume: {role}
          aws-region: {region}
          allowed-account-ids: {account}"""


_SAME_REPOSITORY = "github.event.pull_request.head.repo.full_name == github.repository"
_PREVIEW = """\
  # May write previews and nothing else, and runs the toolkit of the branch, not the pull request's. What comes from a fork is not
  # published: GitHub gives its runs no token.
  preview:
    needs: build
    if: github.event_name == 'pull_request' && {same}
    runs-on: ubuntu-latest
    timeout-minutes: 20
    permissions:
      contents: read
      id-token: write
    outputs:
      url: ${{{{ steps.publish.outputs.url }}}}
    steps:
      - uses: {checkout}
        with:
          ref: ${{{{ github.event.pull_request.base.sha }}}}
          persist-credentials: false
{python}
      - uses: {download}
        with:
          name: site
          path: ${{{{ runner.temp }}}}
{credentials}
      - name: Publish
        id: publish
        env:
          NUMBER: ${{{{ github.event.pull_request.number }}}}
        run: |
          shown=$(amianai --json deploy --preview "pr-$NUMBER" "$RUNNER_TEMP/site.tar")
          jq --raw-output '"url=" + .url' <<<"$shown" >>"$GITHUB_OUTPUT"

  # A pull request that is closed, merged or not, has no preview.
  unpublish:
    if: github.event.action == 'closed' && {same}
    runs-on: ubuntu-latest
    timeout-minutes: 10
    permissions:
      contents: read
      id-token: write
    steps:
      - uses: {checkout}
        with:
          ref: ${{{{ github.event.pull_request.base.sha }}}}
          persist-credentials: false
{python}
{credentials}
      - name: Remove
        env:
          NUMBER: ${{{{ github.event.pull_request.number }}}}
        run: |
          amianai --json previews >"$RUNNER_TEMP/previews.json"
          if jq --exit-status --arg name "pr-$NUMBER" 'any(.preview.name == $name)' "$RUNNER_TEMP/previews.json"; then
            amianai previews remove "pr-$NUMBER"
          fi
"""
_LINK = """\
          if [ -n "$ADDRESS" ]; then
            printf '\\n**Preview:** %s\\n' "$ADDRESS" >>"$RUNNER_TEMP/report.md"
          fi"""


@dataclass(frozen=True)
class Workflow:
    """What the workflow is written from.

    Attributes:
        domain: where the site answers.
        region: region of the stack.
        account: its AWS account.
        role_arn: the deploy role.
        branch: branch that is released, and that pull requests are compared with.
        environment: GitHub environment of the jobs that may assume the role; empty for none.
        output: folder that the site's build fills, relative to the repository.
        variables: environment of every job; nothing in it is a secret.
        passed: variables that the site's build gets besides, from the repository's secrets and variables.
        node_file: file of the repository that names the Node.js version; empty for our own default.
        previews_role_arn: the role that publishes previews of pull requests; empty where none are published.
    """

    domain: str
    region: str
    account: str
    role_arn: str
    branch: str
    environment: str
    output: str
    variables: Mapping[str, str]
    passed: Sequence[str] = ()
    node_file: str = ""
    previews_role_arn: str = ""


def render(workflow: Workflow) -> str:
    """The text of the workflow file.

    Raises:
        ConfigurationError: a value would be an expression to GitHub Actions.
    """
    slots = {name: f"{action}@{commit} # {version}" for name, (action, commit, version) in ACTIONS.items()}
    variables = {**workflow.variables, "SITE_OUTPUT": workflow.output}
    slots |= {
        "branch": _quoted("delivery.branch", workflow.branch),
        "ref": f"'refs/heads/{workflow.branch}'",
        "variables": "\n".join(f"  {name}: {_quoted(name, value)}" for name, value in variables.items()),
        "python": _INSTALL.format(action=slots["setup-python"], version=PYTHON),
        "node": f"node-version-file: {_quoted('node', workflow.node_file)}" if workflow.node_file else f'node-version: "{NODE}"',
        "credentials": _credentials(workflow, workflow.role_arn, slots["credentials"]),
        "environment": _environment(workflow),
        "passed": _passed(workflow),
        "marker": MARKER,
        **_previews(workflow, slots),
    }
    text = _SLOT.sub(lambda found: slots[found[1]], _TEMPLATE.read_text(encoding="utf-8"))
    return re.sub(r"\n\x00(?=\n)", "", text)


def _credentials(workflow: Workflow, role: str, action: str) -> str:
    region, account = _quoted("region", workflow.region), _quoted("account", workflow.account)
    return _CREDENTIALS.format(action=action, role=_quoted("role", role), region=region, account=account)


def _previews(workflow: Workflow, slots: Mapping[str, str]) -> Mapping[str, str]:
    """What the workflow has besides where previews of pull requests are published; marks that take their lines with them where not."""
    if not workflow.previews_role_arn:
        only_push = "        if: github.event_name == 'push'"
        return {"types": "\x00", "packed": only_push, "preview": "\x00", "needed": "build", "address": "\x00", "link": "\x00"}
    jobs = _PREVIEW.format(
        same=_SAME_REPOSITORY,
        checkout=slots["checkout"],
        download=slots["download-artifact"],
        python=_INSTALL.format(action=slots["setup-python"], version=PYTHON),
        credentials=_credentials(workflow, workflow.previews_role_arn, slots["credentials"]),
    )
    return {
        "types": "    types: [opened, synchronize, reopened, closed]",
        "packed": "\x00",
        "preview": jobs,
        "needed": "build, preview",
        "address": "          ADDRESS: ${{ needs.preview.outputs.url }}",
        "link": _LINK,
    }


def _passed(workflow: Workflow) -> str:
    """The build's own variables. GitHub lets nobody ask for all that begin alike, and sets its own ones itself."""
    lines = [
        f"      {name}: ${{{{ secrets.{name} || vars.{name} }}}}"
        for name in workflow.passed
        if not name.endswith("*") and not name.upper().startswith("GITHUB_")
    ]
    return "\n".join(["    env:", *lines]) if lines else "\x00"


def _environment(workflow: Workflow) -> str:
    """The job's GitHub environment; a mark that takes its line with it when there is none."""
    if not workflow.environment:
        return "\x00"
    name, url = _quoted("delivery.environment", workflow.environment), _quoted("domain_name", f"https://{workflow.domain}/")
    return f"    environment:\n      name: {name}\n      url: {url}"


def _quoted(name: str, value: str) -> str:
    """A YAML string of one line, whatever the value holds."""
    if "${{" in value:
        raise ConfigurationError(
            "A value holds `${{`, which GitHub Actions would evaluate.", where=f"{name} = {value}", fix="write it without `${{`"
        )
    return json.dumps(value)


def origin_repository(url: str) -> str:
    """The name of the GitHub repository that git's origin points to; empty when it is none.

    Args:
        url: such as `git@github.com:octocat/site.git` or `https://github.com/octocat/site`.
    """
    found = _ORIGIN.match(url.strip())
    return found[1] if found else ""
