"""Which package manager installs a site's packages, where, and what is said when it cannot."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from amianai_infra.errors import BuildError, MissingToolError
from amianai_infra.progress import Progress
from amianai_infra.site.environment import Surroundings
from amianai_infra.site.packages import Packages, find, prepare

BERRY = "__metadata:\n  version: 8\n"


def package(folder: Path, lock: str = "", text: str = "", **manifest: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "package.json").write_text(json.dumps(manifest))
    if lock:
        (folder / lock).write_text(text)
    return folder


def found(folder: Path) -> Packages:
    packages = find(folder)
    assert packages is not None
    return packages


@pytest.mark.parametrize(
    ("lock", "text", "command"),
    [
        ("package-lock.json", "", "npm ci --no-audit --no-fund --include=dev"),
        ("npm-shrinkwrap.json", "", "npm ci --no-audit --no-fund --include=dev"),
        ("pnpm-lock.yaml", "", "pnpm install --frozen-lockfile --prod=false"),
        ("yarn.lock", "# yarn lockfile v1\n", "yarn install --frozen-lockfile --production=false"),
        ("yarn.lock", BERRY, "yarn install --immutable"),
        ("bun.lock", "", "bun install --frozen-lockfile"),
        ("bun.lockb", "", "bun install --frozen-lockfile"),
    ],
)
def test_each_lock_file_has_its_manager(tmp_path: Path, lock: str, text: str, command: str) -> None:
    assert " ".join(found(package(tmp_path, lock, text)).command) == command


def test_without_a_package_there_is_nothing(tmp_path: Path) -> None:
    assert find(tmp_path) is None


def test_package_manager_decides_between_lock_files(tmp_path: Path) -> None:
    package(tmp_path, "package-lock.json", packageManager="yarn@4.5.0", scripts={"build": "x"})
    assert found(tmp_path).build_command == "npm run build", "it has no lock file of its own"
    (tmp_path / "yarn.lock").write_text(BERRY)
    assert found(tmp_path).manager.name == "yarn"
    assert found(tmp_path).build_command == "yarn run build"


@pytest.mark.parametrize("workspaces", [["apps/*"], {"packages": ["./apps/*"]}, ["apps/**"], ["apps/web"]])
def test_the_lock_file_of_a_workspace_is_that_of_its_members(tmp_path: Path, workspaces: Any) -> None:
    package(tmp_path, "package-lock.json", workspaces=workspaces, packageManager="npm@10.0.0")
    assert found(package(tmp_path / "apps" / "web")).root == tmp_path.resolve()


def test_a_pnpm_workspace_is_one_too(tmp_path: Path) -> None:
    package(tmp_path, "pnpm-lock.yaml", packageManager="pnpm@9.0.0")
    (tmp_path / "pnpm-workspace.yaml").write_text("packages:\n  - apps/*\n  - '!apps/old'\n")
    assert found(package(tmp_path / "apps" / "web")).root == tmp_path.resolve()
    assert found(package(tmp_path / "apps" / "old")).lock is None


def test_a_folder_above_that_does_not_include_the_site_is_none_of_its_business(tmp_path: Path) -> None:
    package(tmp_path, "package-lock.json", workspaces=["packages/*"])
    assert found(package(tmp_path / "web")).lock is None
    package(tmp_path, "package-lock.json")
    assert found(tmp_path / "web").lock is None


def test_a_package_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    (tmp_path / "package.json").write_text("{")
    with pytest.raises(BuildError, match="cannot be read"):
        find(tmp_path)


def program(folder: Path, name: str, script: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AMIANAI_CACHE", str(tmp_path / "cache"))


def install(tmp_path: Path, site: Path, local: str = "local", **environ: str) -> Surroundings:
    surroundings = Surroundings.of({"PATH": f"{tmp_path / 'bin'}:/bin:/usr/bin", "HOME": str(tmp_path), **environ}, [])
    if "PATH" in environ:
        surroundings = Surroundings.of(environ, [])
    return prepare(site, surroundings, Progress(quiet=True), tmp_path / local)


def test_two_commands_install_one_after_the_other(tmp_path: Path) -> None:
    """`npm ci` empties the folder: the second one finds what the first one made, whichever folder of ours it runs with."""
    script = "echo x >> runs; mkdir node_modules || exit 1; for i in $(seq 20); do sleep 0.02; done; touch node_modules/whole"
    program(tmp_path / "bin", "npm", f"rm -rf node_modules; {script}")
    site = package(tmp_path / "site", "package-lock.json", "{}")
    failed: list[BaseException] = []

    def run(local: str) -> None:
        try:
            install(tmp_path, site, local=local)
        except BaseException as error:
            failed.append(error)

    commands = [threading.Thread(target=run, args=(local,)) for local in (".amianai", ".sandbox", ".amianai")]
    for command in commands:
        command.start()
    for command in commands:
        command.join()
    assert failed == []
    assert (site / "runs").read_text() == "x\n"
    assert (site / "node_modules" / "whole").exists()


def test_what_failed_or_was_overtaken_is_installed_again(tmp_path: Path) -> None:
    site = package(tmp_path / "site", "package-lock.json", "{}")
    program(tmp_path / "bin", "npm", "mkdir -p node_modules")
    install(tmp_path, site)
    program(tmp_path / "bin", "npm", "exit 1")
    (site / "package-lock.json").write_text('{"changed": 1}')
    with pytest.raises(BuildError):
        install(tmp_path, site)
    (site / "package-lock.json").write_text("{}")
    program(tmp_path / "bin", "npm", "echo x >> runs; echo '{\"pulled\": 1}' > package-lock.json")
    install(tmp_path, site)
    assert (site / "runs").read_text() == "x\n", "the failed installation may have emptied the folder"
    install(tmp_path, site)
    assert (site / "runs").read_text() == "x\nx\n", "the lock file was another one when it ended"
    install(tmp_path, site)
    assert (site / "runs").read_text() == "x\nx\n"


def test_a_package_without_node_modules_is_no_fault(tmp_path: Path) -> None:
    """Without dependencies npm makes none, and with Plug'n'Play Yarn never does."""
    program(tmp_path / "bin", "npm", "echo x >> runs")
    site = package(tmp_path / "site", "package-lock.json", "{}")
    install(tmp_path, site)
    install(tmp_path, site)
    assert (site / "runs").read_text() == "x\nx\n", "nothing tells that they are there"


def test_packages_are_installed_at_the_root_of_the_workspace(tmp_path: Path) -> None:
    program(tmp_path / "bin", "npm", "pwd > where; mkdir -p node_modules")
    root = package(tmp_path / "repository", "package-lock.json", "{}", workspaces=["web"])
    install(tmp_path, package(root / "web"))
    assert (root / "where").read_text().strip() == str(root.resolve())


def test_what_decides_the_packages_is_more_than_the_lock_file(tmp_path: Path) -> None:
    program(tmp_path / "bin", "npm", "echo x >> runs; mkdir -p node_modules")
    site = package(tmp_path / "site", "package-lock.json", "{}", scripts={"build": "one"})

    def runs() -> int:
        install(tmp_path, site)
        return len((site / "runs").read_text().splitlines())

    assert [runs(), runs()] == [1, 1]
    package(site, scripts={"build": "two"})
    assert runs() == 1
    package(site, devDependencies={"a": "1"})
    assert runs() == 2
    (site / ".npmrc").write_text("legacy-peer-deps=true")
    assert runs() == 3


@pytest.mark.parametrize(
    ("lock", "name", "advice"),
    [
        ("package-lock.json", "npm", "https://nodejs.org"),
        ("pnpm-lock.yaml", "pnpm", "npm install --global pnpm"),
        ("yarn.lock", "yarn", "npm install --global yarn"),
        ("bun.lock", "bun", "https://bun.com"),
    ],
)
def test_a_missing_manager_is_explained_by_its_own_advice(tmp_path: Path, lock: str, name: str, advice: str) -> None:
    with pytest.raises(MissingToolError, match=f"{name} is not installed") as caught:
        install(tmp_path, package(tmp_path / "site", lock), PATH=str(tmp_path))
    assert advice in caught.value.fix


def test_corepack_provides_what_is_missing_and_the_build_finds_it(tmp_path: Path) -> None:
    script = 'printf "#!/bin/sh\\necho installed > installed\\n" > "$3/$4"; chmod +x "$3/$4"'
    program(tmp_path / "bin", "corepack", script)
    site = package(tmp_path / "site", "pnpm-lock.yaml", packageManager="pnpm@9.1.0")
    path = install(tmp_path, site).common["PATH"]
    assert (site / "installed").exists()
    assert path.startswith(str(tmp_path / "local" / "site" / "bin"))


USAGE = r"""echo "npm error code EUSAGE"; echo "npm error"
echo "npm error \`npm ci\` can only install packages when your package.json and package-lock.json are in sync."
echo "npm error Missing: is-odd@3.0.1 from lock file"; echo "npm error Usage:"; echo "npm error npm ci"
for i in $(seq 60); do echo "npm error   [--option-$i]"; done; exit 1"""


def test_npms_own_reason_is_shown_before_its_usage(tmp_path: Path) -> None:
    program(tmp_path / "bin", "npm", USAGE)
    with pytest.raises(BuildError) as caught:
        install(tmp_path, package(tmp_path / "site", "package-lock.json"))
    shown = str(caught.value)
    assert "Missing: is-odd@3.0.1 from lock file" in shown
    assert "--option-60" in shown
    assert "more lines, which the log has" in shown


@pytest.mark.parametrize("said", ["npm error code E401", "ERR_PNPM_FETCH_401", "401 Unauthorized", "npm error code E403"])
def test_a_registry_that_refuses_names_the_token_that_is_not_set(tmp_path: Path, said: str) -> None:
    program(tmp_path / "bin", "npm", f"echo '{said}'; exit 1")
    site = package(tmp_path / "site", "package-lock.json")
    with pytest.raises(BuildError) as plain:
        install(tmp_path, site)
    assert "a private package needs a token" in plain.value.fix
    (tmp_path / ".npmrc").write_text("//npm.example.com/:_authToken=${COMPANY_TOKEN}\n")
    with pytest.raises(BuildError) as caught:
        install(tmp_path, site)
    assert f"{tmp_path / '.npmrc'} names COMPANY_TOKEN, which is not set here" in caught.value.fix
    with pytest.raises(BuildError) as refused:
        install(tmp_path, site, COMPANY_TOKEN="hunter2")
    assert "COMPANY_TOKEN" not in refused.value.fix


def test_dependencies_without_a_lock_file_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    site = package(tmp_path / "site", dependencies={"a": "1"})
    prepare(site, Surroundings.of({}, []), Progress(), tmp_path / "local")
    assert "no lock file" in capsys.readouterr().err
    (site / "node_modules").mkdir()
    prepare(site, Surroundings.of({}, []), Progress(), tmp_path / "local")
    assert capsys.readouterr().err == ""
