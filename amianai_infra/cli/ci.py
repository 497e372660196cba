"""`amianai ci`: releases from GitHub Actions."""

from __future__ import annotations

import os
from collections.abc import Mapping
from difflib import unified_diff
from pathlib import Path
from typing import TYPE_CHECKING

import click

from amianai_infra.cli.options import App
from amianai_infra.printing import GUTTER

if TYPE_CHECKING:
    from amianai_infra.outputs import StackOutputs
    from amianai_infra.rules.workflow import Workflow
    from amianai_infra.site.preview import Built, Change

_NEXT = (
    "next:",
    '  git add {files} && git commit -m "Release from GitHub Actions" && git push',
    "  The deploy role trusts {trusted}; after a change of delivery.* run `amianai up`. docs/ci.md has the rest.",
)


@click.group()
def ci() -> None:
    """Release the site from GitHub Actions.

    \b
    amianai ci init
    """


@ci.command()
@click.option("--force", is_flag=True, help="Overwrite a workflow that was edited.")
@click.option("--check", is_flag=True, help="Only tell whether the workflow is up to date; exit code 1 when it is not.")
@click.pass_obj
def init(app: App, force: bool, check: bool) -> None:
    """Write .github/workflows/deploy.yml: preview on pull requests, deploy on the branch, rollback by hand.

    \b
    amianai ci init
    amianai ci init --check

    Needs the stack's outputs (as last seen, else from AWS) with the deploy role that `up` creates when GITHUB_USERNAME is set. With
    --sandbox the file is only for looking at, and is written below .sandbox/.
    """
    from amianai_infra.errors import AmianaiError, RefusedError
    from amianai_infra.rules.workflow import WORKFLOW, render

    workflow = _workflow(app)
    text = render(workflow)
    path = app.target.local / "deploy.yml" if app.sandbox else app.root / WORKFLOW
    found = path.read_text(encoding="utf-8") if path.is_file() else ""
    if found == text:
        app.print({"path": str(path), "state": "up to date"}, f"{_shown(app, path)} is up to date.")
        return
    if found:
        _show_diff(app, path, found, text)
    if check:
        problem = "is not what the settings and the stack ask for" if found else "does not exist"
        raise AmianaiError(
            f"The workflow {problem}.", where=str(path), fix="run `amianai ci init --force`" if found else "`amianai ci init`"
        )
    if found and not force:
        raise RefusedError("The workflow exists and differs; it was left alone.", where=str(path), fix="overwrite it with --force")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    if not (app.root / ".git").exists():
        app.progress.note(f"{app.root} is not the top of a git repository; GitHub reads workflows only from there.")
    app.print({"path": str(path), "state": "written"}, [f"{_shown(app, path)} written.", *_next(app, workflow)])


@ci.command()
@click.option(
    "--against",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    metavar="FOLDER",
    help="Checkout without the change, to compare with.",
)
@click.option("--report", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Write the comparison as Markdown.")
@click.pass_obj
def build(app: App, against: Path | None, report: Path | None) -> None:
    """Build the site as `deploy` would, without AWS; the stack's public settings are the NEXT_PUBLIC_* variables.

    \b
    amianai ci build
    amianai ci build --against ../without-my-change --report report.md

    What a release would refuse (an empty output, secrets in it) is refused here, too.
    """
    from amianai_infra.site import preview
    from amianai_infra.site.settings import ReleaseSettings

    checkout = preview.Checkout(app.root, ReleaseSettings.of(app.settings), app.environ, app.progress)
    built = checkout.build()
    changes, problem = _compared(app, built, against) if against else (None, "there is nothing to compare with")
    text = preview.report(built, changes, problem)
    if report:
        report.write_text(text, encoding="utf-8")
    data = {
        "build": built.build_id,
        "files": len(built.files),
        "changes": None if changes is None else [{"kind": one.kind, "path": one.path, "size": one.size} for one in changes],
    }
    app.print(data, text.splitlines() if against else f"Build {built.build_id}: {len(built.files)} files.")


@ci.command()
@click.pass_obj
def check(app: App) -> None:
    """Refuse to go on when the NEXT_PUBLIC_* variables are not those of the stack.

    \b
    amianai ci check

    The build has no access to AWS and takes them from the workflow; this compares them with what the stack publishes, so that a
    site made for another user pool is never released.
    """
    from amianai_infra.errors import RefusedError
    from amianai_infra.site.environment import public_environment

    outputs = _outputs(app, role=False)
    wanted = public_environment(app.target, outputs)
    wrong = [f"{name} is {app.environ.get(name)!r}, not {value!r}" for name, value in wanted.items() if app.environ.get(name) != value]
    if wrong:
        raise RefusedError(
            "The site was built for another stack, or for an earlier state of this one; nothing was released:",
            details=wrong,
            where="the environment (in GitHub Actions: `env` of the workflow)",
            fix="run `amianai ci init --force`, look at the difference and commit it",
        )
    app.print(wanted, f"The build's settings are those of the stack of {outputs.domain}.")


def _compared(app: App, built: Built, against: Path) -> tuple[list[Change] | None, str]:
    """What differs from the other checkout; None and the reason when it cannot be built."""
    from amianai_infra.errors import AmianaiError
    from amianai_infra.site import preview
    from amianai_infra.site.settings import ReleaseSettings

    root = against.resolve()
    other = App(flags=app.flags, environ={**app.environ, "AMIANAI_ROOT": str(root)})
    try:
        checkout = preview.Checkout(root, ReleaseSettings.of(other.settings), app.environ, app.progress)
        if built.fingerprint and checkout.sources.fingerprint == built.fingerprint and other.settings.site == app.settings.site:
            return [], ""  # the inputs that both declare are equal
        # With the same id, so that only what the change does shows, and not the id on every page.
        return preview.compare(checkout.build(built.build_id).files, built.files), ""
    except AmianaiError as error:
        app.progress.note([f"The checkout {root} could not be built:", *error.lines()])
        return None, error.what.partition("\n")[0]


def _workflow(app: App) -> Workflow:
    from amianai_infra.config import require_shared
    from amianai_infra.rules.workflow import WORKFLOW, Workflow
    from amianai_infra.site.environment import public_environment

    outputs, settings = _outputs(app), app.settings
    require_shared(settings.site.directory, WORKFLOW)
    return Workflow(
        domain=outputs.domain,
        region=outputs.region,
        account=outputs.account,
        role_arn=outputs.deploy_role_arn,
        branch=settings.delivery.branch,
        environment=settings.delivery.environment,
        output=Path(os.path.normpath(Path(settings.site.directory) / settings.site.output)).as_posix(),
        variables={"DOMAIN_NAME": outputs.domain, **_not_in_the_stack_file(app), **public_environment(app.target, outputs)},
        passed=settings.site.pass_environment,
        node_file=_node_file(app.root, settings.site.directory),
        previews_role_arn=outputs.previews.role_arn,
    )


def _outputs(app: App, *, role: bool = True) -> StackOutputs:
    """The outputs as last seen, when they are of this stack and name a deploy role; else as AWS has them.

    Raises:
        ConfigurationError: there is no deploy role.
    """
    from amianai_infra.errors import ConfigurationError
    from amianai_infra.naming import stack_parameter

    if app.sandbox:
        app.target.ready()
    settings = app.settings
    found = app.outputs()
    if (found.domain, found.region, found.prefix) != (settings.domain_name, settings.region, settings.prefix) or not found.deploy_role_arn:
        found = app.outputs(fresh=True)
    if role and not found.deploy_role_arn:
        raise ConfigurationError(
            "The stack has no deploy role that GitHub Actions could assume.",
            where=f"SSM parameter {stack_parameter(settings.prefix)}",
            fix="set GITHUB_USERNAME (and delivery.repository, where git's origin does not name it), run `amianai up`, then this again",
        )
    return found


def _not_in_the_stack_file(app: App) -> Mapping[str, str]:
    """What a release reads and a flag or the environment chose: a workflow sees neither."""
    from amianai_infra.config import every_setting, load_settings, read_stack_file, to_pulumi

    read = [one for one in every_setting() if one.key in ("region", "prefix") or one.path[0] == "site"]
    stated = [one.pulumi for one in read]
    in_file = load_settings({}, {"DOMAIN_NAME": app.settings.domain_name}, read_stack_file(app.root / "Pulumi.prod.yaml"))
    here, there = to_pulumi(app.settings, stated), to_pulumi(in_file, stated)
    return {one.environment: here[one.pulumi] for one in read if here[one.pulumi] != there[one.pulumi]}


def _node_file(root: Path, directory: str) -> str:
    """The file that names the site's Node.js version, relative to the project; empty when there is none."""
    for folder in (Path(directory), Path()):
        for name in (".nvmrc", ".node-version"):
            if (root / folder / name).is_file():
                return (folder / name).as_posix()
    return ""


def _show_diff(app: App, path: Path, found: str, text: str) -> None:
    name = _shown(app, path)
    for line in unified_diff(found.splitlines(), text.splitlines(), f"{name} (now)", f"{name} (as it would be)", lineterm=""):
        app.progress.note(f"{GUTTER}{line}")


def _next(app: App, workflow: Workflow) -> list[str]:
    from amianai_infra.rules.workflow import WORKFLOW

    if app.sandbox:
        return ["It names the sandbox's own resources and is for looking at; on AWS `amianai ci init` writes the real one."]
    files = [WORKFLOW, *(["Pulumi.prod.yaml"] if app.stack_file.is_file() else [])]
    branch = f"branch {workflow.branch}"
    trusted = f"environment {workflow.environment} (let only {branch} deploy to it)" if workflow.environment else branch
    return [line.format(files=" ".join(files), trusted=trusted) for line in _NEXT]


def _shown(app: App, path: Path) -> str:
    return path.relative_to(app.root).as_posix() if path.is_relative_to(app.root) else str(path)
