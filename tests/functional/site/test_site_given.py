"""A finished site is published from where it lies, or from an archive, without a build."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile

from tests.functional.site.site_world import Stage, next_site


def archive(files: dict[str, str]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as made:
        for path, content in files.items():
            entry = tarfile.TarInfo(f"./{path}")
            entry.size = len(content)
            made.addfile(entry, io.BytesIO(content.encode()))
    return file.getvalue()


def run(stage: Stage, *words: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    program = "from amianai_infra.cli.main import main; main()"
    return subprocess.run(
        [sys.executable, "-c", program, *words],
        cwd=stage.target.root,
        env={**stage.environment(), "AMIANAI_SITE_BUILD_COMMAND": "false"},
        input=given,
        capture_output=True,
        timeout=60,
        check=False,
    )


def test_a_stream_and_a_folder_are_published_without_a_build_and_asked_for_where_the_source_is_another(stage: Stage) -> None:
    stage.prepare_command()
    first = run(stage, "--json", "deploy", "-", "--no-verify", given=archive(next_site("piped")))
    assert first.returncode == 0, first.stderr.decode()
    assert json.loads(first.stdout)["number"] == 1
    assert b"piped 0" in stage.world.live()["index.html"].data
    assert not list((stage.target.local / "site").glob("unpacked-*"))
    again = run(stage, "--json", "deploy", "-", "--no-verify", given=archive(next_site("piped")))
    assert not json.loads(again.stdout)["changed"]

    stage.write(next_site("mine"))
    refused = run(stage, "deploy", "site/out", "--no-verify")
    assert refused.returncode == 3
    assert b"release 1 was published from -; this is site/out. Publish it in its place?" in refused.stderr
    assert b"piped 0" in stage.world.live()["index.html"].data
    agreed = run(stage, "--yes", "--json", "deploy", "site/out", "--no-verify")
    assert json.loads(agreed.stdout)["number"] == 2
    # The very folder that the settings name: no question.
    stage.write(next_site("newer"))
    assert json.loads(run(stage, "--json", "deploy", "--no-build", "--no-verify").stdout)["number"] == 3


def test_what_is_given_is_judged_like_a_build(stage: Stage) -> None:
    stage.prepare_command()
    refused = run(stage, "deploy", "-", given=archive({"index.html": "page", "id_rsa": "x", ".env": "x"}))
    assert refused.returncode == 1
    assert b"id_rsa" in refused.stderr
    assert b"no index.html" in run(stage, "deploy", "-", given=archive({"out/index.html": "page"})).stderr
    assert stage.world.live() == {}
