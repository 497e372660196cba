"""The commands as processes of their own: what they print, what they load, how they end."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.functional.site.site_world import Stage, next_site

HEAVY = (
    *("asyncio", "boto3", "botocore", "pulumi", "pydantic", "rich", "yaml", "email.utils", "random", "shutil", "subprocess"),
    *("amianai_infra.site.environment", "amianai_infra.site.references", "amianai_infra.site.secrets"),
)


def run(stage: Stage, *words: str) -> subprocess.CompletedProcess[str]:
    process = stage.command(*words)
    out, errors = process.communicate(timeout=60)
    return subprocess.CompletedProcess(words, process.returncode, out, errors)


def test_deploy_rollback_releases(stage: Stage) -> None:
    stage.prepare_command()
    stage.write(next_site("one"))
    first = run(stage, "deploy", "--no-build", "--no-verify")
    assert first.returncode == 0, first.stderr
    assert "release 1, build one" in first.stdout
    assert "AWS account 123456789012, region us-east-1, domain example.com" in first.stderr
    stage.write(next_site("two"))
    assert json.loads(run(stage, "--json", "deploy", "--no-build", "--no-verify").stdout)["number"] == 2
    back = run(stage, "rollback", "--no-verify")
    assert back.returncode == 0, back.stderr
    assert "release 3, the content of release 1, build one" in back.stdout
    listed = run(stage, "releases").stdout.splitlines()
    assert [line.split()[0] for line in listed[1:]] == ["*", "2", "1"]
    assert "rollback to 1" in listed[1]
    assert run(stage, "rollback", "9", "--no-verify").returncode == 1


def test_what_two_releases_differ_in(stage: Stage) -> None:
    stage.prepare_command()
    for files in ({"index.html": b"<p>one"}, {"index.html": b"<p>one and more", "new.html": b"<p>new"}):
        stage.write(files)
        assert run(stage, "deploy", "--no-build", "--no-verify").returncode == 0
    shown = run(stage, "releases", "diff")
    assert shown.returncode == 0, shown.stderr
    assert "release 1 (deploy" in shown.stdout
    assert "Pages: 1 added, 1 changed (+15 bytes)" in shown.stdout
    found = json.loads(run(stage, "--json", "releases", "diff", "2", "1").stdout)
    assert [(one["kind"], one["path"], one["growth"]) for one in found["changes"]] == [
        ("changed", "index.html", -9),
        ("removed", "new.html", -6),
    ]
    assert run(stage, "releases", "diff", "7").returncode == 1


def test_what_search_engines_would_find_wrong_is_told(stage: Stage) -> None:
    stage.prepare_command()
    stage.write({"index.html": b"<p>one", "robots.txt": b"User-agent: *\nDisallow: /\nSitemap: https://example.com/map.xml\n"})
    done = run(stage, "deploy", "--no-build", "--no-verify")
    assert done.returncode == 0, done.stderr
    assert "robots.txt keeps every search engine away from the whole site" in done.stderr
    assert "robots.txt, line 3: https://example.com/map.xml names a sitemap" in done.stderr


def test_an_unchanged_site_loads_nothing_heavy(stage: Stage) -> None:
    stage.prepare_command()
    stage.write(next_site("one"))
    assert run(stage, "deploy", "--no-build", "--no-verify").returncode == 0
    stage.world.forget()
    program = (
        "import sys\n"
        "from amianai_infra.cli.main import main\n"
        "try:\n    main()\n"
        f"finally:\n    print([name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "deploy", "--no-build", "--no-verify"],
        cwd=stage.target.root,
        env=stage.environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "Nothing changed" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"
    assert stage.world.requests == [("GET", "")]


def test_ambient_variables_do_not_reach_the_bucket_client(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_SKIP_SIGNATURE", "AWS_S3_EXPRESS", "AWS_REQUEST_PAYER"):
        monkeypatch.setenv(name, "true")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "of somebody else")
    stage.write(next_site("one"))
    assert stage.deploy(verify=False).number == 1


@pytest.mark.parametrize("words", [("deploy", "--wait", "soon"), ("rollback", "zero"), ("deploy", "--what")])
def test_bad_usage(stage: Stage, words: tuple[str, ...]) -> None:
    stage.prepare_command()
    done = run(stage, *words)
    assert done.returncode == 2
    assert stage.world.requests == []


def test_a_stack_that_is_not_set_up_is_said(stage: Stage) -> None:
    stage.prepare_command()
    (stage.target.local / "stack.json").unlink()
    stage.write(next_site("one"))
    done = run(stage, "deploy", "--no-build", "--no-verify")
    assert done.returncode == 1
    assert "The stack is not set up" in done.stderr
    assert "amianai setup" in done.stderr
