"""The site's build: a deterministic id, built always or as its declared inputs say, failures shown, secrets kept from it."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from amianai_infra.errors import BuildError, MissingToolError, RefusedError
from amianai_infra.progress import Progress
from amianai_infra.site import Release
from tests.functional.site.site_world import Stage

COMMAND = (
    "mkdir -p out && cp src/page.html out/index.html && echo built >> ../builds.txt && "
    'printf \'{"build":"%s"}\' "$AMIANAI_BUILD_ID" > out/version.json && env > ../environment.txt'
)


@pytest.fixture
def sources(stage: Stage) -> Path:
    folder = stage.target.root / "site"
    (folder / "src").mkdir(parents=True)
    (folder / "src" / "page.html").write_text("<html>one</html>")
    return folder


def builds(stage: Stage) -> int:
    log = stage.target.root / "builds.txt"
    return len(log.read_text().splitlines()) if log.exists() else 0


def test_every_deploy_builds_and_equal_sources_are_named_alike(stage: Stage, sources: Path) -> None:
    first = stage.deploy(build=True, build_command=COMMAND)
    assert len(first.build) == 16
    assert json.loads((sources / "out" / "version.json").read_text()) == {"build": first.build}
    (sources / "src" / "page.html").touch()
    stage.world.forget()
    again = stage.deploy(build=True, build_command=COMMAND)
    assert builds(stage) == 2
    assert not again.changed
    assert stage.world.requests == [("GET", ""), ("GET", "")]
    (sources / "src" / "page.html").write_text("<html>two</html>")
    other = stage.deploy(build=True, build_command=COMMAND)
    assert builds(stage) == 3
    assert other.build != first.build


def beside(stage: Stage, sources: Path, value: str) -> None:
    (stage.target.root / "ui").mkdir(exist_ok=True)
    (stage.target.root / "ui" / "text").write_text(value)


def in_a_folder(name: str) -> Callable[[Stage, Path, str], None]:
    def change(stage: Stage, sources: Path, value: str) -> None:
        (sources / name).mkdir(exist_ok=True)
        (sources / name / "text").write_text(value)

    return change


def through_a_link(stage: Stage, sources: Path, value: str) -> None:
    beside(stage, sources, value)
    if not (sources / "linked").exists():
        (sources / "linked").symlink_to(stage.target.root / "ui")


def in_a_file(name: str) -> Callable[[Stage, Path, str], None]:
    def change(stage: Stage, sources: Path, value: str) -> None:
        (sources / name).write_text(value)

    return change


INPUTS: list[tuple[Callable[[Stage, Path, str], None], str]] = [
    (beside, "../ui/text"),
    (in_a_folder("coverage"), "coverage/text"),
    (in_a_folder(".cache"), ".cache/text"),
    (through_a_link, "linked/text"),
    (in_a_file(".env.staging"), ".env.staging"),
]


@pytest.mark.parametrize(("change", "path"), INPUTS, ids=[path for _, path in INPUTS])
@pytest.mark.parametrize("declared", [False, True])
def test_whatever_the_build_reads_an_edit_is_released(
    stage: Stage, sources: Path, change: Callable[[Stage, Path, str], None], path: str, declared: bool
) -> None:
    command = f"mkdir -p out && cat {path} > out/index.html && echo built >> ../builds.txt"
    inputs = [path.partition("/text")[0]] if declared else []
    for value in ("one", "two"):
        change(stage, sources, value)
        assert stage.deploy(build=True, build_command=command, inputs=inputs).changed
        assert stage.world.live()["index.html"].data == value.encode()
    assert not stage.deploy(build=True, build_command=command, inputs=inputs).changed
    assert builds(stage) == (2 if declared else 3), "what is declared and did not change is not built again"


def test_a_variable_that_the_command_reads_is_used_or_named(
    stage: Stage, sources: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = 'mkdir -p out && echo "api $API" > out/index.html'
    for value in ("one", "two"):
        monkeypatch.setenv("API", value)
        stage.deploy(build=True, build_command=command, pass_environment=["API"])
        assert stage.world.live()["index.html"].data.decode() == f"api {value}\n"
    publisher = stage.publisher(build_command=command)
    publisher._progress = Progress()
    publisher.deploy(build=True)
    assert "kept from the build: API" in " ".join(capsys.readouterr().err.split())


def test_content_from_elsewhere_is_released_and_said(stage: Stage, sources: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As from a CMS, or by date (SvelteKit's own default): nothing in the sources tells."""

    def deploy(**settings: object) -> str:
        command = "mkdir -p out && echo x >> ../elsewhere && wc -l < ../elsewhere > out/index.html && echo same > out/a.txt"
        publisher = stage.publisher(build_command=command, verify=False, **settings)  # type: ignore[arg-type]
        publisher._progress = Progress()
        assert "index.html" in publisher.deploy(build=True).uploaded
        return " ".join(capsys.readouterr().err.split())

    assert "are not" not in deploy()
    assert "sources and settings are those of release 1, and 1 files are not (index.html)" in deploy()
    assert "of release 2, and 1 files are not (index.html)" in deploy(cache_rules={"*.txt": "no-store"})
    (sources / "src" / "page.html").write_text("<html>two</html>")
    assert "are not" not in deploy()


def test_what_a_build_writes_for_itself_is_no_source(stage: Stage, sources: Path) -> None:
    """As `.svelte-kit/`: with it the build had another name each time, and the pages that hold it were uploaded."""
    command = 'mkdir -p out .svelte-kit && date +%s%N > .svelte-kit/generated && echo "$AMIANAI_BUILD_ID" > out/index.html'
    assert stage.deploy(build=True, build_command=command).changed
    assert not stage.deploy(build=True, build_command=command).changed


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells the peak of one process")
def test_a_film_beside_the_sources_is_not_held_in_memory(stage: Stage, sources: Path) -> None:
    with (sources / "film.mp4").open("wb") as film:
        film.truncate(400 << 20)
    stage.prepare_command()
    program = (
        "from pathlib import Path; from amianai_infra.cli.main import cli\n"
        "try: cli(['--set', 'site.build_command=mkdir -p out; cp src/page.html out/index.html', 'deploy', '--no-verify'])\n"
        "finally: print(Path('/proc/self/status').read_text().partition('VmHWM:')[2].split()[0])"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=stage.target.root, env=stage.environment(), capture_output=True, text=True, timeout=120, check=False)
    assert "Released 2 files" in done.stdout, done.stderr
    assert int(done.stdout.splitlines()[-1]) < 200_000, "kilobytes, of 400 MB; what getrusage tells counts the process that started it"


def test_declared_inputs_that_did_not_change_are_not_built(stage: Stage, sources: Path) -> None:
    def deploy(*, everything: bool = False) -> Release:
        return stage.deploy(build=True, build_command=COMMAND, inputs=["src", "*.json"], everything=everything)

    (sources / "package.json").write_text("{}")
    deploy()
    (sources / "other").write_text("no input")
    stage.world.forget()
    assert not deploy().changed
    assert builds(stage) == 1
    assert stage.world.requests == [("GET", "")]
    (sources / "package.json").write_text('{"name": "x"}')
    deploy()
    assert builds(stage) == 2
    deploy(everything=True)
    assert builds(stage) == 3, "--everything builds, too"


def test_an_input_that_is_not_there_is_said(stage: Stage, sources: Path) -> None:
    with pytest.raises(BuildError, match="'sources' does not exist"):
        stage.deploy(build=True, build_command=COMMAND, inputs=["src", "sources"])
    assert builds(stage) == 0


def test_a_fresh_checkout_of_declared_inputs_that_are_live_is_not_built(stage: Stage, sources: Path) -> None:
    import shutil

    def deploy() -> Release:
        return stage.deploy(build=True, build_command=COMMAND, inputs=["src"])

    deploy()
    shutil.rmtree(sources / "out")
    shutil.rmtree(stage.target.local)
    stage.world.forget()
    assert not deploy().changed
    assert builds(stage) == 1
    assert stage.world.count("PUT") == 0
    stage.world.store("index.html", b"defaced")
    assert deploy().uploaded == ("index.html",)
    assert builds(stage) == 2


def test_an_output_that_somebody_changed_is_built_again(stage: Stage, sources: Path) -> None:
    stage.deploy(build=True, build_command=COMMAND, inputs=["src"])
    (sources / "out" / "index.html").write_text("tampered")
    assert not stage.deploy(build=True, build_command=COMMAND, inputs=["src"]).changed
    assert builds(stage) == 2


def test_a_build_that_fails_in_front_of_a_pipe_has_failed(stage: Stage, sources: Path) -> None:
    stage.deploy(build=True, build_command=COMMAND)
    with pytest.raises(BuildError, match="exit code 3"):
        stage.deploy(build=True, build_command="sh -c 'echo no; exit 3' | tee log")


def test_public_settings_are_part_of_the_build(stage: Stage, sources: Path) -> None:
    first = stage.deploy(build=True, build_command=COMMAND)
    other = stage.deploy(build=True, build_command=COMMAND, environment={"NEXT_PUBLIC_COLOUR": "blue"})
    assert first.build != other.build
    environment = (stage.target.root / "environment.txt").read_text()
    assert "NEXT_PUBLIC_COLOUR=blue" in environment
    assert "NEXT_PUBLIC_USER_POOL_ID=x" in environment


FRAMEWORKS = [
    ("next", "NEXT_PUBLIC_"),
    ("vite", "VITE_"),
    ("astro", "PUBLIC_"),
    ("@sveltejs/kit", "PUBLIC_"),
    ("nuxt", "NUXT_PUBLIC_"),
    ("react-scripts", "REACT_APP_"),
    ("gatsby", "GATSBY_"),
    ("@angular/core", "NG_APP_"),
]


@pytest.mark.parametrize(("package", "prefix"), FRAMEWORKS)
def test_public_values_have_the_beginning_that_the_framework_knows(
    stage: Stage, sources: Path, monkeypatch: pytest.MonkeyPatch, package: str, prefix: str
) -> None:
    (sources / "package.json").write_text(json.dumps({"devDependencies": {package: "1"}}))
    monkeypatch.setenv(f"{prefix}API_URL", "https://api.example.com")
    monkeypatch.setenv(f"{prefix}USER_POOL_ID", "of another stack")
    monkeypatch.setenv("OTHER_PUBLIC_THING", "hidden")
    stage.deploy(build=True, build_command=COMMAND)
    environment = (stage.target.root / "environment.txt").read_text().splitlines()
    assert f"{prefix}USER_POOL_ID=x" in environment, "the stack's own value"
    assert "NEXT_PUBLIC_USER_POOL_ID=x" in environment
    assert f"{prefix}API_URL=https://api.example.com" in environment
    assert not [line for line in environment if "hidden" in line]


def test_names_that_sound_secret_are_the_pages_own_business(stage: Stage, sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (sources / "package.json").write_text('{"dependencies": {"vite": "7", "astro": "5"}}')
    monkeypatch.setenv("VITE_AUTH_PASSWORDLESS", "true")
    monkeypatch.setenv("PUBLIC_SECRET_SANTA", "Rudolph")
    stage.deploy(build=True, build_command=COMMAND)
    environment = (stage.target.root / "environment.txt").read_text()
    assert "VITE_AUTH_PASSWORDLESS=true\n" in environment
    assert "PUBLIC_SECRET_SANTA=Rudolph\n" in environment


@pytest.mark.parametrize(
    "value",
    [
        "AKIAABCDEFGHIJKLMNOP",
        "postgres://app:Xk29-fLq0z@db.amianai.net/app",
        "-----BEGIN PRIVATE KEY-----\n" + "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSj" * 2,
        "ghp_" + "a1B2" * 9,
        "npm_" + "a1B2" * 9,
        "sk_live_" + "a1B2" * 6,
        "the value of a credential",
    ],
)
@pytest.mark.parametrize("chosen", [True, False])
def test_a_value_that_looks_secret_is_refused_by_name(
    stage: Stage, sources: Path, monkeypatch: pytest.MonkeyPatch, value: str, chosen: bool
) -> None:
    (sources / "package.json").write_text('{"dependencies": {"vite": "7"}}')
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "the value of a credential")
    if not chosen:
        monkeypatch.setenv("VITE_COLOUR", value)
    with pytest.raises(RefusedError, match="VITE_COLOUR holds") as caught:
        stage.deploy(build=True, build_command=COMMAND, environment={"VITE_COLOUR": value} if chosen else {})
    assert value not in str(caught.value)
    assert builds(stage) == 0


SECRETS = (
    *("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "PULUMI_CONFIG_PASSPHRASE", "MY_SECRET", "PGPASSFILE", "GITHUB_TOKEN", "DATABASE_URL"),
    *("STRIPE_API_KEY", "SENTRY_AUTH_TOKEN", "SSH_AUTH_SOCK", "NODE_AUTH_TOKEN", "npm_config__authToken", "npm_config__password"),
    *("YARN_NPM_AUTH_TOKEN", "KUBECONFIG", "ANYTHING_ELSE"),
)
NEEDED = {
    "NODE_OPTIONS": "--max-old-space-size=4096",
    "npm_config_registry": "https://registry.example.com/",
    "NPM_CONFIG_CACHE": "/elsewhere",
    "HTTPS_PROXY": "http://proxy.example.com:3128",
    "no_proxy": "localhost",
    "LC_ALL": "C.UTF-8",
    "COREPACK_INTEGRITY_KEYS": "0",
    "XDG_CACHE_HOME": "/cache",
}


def test_the_build_gets_what_programs_need_and_nothing_else(stage: Stage, sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SECRETS:
        monkeypatch.setenv(name, "hunter2")
    for name, value in NEEDED.items():
        monkeypatch.setenv(name, value)
    stage.deploy(build=True, build_command=COMMAND)
    environment = (stage.target.root / "environment.txt").read_text()
    assert "hunter2" not in environment
    for name, value in NEEDED.items():
        assert f"{name}={value}\n" in environment
    for name in ("PATH", "HOME"):
        assert f"\n{name}=" in f"\n{environment}"


def test_what_the_settings_name_is_passed_on_and_kept_nowhere(stage: Stage, sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = {"NPM_TOKEN": "hunter2-token", "VITE_API_URL": "https://api.example.com", "VITE_TITLE": "hello", "OTHER": "hunter2-other"}
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    stage.deploy(build=True, build_command=COMMAND, pass_environment=["NPM_TOKEN", "VITE_*"])
    environment = (stage.target.root / "environment.txt").read_text()
    assert {name: f"{name}={value}\n" in environment for name, value in values.items()} == {
        "NPM_TOKEN": True,
        "VITE_API_URL": True,
        "VITE_TITLE": True,
        "OTHER": False,
    }
    kept = [path for path in stage.target.local.rglob("*") if path.is_file() and b"hunter2" in path.read_bytes()]
    assert kept == []
    published = {**stage.world.live(), **stage.world.records()}
    plain = {key: gzip.decompress(one.data) if key.endswith(".gz") else one.data for key, one in published.items()}
    assert not [key for key, data in plain.items() if b"hunter2" in data]
    assert any(b"VITE" not in data and b'"sources"' in data for data in plain.values())


def test_a_changed_value_that_is_passed_on_is_built_again(stage: Stage, sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def deploy() -> None:
        stage.deploy(build=True, build_command=COMMAND, pass_environment=["VITE_API_URL"], inputs=["src"])

    monkeypatch.setenv("VITE_API_URL", "https://one.example.com")
    deploy()
    monkeypatch.setenv("NOT_PASSED", "changes nothing")
    deploy()
    assert builds(stage) == 1
    monkeypatch.setenv("VITE_API_URL", "https://two.example.com")
    deploy()
    assert builds(stage) == 2
    monkeypatch.delenv("VITE_API_URL")
    deploy()
    assert builds(stage) == 3


def test_what_the_sources_ask_for_and_do_not_get_is_named(
    stage: Stage, sources: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (sources / "src" / "app.js").write_text("fetch(import.meta.env.VITE_API_URL); log(process.env['MY_TITLE'], env.NEXT_PUBLIC_SITE_URL)")
    (sources / ".npmrc").write_text("//registry.example.com/:_authToken=${NPM_TOKEN}\n")
    for name in ("VITE_API_URL", "MY_TITLE", "NPM_TOKEN", "NEXT_PUBLIC_SITE_URL", "UNRELATED"):
        monkeypatch.setenv(name, "hunter2")
    publisher = stage.publisher(build_command=COMMAND)
    publisher._progress = Progress()
    publisher.deploy(build=True)
    said = " ".join(capsys.readouterr().err.split())
    assert "kept from the build: MY_TITLE, VITE_API_URL (`site.pass_environment`" in said
    assert "UNRELATED" not in said
    assert "NPM_TOKEN" not in said, "it is for the installation, which gets it"
    assert "hunter2" not in said


def test_all_that_is_left_out_is_named_when_asked(
    stage: Stage, sources: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("UNRELATED", "hunter2")
    publisher = stage.publisher(build_command=COMMAND)
    publisher._progress = Progress(verbose=True)
    publisher.deploy(build=True)
    said = capsys.readouterr().err
    assert "UNRELATED" in said
    assert "hunter2" not in said


def test_a_failure_names_the_variables_that_may_be_missing(stage: Stage, sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_BASE", "hunter2")
    monkeypatch.setenv("UNRELATED", "hunter2")
    with pytest.raises(BuildError) as caught:
        stage.deploy(build=True, build_command="echo 'Error: API_BASE is not set' >&2; exit 1")
    assert "did not get API_BASE, which are set here" in caught.value.fix
    assert "UNRELATED" not in str(caught.value)
    assert "hunter2" not in str(caught.value)
    with pytest.raises(BuildError) as plain:
        stage.deploy(build=True, build_command="exit 1")
    assert "pass_environment" not in plain.value.fix


def test_a_failing_build_shows_its_last_lines_and_publishes_nothing(stage: Stage, sources: Path) -> None:
    command = "for i in $(seq 100); do echo line $i; done; echo 'Type error: no such thing' >&2; exit 3"
    with pytest.raises(BuildError, match=r"exit code 3") as caught:
        stage.deploy(build=True, build_command=command)
    text = str(caught.value)
    assert "Type error: no such thing" in text
    assert "line 100" in text
    assert "line 10\n" not in text
    log = stage.target.local / "logs" / "site-build.log"
    assert "line 10\n" in log.read_text()
    assert stage.world.count("PUT") == 0


@pytest.mark.parametrize("command", [COMMAND, ""])
def test_a_missing_site_directory_is_said(stage: Stage, command: str) -> None:
    with pytest.raises(BuildError, match="directory does not exist"):
        stage.deploy(build=True, build_command=command)


def test_what_a_build_did_not_write_is_left_out(stage: Stage, sources: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A tool that does not empty its output would keep a removed page in every later release."""
    command = "mkdir -p out; echo h > out/index.html; for f in second; do test ! -e $f || cp $f out/$f.html; done; echo x > out/a.$$.js"
    (sources / "second").write_text("s")
    (sources / "out").mkdir()
    (sources / "out" / "first.html").write_text("of a build before there was a release")
    publisher = stage.publisher(build_command=command)
    publisher._progress = Progress()
    assert "second.html" in publisher.deploy(build=True).uploaded
    assert "Left out, since this build did not write it: first.html (1 in all" in " ".join(capsys.readouterr().err.split())
    (sources / "second").unlink()
    release = stage.deploy(build=True, build_command=command)
    assert "second.html" in release.gone
    assert {path.name for path in (stage.target.local / "site" / "left-out").rglob("*.html")} == {"first.html", "second.html"}
    assert stage.deploy(build=True, build_command=command, empty_output=False).gone == ()


def test_a_failed_build_leaves_the_output_as_it_was(stage: Stage, sources: Path) -> None:
    stage.deploy(build=True, build_command=COMMAND)
    before = {path: path.read_bytes() for path in stage.out.iterdir()}
    with pytest.raises(BuildError):
        stage.deploy(build=True, build_command="mkdir -p out/index.html; echo half > out/new.html; exit 1")
    assert {path: path.read_bytes() for path in stage.out.iterdir()} == before


def test_a_build_that_writes_nothing_releases_nothing_old(stage: Stage, sources: Path) -> None:
    stage.deploy(build=True, build_command=COMMAND)
    with pytest.raises(BuildError, match="wrote nothing"):
        stage.deploy(build=True, build_command="false || echo going on")
    assert (stage.out / "index.html").exists()


@pytest.mark.parametrize("command", ["", "true", ":"])
def test_a_site_made_by_hand_needs_no_build(stage: Stage, command: str) -> None:
    stage.write({"index.html": "by hand"})
    assert stage.deploy(build=True, build_command=command).uploaded == ("index.html", "404.html")
    assert not stage.deploy(build=True, build_command=command).changed
    assert (stage.out / "index.html").read_text() == "by hand"


def test_a_sites_own_build_script_is_run_by_its_own_manager(stage: Stage, sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(stage, monkeypatch, "pnpm", 'if [ "$1" = run ]; then mkdir -p out; echo "$*" > out/index.html; fi')
    (sources / "package.json").write_text('{"scripts": {"build": "x"}, "packageManager": "pnpm@9.1.0"}')
    stage.deploy(build=True, build_command="")
    assert stage.world.live()["index.html"].data == b"run build\n"


@pytest.mark.parametrize("content", ['{"build": 42}', '{"build": "two words"}', '{"build": {}}'])
def test_a_version_file_of_the_sites_own_is_a_file_like_any_other(stage: Stage, content: str) -> None:
    stage.write({"index.html": "x", "version.json": content})
    release = stage.deploy()
    assert release.build == ""
    assert release.verified is not None
    assert stage.world.live()["version.json"].data == content.encode()


def stand_in(stage: Stage, monkeypatch: pytest.MonkeyPatch, name: str, script: str) -> Path:
    """A package manager on PATH, alone with the system's programs."""
    tools = stage.target.root / "bin"
    tools.mkdir(exist_ok=True)
    program = tools / name
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")
    return program


def test_packages_are_installed_when_the_lock_file_changed(stage: Stage, sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    npm = stand_in(stage, monkeypatch, "npm", 'echo "$@" >> ../npm.txt\nmkdir -p node_modules')
    (sources / "package.json").write_text("{}")
    (sources / "package-lock.json").write_text('{"one": 1}')
    stage.deploy(build=True, build_command=COMMAND)
    (sources / "src" / "page.html").write_text("<html>two</html>")
    stage.deploy(build=True, build_command=COMMAND)
    log = stage.target.root / "npm.txt"
    assert log.read_text().splitlines() == ["ci --no-audit --no-fund --include=dev"]
    (sources / "package-lock.json").write_text('{"two": 2}')
    stage.deploy(build=True, build_command=COMMAND)
    assert len(log.read_text().splitlines()) == 2
    npm.unlink()
    (sources / "package-lock.json").write_text('{"three": 3}')
    monkeypatch.setenv("PATH", str(npm.parent))
    with pytest.raises(MissingToolError, match="npm is not installed"):
        stage.deploy(build=True, build_command=COMMAND)


def test_packages_are_complete_whatever_the_shell_is_for(stage: Stage, sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(stage, monkeypatch, "npm", "env > ../install.txt\nmkdir -p node_modules")
    (sources / "package.json").write_text("{}")
    (sources / "package-lock.json").write_text("{}")
    monkeypatch.setenv("NODE_ENV", "production")
    monkeypatch.setenv("NPM_CONFIG_OMIT", "dev")
    stage.deploy(build=True, build_command=COMMAND)
    installed = (stage.target.root / "install.txt").read_text()
    assert "NODE_ENV" not in installed
    assert "OMIT" not in installed
    assert "NODE_ENV=production" in (stage.target.root / "environment.txt").read_text(), "the build gets it"


def test_tokens_of_registries_reach_the_installation_and_not_the_build(
    stage: Stage, sources: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(stage, monkeypatch, "npm", "env > ../install.txt\nmkdir -p node_modules")
    (sources / "package.json").write_text("{}")
    (sources / "package-lock.json").write_text("{}")
    (sources / ".npmrc").write_text("//npm.pkg.github.com/:_authToken=${GITHUB_TOKEN}\nx=${AWS_SESSION_TOKEN}\n")
    given = {"NPM_TOKEN", "NODE_AUTH_TOKEN", "GITHUB_TOKEN", "npm_config__authToken"}
    for name in (*given, "DATABASE_URL", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, f"hunter2-{name}")
    stage.deploy(build=True, build_command=COMMAND)
    installed = (stage.target.root / "install.txt").read_text()
    assert {line.partition("=")[0] for line in installed.splitlines() if "hunter2" in line} == given
    assert "hunter2" not in (stage.target.root / "environment.txt").read_text()


def test_a_plain_folder_in_a_repository_is_released_and_what_is_no_site_is_said(
    stage: Stage, sources: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in (".git/config", "README.md", "package.json", ".env", "index.html", "img/a.svg"):
        (sources / name).parent.mkdir(exist_ok=True)
        (sources / name).write_text("{}")
    publisher = stage.publisher(output=".", build_command="")
    publisher._progress = Progress()
    assert set(publisher.deploy(build=True).uploaded) == {"index.html", "img/a.svg", "src/page.html", "404.html"}
    said = " ".join(capsys.readouterr().err.split())
    assert "No part of the site: .env, .git/, README.md, package.json (4 in all" in said
    assert not stage.deploy(build=True, output=".", build_command="").changed
