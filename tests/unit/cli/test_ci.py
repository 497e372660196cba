from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from amianai_infra.cli.main import cli
from amianai_infra.outputs import StackOutputs
from amianai_infra.rules.workflow import MARKER, WORKFLOW
from amianai_infra.site.preview import Built, Change, compare, report
from amianai_infra.site.tree import File
from tests.unit.operations.fakes import OUTPUTS

ROLE = "arn:aws:iam::123456789012:role/eeyore-deploy"
CONFIG = (
    "config:\n  amianai-infra:domainName: example.com\n  amianai-infra:siteDirectory: web\n  amianai-infra:siteBuildCommand: sh build.sh\n"
)


def make_project(root: Path, page: str = "<h1>Hello</h1>") -> Path:
    (root / "web").mkdir(parents=True)
    (root / ".git").mkdir()
    (root / "Pulumi.yaml").write_text("name: amianai-infra\n")
    (root / "Pulumi.prod.yaml").write_text(CONFIG)
    (root / "web/page.html").write_text(page)
    (root / "web/build.sh").write_text(
        'mkdir -p out && cp page.html out/index.html && echo "$AMIANAI_BUILD_ID $NEXT_PUBLIC_USER_POOL_ID" >out/version.txt\n'
    )
    return root


def cache(root: Path, outputs: StackOutputs) -> None:
    (root / ".amianai").mkdir(exist_ok=True)
    (root / ".amianai/stack.json").write_text(outputs.model_dump_json())


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose stack was seen before: nothing here may call AWS."""
    root = make_project(tmp_path / "project")
    cache(root, OUTPUTS.model_copy(update={"deploy_role_arn": ROLE}))
    monkeypatch.setenv("AMIANAI_ROOT", str(root))
    return root


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["ci", *arguments])


def test_init_writes_the_workflow_from_the_cached_outputs(project: Path) -> None:
    result = run("init")
    assert result.exit_code == 0, result.output
    assert f"{WORKFLOW} written." in result.stdout
    assert f"git add {WORKFLOW} Pulumi.prod.yaml" in result.stdout
    assert "trusts branch main" in result.stdout
    text = (project / WORKFLOW).read_text()
    found = yaml.safe_load(text)
    assert ROLE in text
    assert found["env"]["DOMAIN_NAME"] == "example.com"
    assert found["env"]["SITE_OUTPUT"] == "web/out"
    assert found["env"]["NEXT_PUBLIC_USER_POOL_ID"] == "us-east-1_A"
    assert not any(name.startswith("AMIANAI_") for name in found["env"]), "the stack file has it already"


def test_init_again_changes_nothing(project: Path) -> None:
    run("init")
    assert run("init", "--check").exit_code == 0
    again = run("--json", "init")
    assert json.loads(again.stdout) == {"path": str(project / WORKFLOW), "state": "up to date"}


def test_init_shows_what_would_change_and_leaves_an_edited_workflow_alone(project: Path) -> None:
    run("init")
    path = project / WORKFLOW
    edited = path.read_text().replace("timeout-minutes: 20", "timeout-minutes: 90")
    path.write_text(edited)
    result = run("init")
    assert result.exit_code == 3
    assert "| -    timeout-minutes: 90\n| +    timeout-minutes: 20" in result.stderr
    assert "--force" in result.stderr
    assert path.read_text() == edited
    assert run("--yes", "init").exit_code == 3, "--yes does not overwrite somebody's work"
    assert run("init", "--force").exit_code == 0
    assert path.read_text() != edited


def test_check_tells_and_writes_nothing(project: Path) -> None:
    result = run("init", "--check")
    assert result.exit_code == 1
    assert "does not exist" in result.stderr
    assert not (project / WORKFLOW).exists()
    run("init")
    (project / WORKFLOW).write_text("name: other\n")
    result = run("init", "--check", "--force")
    assert result.exit_code == 1
    assert "-name: other" in result.stderr
    assert (project / WORKFLOW).read_text() == "name: other\n"


def test_settings_that_no_stack_file_holds_go_into_the_workflow(project: Path) -> None:
    result = run("--set", "site.output=dist", "--set", "delivery.environment=production", "init")
    assert "environment production (let only branch main deploy to it)" in result.stdout
    found = yaml.safe_load((project / WORKFLOW).read_text())
    assert found["env"]["AMIANAI_SITE_OUTPUT"] == "dist"
    assert found["env"]["SITE_OUTPUT"] == "web/dist"
    assert found["jobs"]["deploy"]["environment"]["name"] == "production"


def test_a_folder_of_this_machine_alone_does_not_go_into_the_workflow(project: Path) -> None:
    result = run("--set", f"site.directory={project / 'web'}", "init")
    assert result.exit_code == 2
    assert "this file is committed" in result.stderr
    run("--set", "site.output=../dist", "init")
    assert yaml.safe_load((project / WORKFLOW).read_text())["env"]["SITE_OUTPUT"] == "dist"


@pytest.mark.parametrize("name", [".nvmrc", "web/.node-version"])
def test_the_projects_own_node_version_is_used(project: Path, name: str) -> None:
    (project / name).write_text("20\n")
    run("init")
    assert f'node-version-file: "{name}"' in (project / WORKFLOW).read_text()


def test_without_outputs_the_error_says_what_to_do(project: Path) -> None:
    (project / ".amianai/stack.json").unlink()
    result = run("init")
    assert result.exit_code == 1
    assert "No usable AWS credentials" in result.stderr
    assert not (project / WORKFLOW).exists()


def test_without_a_role_the_error_says_how_to_get_one(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache(project, OUTPUTS)
    monkeypatch.setattr("amianai_infra.target.fetch_outputs", lambda target, prefix: OUTPUTS)
    result = run("init")
    assert result.exit_code == 2
    assert "GITHUB_USERNAME" in result.stderr
    assert "/eeyore/stack" in result.stderr


def test_a_role_that_was_made_since_is_found(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache(project, OUTPUTS)
    fresh = OUTPUTS.model_copy(update={"deploy_role_arn": ROLE})
    monkeypatch.setattr("amianai_infra.target.fetch_outputs", lambda target, prefix: fresh)
    assert run("init").exit_code == 0


def test_check_refuses_a_build_for_another_stack(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("init")
    for name, value in yaml.safe_load((project / WORKFLOW).read_text())["env"].items():
        monkeypatch.setenv(name, value)
    assert run("check").exit_code == 0
    monkeypatch.setenv("NEXT_PUBLIC_USER_POOL_ID", "us-east-1_OLD")
    result = run("check")
    assert result.exit_code == 3
    assert "NEXT_PUBLIC_USER_POOL_ID is 'us-east-1_OLD', not 'us-east-1_A'" in result.stderr


def test_build_takes_the_public_settings_and_nothing_of_aws(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / ".amianai/stack.json").unlink()
    monkeypatch.setenv("NEXT_PUBLIC_USER_POOL_ID", "pool")
    data = json.loads(run("--json", "build").stdout)
    assert (project / "web/out/version.txt").read_text() == f"{data['build']} pool\n"
    assert data["files"] == 3, "with a 404 page"
    assert data["changes"] is None


def test_build_makes_the_id_that_deploy_makes(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from amianai_infra.site import build
    from amianai_infra.site.environment import Surroundings, public_environment
    from amianai_infra.target import AwsTarget

    public = public_environment(AwsTarget(project, "us-east-1", "eeyore", {}), OUTPUTS)
    site = build.Site(project / "web", "sh build.sh", project / "web/out", public, Surroundings.of({}, []))
    for name, value in public.items():
        monkeypatch.setenv(name, value)
    assert json.loads(run("--json", "build").stdout)["build"] == build.sources(site).build_id


def test_build_compares_with_another_checkout(project: Path, tmp_path: Path) -> None:
    base = make_project(tmp_path / "base", "<h1>Old</h1>")
    (base / "web/build.sh").write_text((base / "web/build.sh").read_text() + "echo gone >out/gone.txt\n")
    result = run("--json", "build", "--against", str(base), "--report", str(tmp_path / "report.md"))
    assert [(one["kind"], one["path"]) for one in json.loads(result.stdout)["changes"]] == [("gone", "gone.txt"), ("changed", "index.html")]
    text = (tmp_path / "report.md").read_text()
    assert text.startswith(MARKER)
    assert "~ index.html" in text
    assert "version.txt" not in text, "both builds carry one id"


def test_equal_sources_are_built_both_unless_they_declare_their_inputs(project: Path, tmp_path: Path) -> None:
    """A build may read what is beside the site's folder."""
    base = make_project(tmp_path / "base")
    for root, text in ((project, "new"), (base, "old")):
        (root / "shared").write_text(text)
        (root / "web/build.sh").write_text("mkdir -p out && cp ../shared out/index.html\n")
    assert "~ index.html" in run("build", "--against", str(base)).stdout
    shutil.rmtree(base / "web/out")
    for root in (project, base):
        (root / "shared").write_text("equal")
        (root / "Pulumi.prod.yaml").write_text(CONFIG + "  amianai-infra:siteInputs: ., ../shared\n")
    result = run("build", "--against", str(base))
    assert "The site stays as it is" in result.stdout, result.output
    assert not (base / "web/out").exists()


def test_a_base_that_does_not_build_is_said_and_no_failure(project: Path, tmp_path: Path) -> None:
    base = make_project(tmp_path / "base", "<h1>Old</h1>")
    (base / "web/build.sh").write_text("exit 7\n")
    result = run("build", "--against", str(base))
    assert result.exit_code == 0, result.output
    assert "could not be built, so nothing is compared: The site's build failed (exit code 7)" in result.stdout


def test_a_build_that_no_release_would_take_fails(project: Path) -> None:
    (project / "web/build.sh").write_text("mkdir -p out && cp page.html out/index.html && cp page.html out/.env\n")
    result = run("build")
    assert result.exit_code == 1
    assert ".env" in result.stderr


def file(path: str, etag: str = "1", kind: str = "text/html") -> File:
    return File(path, 10, etag, kind)


def test_comparison() -> None:
    before = [file("a"), file("b"), file("c"), file("d")]
    after = [file("b"), file("c", "2"), file("d", kind="text/plain"), file("e")]
    assert [(one.kind, one.path) for one in compare(before, after)] == [("gone", "a"), ("changed", "c"), ("changed", "d"), ("new", "e")]
    assert compare(before, before) == []


def test_a_name_cannot_leave_its_line_in_the_comment() -> None:
    text = report(Built("id", ()), [Change("new", "x\n```\n<img src=x> @everyone", 1)])
    assert text.count("```") == 2
    assert "+ x ''' <img src=x> @everyone  1 bytes\n" in text


def test_a_comment_stays_below_githubs_limit() -> None:
    changes = [Change("new", f"{number}/" + "é" * 900, 1) for number in range(5000)]
    text = report(Built("id", ()), changes)
    assert len(text) < 65_536
    assert len(text.encode()) < 131_072, "one environment variable on Linux"
    assert "… and 4800 more" in text


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_the_repository_is_that_of_gits_origin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from amianai_infra.cli.options import App

    (tmp_path / "Pulumi.yaml").write_text("name: amianai-infra\n")
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    environ = {"AMIANAI_ROOT": str(tmp_path), "DOMAIN_NAME": "example.com", "GITHUB_USERNAME": "octocat@12"}
    assert App(environ=environ).settings.delivery.repository == ""
    subprocess.run(["git", "-C", str(tmp_path), "remote", "add", "origin", "git@github.com:octocat/shop.git"], check=True)
    assert App(environ=environ).settings.delivery.repository == "shop"
    assert App(environ={**environ, "AMIANAI_DELIVERY_REPOSITORY": "shop@34"}).settings.delivery.repository == "shop@34"
