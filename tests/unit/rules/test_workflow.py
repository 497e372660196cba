from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from amianai_infra.errors import ConfigurationError
from amianai_infra.rules.workflow import ACTIONS, MARKER, Workflow, origin_repository, render

PLAIN = Workflow(
    domain="example.com",
    region="eu-central-1",
    account="123456789012",
    role_arn="arn:aws:iam::123456789012:role/eeyore-deploy",
    branch="main",
    environment="",
    output="examples/site/out",
    variables={"DOMAIN_NAME": "example.com", "NEXT_PUBLIC_COGNITO_ENDPOINT": ""},
)


def parsed(workflow: Workflow = PLAIN) -> dict[Any, Any]:
    found = yaml.safe_load(render(workflow))
    assert isinstance(found, dict)
    return found


def jobs(workflow: Workflow = PLAIN) -> dict[str, Any]:
    found = parsed(workflow)["jobs"]
    assert isinstance(found, dict)
    return found


def steps(name: str) -> list[dict[str, Any]]:
    found = jobs()[name]["steps"]
    assert isinstance(found, list)
    return found


def test_triggers() -> None:
    # YAML reads the key `on` as true.
    on = parsed()[True]
    assert on["pull_request"] == on["push"] == {"branches": ["main"]}
    assert list(on) == ["pull_request", "push", "workflow_dispatch"], "never pull_request_target: it would run strangers' code with rights"
    assert on["workflow_dispatch"]["inputs"]["release"]["required"] is False


def test_every_action_is_pinned_by_commit_and_named_by_version() -> None:
    text = render(PLAIN)
    uses = re.findall(r"uses: (.*)", text)
    assert len(uses) == 11
    assert all(re.fullmatch(r"[\w.-]+/[\w.-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", one) for one in uses)
    assert {one.partition("@")[0] for one in uses} == {name for name, _, _ in ACTIONS.values()}


def test_each_job_has_the_least_permissions() -> None:
    assert parsed()["permissions"] == {}
    assert {name: job["permissions"] for name, job in jobs().items()} == {
        "build": {"contents": "read"},
        "comment": {"pull-requests": "write"},
        "deploy": {"contents": "read", "id-token": "write"},
        "rollback": {"contents": "read", "id-token": "write"},
    }


def test_what_may_assume_the_role_runs_neither_npm_nor_pull_requests() -> None:
    assert jobs()["deploy"]["if"] == "github.event_name == 'push'"
    assert jobs()["rollback"]["if"] == "github.event_name == 'workflow_dispatch' && github.ref == 'refs/heads/main'"
    for name in ("deploy", "rollback"):
        used = [step.get("uses", "") for step in steps(name)]
        assert any(one.startswith("aws-actions/configure-aws-credentials@") for one in used)
        assert not any("setup-node" in one for one in used)
    for name in ("build", "comment"):
        assert not any("aws-actions" in step.get("uses", "") for step in steps(name))
    assert "--no-build" in steps("deploy")[-1]["run"]


def test_a_release_says_when_its_build_began_before_anything_else_was_done() -> None:
    assert steps("build")[0] == {
        "name": "Begin",
        "id": "begun",
        "run": 'date --utc +begun=%Y-%m-%dT%H:%M:%SZ >>"$GITHUB_OUTPUT"',
    }
    assert jobs()["build"]["outputs"]["begun"] == "${{ steps.begun.outputs.begun }}"
    assert steps("deploy")[-1]["env"] == {"BEGUN": "${{ needs.build.outputs.begun }}"}
    assert '--begun "$BEGUN"' in steps("deploy")[-1]["run"]


def test_the_comment_is_made_by_a_job_that_checks_nothing_out_and_not_for_forks() -> None:
    assert not any("uses" in step for step in steps("comment"))
    assert "head.repo.full_name == github.repository" in jobs()["comment"]["if"]
    assert MARKER in steps("comment")[0]["run"]


def test_no_token_stays_in_a_checkout() -> None:
    checkouts = [step for name in jobs() for step in steps(name) if step.get("uses", "").startswith("actions/checkout@")]
    assert len(checkouts) == 3
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)


def test_nothing_is_interpolated_into_a_shell() -> None:
    scripts = [step["run"] for name in jobs() for step in steps(name) if "run" in step]
    assert len(scripts) == 11
    assert not any("${{" in script for script in scripts)
    assert parsed()["defaults"]["run"]["shell"] == "bash", "which fails when any part of a pipe does"


def test_a_release_is_never_cancelled_and_only_an_older_preview_is() -> None:
    concurrency = parsed()["concurrency"]
    assert concurrency["cancel-in-progress"] == "${{ github.event_name == 'pull_request' }}"
    assert "github.run_id" in concurrency["group"], "a rollback waits for the lock, not in a queue where a push could replace it"
    assert all(job["timeout-minutes"] <= 30 for job in jobs().values())


def test_the_rollback_takes_the_release_as_an_argument_that_cannot_be_an_option() -> None:
    step = steps("rollback")[-1]
    assert step["env"] == {"RELEASE": "${{ inputs.release }}"}
    assert '-- ${RELEASE:+"$RELEASE"}' in step["run"]


def test_pull_requests_get_a_preview_where_there_is_a_role_for_it() -> None:
    """Not those of forks; what holds the role runs the branch's own toolkit, and takes the build as an archive that it does not trust."""
    role = "arn:aws:iam::123456789012:role/eeyore-previews"
    found = parsed(replace(PLAIN, previews_role_arn=role))
    assert found[True]["pull_request"]["types"] == ["opened", "synchronize", "reopened", "closed"]
    assert "types" not in parsed()[True]["pull_request"]
    assert not {"preview", "unpublish"} & set(jobs())
    for name in ("preview", "unpublish"):
        job = found["jobs"][name]
        assert "github.event.pull_request.head.repo.full_name == github.repository" in job["if"]
        assert job["permissions"] == {"contents": "read", "id-token": "write"}
        assert job["steps"][0]["with"]["ref"] == "${{ github.event.pull_request.base.sha }}"
        assert [step["with"]["role-to-assume"] for step in job["steps"] if "role-to-assume" in step.get("with", {})] == [role]
        assert not any("npm" in step.get("run", "") or "ci build" in step.get("run", "") for step in job["steps"])
        assert not any("${{" in step.get("run", "") for step in job["steps"])
    publish = found["jobs"]["preview"]["steps"][-1]["run"]
    assert 'amianai --json deploy --preview "pr-$NUMBER" "$RUNNER_TEMP/site.tar"' in publish
    assert found["jobs"]["comment"]["needs"] == ["build", "preview"]
    assert "$ADDRESS" in found["jobs"]["comment"]["steps"][-1]["run"]
    assert "id-token" not in found["jobs"]["build"]["permissions"]


def test_the_stack_is_named() -> None:
    found = parsed()
    assert found["env"] == {"DOMAIN_NAME": "example.com", "NEXT_PUBLIC_COGNITO_ENDPOINT": "", "SITE_OUTPUT": "examples/site/out"}
    for name in ("deploy", "rollback"):
        login = next(step for step in steps(name) if "configure-aws-credentials" in step.get("uses", ""))
        assert login["with"] == {
            "role-to-assume": PLAIN.role_arn,
            "aws-region": "eu-central-1",
            "allowed-account-ids": "123456789012",
        }


def test_packages_come_from_the_lock_file_by_hash() -> None:
    installs = [step["run"] for name in jobs() for step in steps(name) if step.get("name") == "Toolkit"]
    assert len(installs) == 3
    assert all("--require-hashes -r requirements.lock" in run for run in installs)


def test_a_github_environment_is_asked_for_only_where_the_role_is_used() -> None:
    assert not any("environment" in job for job in jobs().values())
    assert "\x00" not in render(PLAIN)
    with_one = jobs(replace(PLAIN, environment="production"))
    assert {name: job.get("environment") for name, job in with_one.items()} == {
        "build": None,
        "comment": None,
        "deploy": {"name": "production", "url": "https://example.com/"},
        "rollback": {"name": "production", "url": "https://example.com/"},
    }


def test_what_is_passed_on_reaches_the_build_alone_from_secrets_or_variables() -> None:
    assert "env" not in jobs()["build"]
    made = jobs(replace(PLAIN, passed=["NPM_TOKEN", "VITE_*", "GITHUB_SHA"]))
    assert made["build"]["env"] == {"NPM_TOKEN": "${{ secrets.NPM_TOKEN || vars.NPM_TOKEN }}"}
    others = {name: job for name, job in made.items() if name != "build"}
    assert others == {name: job for name, job in jobs().items() if name != "build"}
    assert "secrets." not in str(others)


def test_the_branch_is_the_chosen_one_everywhere() -> None:
    other = replace(PLAIN, branch="release/1.x")
    assert parsed(other)[True]["push"] == {"branches": ["release/1.x"]}
    assert "'refs/heads/release/1.x'" in jobs(other)["rollback"]["if"]
    assert "main" not in re.sub(r"--domain|domain", "", render(other))


def test_the_version_of_node() -> None:
    def node(workflow: Workflow) -> dict[str, Any]:
        found = next(step for step in jobs(workflow)["build"]["steps"] if "setup-node" in step.get("uses", ""))
        assert isinstance(found["with"], dict)
        return found["with"]

    assert node(PLAIN)["node-version"] == "22"
    assert node(replace(PLAIN, node_file="web/.nvmrc")) == {"node-version-file": "web/.nvmrc", "package-manager-cache": False}


@given(st.text(st.characters(codec="utf-8", max_codepoint=0xFFFF, exclude_categories=["Cs"])).filter(lambda text: "${{" not in text))
def test_any_value_stays_a_value(value: str) -> None:
    assert parsed(replace(PLAIN, variables={"AMIANAI_SITE_BUILD_COMMAND": value}))["env"]["AMIANAI_SITE_BUILD_COMMAND"] == value


def test_a_value_cannot_be_an_expression() -> None:
    with pytest.raises(ConfigurationError, match="would evaluate"):
        render(replace(PLAIN, output="${{ secrets.X }}"))


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("git@github.com:octocat/site.git\n", "site"),
        ("https://github.com/octocat/my.site", "my.site"),
        ("https://token@github.com/octocat/site.git", "site"),
        ("ssh://git@github.com:22/octocat/site.git", "site"),
        ("https://gitlab.com/octocat/site.git", ""),
        ("https://example.com/github.com/octocat/site", ""),
        ("/srv/git/site.git", ""),
        ("", ""),
    ],
)
def test_the_repository_of_an_origin(url: str, name: str) -> None:
    assert origin_repository(url) == name
