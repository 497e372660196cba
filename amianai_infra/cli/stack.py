"""The commands about the whole stack: setup, preview, up, status, env, destroy, doctor."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from amianai_infra.cli.options import App, DurationType, confirm_option, dry_run_option
from amianai_infra.printing import show

if TYPE_CHECKING:
    from amianai_infra.database.credentials import Role
    from amianai_infra.engine import Step, Summary
    from amianai_infra.operations.doctor import Check
    from amianai_infra.operations.setup import Hands
    from amianai_infra.outputs import StackOutputs


def _hands(app: App) -> Hands:
    from amianai_infra import site
    from amianai_infra.engine import ensure_engine, ensure_plugin, plugin_version
    from amianai_infra.folders import cache_folder
    from amianai_infra.operations.setup import Hands
    from amianai_infra.site import packages
    from amianai_infra.site.environment import Surroundings

    def prepare_site() -> None:
        chosen = app.settings.site
        surroundings = Surroundings.of(app.environ, chosen.pass_environment)
        packages.prepare(app.root / chosen.directory, surroundings, app.progress, app.target.local)

    return Hands(
        ensure_engine=lambda progress: ensure_engine(progress, app.root, app.environ),
        ensure_plugin=lambda progress, binary: ensure_plugin(progress, binary, app.root, app.environ, plugin_version()),
        deploy_site=site.deploy,
        prepare_site=prepare_site,
        cache=cache_folder(app.environ),
    )


_switch = click.option(
    "--switch", is_flag=True, help="Replace records that lead the site's names elsewhere, at the very end and all at once."
)


@click.command()
@click.option("--no-deploy", is_flag=True, help="Build the stack only; leave the site as it is.")
@click.option(
    "--dns-wait",
    type=DurationType(0, 7 * 86400),
    default="2h",
    show_default=True,
    help="How long to wait for the domain's delegation (AWS only).",
)
@click.option("--no-wait", is_flag=True, help="Do not check the delegation (then the certificate may never validate).")
@_switch
@click.option(
    "--records",
    metavar="FILE|found|none",
    default="",
    help="What a new zone takes over from the old one: a zone file with what resolvers know, only that, or nothing.",
)
@confirm_option
@click.pass_obj
def setup(app: App, no_deploy: bool, dns_wait: timedelta, no_wait: bool, switch: bool, records: str, confirm: str | None) -> None:
    """Build the whole stack and publish the site; run it again to go on where it stopped.

    \b
    amianai --sandbox setup
    DOMAIN_NAME=example.com GITHUB_USERNAME=you amianai setup

    On AWS it shows the account, region and domain and asks before anything changes, then creates the zone and waits until your
    registrar delegates the domain to it. Ctrl-C is safe at any time. A zone that exists already is adopted, never doubled. In a stack
    that is there already, replacing or deleting anything needs the domain, typed or with --confirm; in the sandbox nothing else is asked.
    """
    from amianai_infra.operations import setup as operation

    _compare_after_a_death(app)
    wait = 0.0 if no_wait else dns_wait.total_seconds()
    chosen = operation.Options(deploy=not no_deploy, wait=wait, switch=switch, records=records, confirm=confirm)
    report = operation.setup(app, chosen, _hands(app))
    app.print(operation.as_dict(report, app), operation.screen(report, app, _program(app)))


def _compare_after_a_death(app: App) -> None:
    """An emulator that was killed may have lost what it was told last, as AWS does not: what is really there is read first."""
    if not app.sandbox:
        return
    from amianai_infra.sandbox import Sandbox

    sandbox = Sandbox(app.root, app.environ)
    if not sandbox.may_have_forgotten:
        return
    app.target.ready()
    engine = app.engine()
    if engine.exists():
        app.progress.note("The emulator was killed and may have lost what it was told last: reading what is there.")
        engine.refresh()
    sandbox.compared()


def _program(app: App) -> str:
    """How this person can call us: by name where the shell finds us, else by path."""
    import shutil
    import sys

    if shutil.which("amianai", path=app.environ.get("PATH")):
        return "amianai"
    path = Path(sys.argv[0]).absolute()
    return f"./{path.relative_to(Path.cwd())}" if path.is_relative_to(Path.cwd()) else str(path)


_refresh = click.option("--refresh", is_flag=True, help="First read what is really there, so that changes made elsewhere show.")


@click.command()
@_refresh
@click.pass_obj
def preview(app: App, refresh: bool) -> None:
    """Show what `up` would change, and change nothing.

    \b
    amianai preview
    amianai preview --set database.instance_class=db.t4g.small
    amianai preview --refresh

    It works on a copy of the stack's state and configuration. It takes no lock and writes nothing, neither here nor in the state's
    bucket; only the engine keeps a log of its own, in ~/.pulumi/logs or .sandbox/pulumi/logs.
    """
    from amianai_infra.operations import change

    _ = app.settings
    app.target.ready()
    app.announce()
    found = change.preview(app, refresh=refresh)
    data, text = _summary(found.plan), _lines(found.plan, would=True)
    data["adopts"] = [{"urn": one.urn, "id": one.id, "others": list(one.others)} for one in found.existing]
    if found.drift is not None:
        drift = _drift(found.drift)
        data["drift"] = [{"found": word, **_step(step)} for word, step in drift]
        text = [*_drift_text(drift), "", *text]
    app.print(data, text)


@click.command()
@_refresh
@_switch
@confirm_option
@click.pass_obj
def up(app: App, refresh: bool, switch: bool, confirm: str | None) -> None:
    """Bring the stack to the configured state: show the plan, ask, and do it.

    \b
    amianai up
    amianai --sandbox up --set database.storage_gib=50

    Creating and updating is agreed to with a yes (--yes); replacing or deleting needs the domain, typed or with --confirm. Without a
    change nothing is asked. The sandbox asks the same; only where nobody is at a terminal it takes the yes for granted, never the domain.

    Values given with --set or in the environment are written into the stack's configuration once the stack has them, so that they stay.
    """
    from amianai_infra.operations import change
    from amianai_infra.operations.setup import require_release

    _ = app.settings
    app.target.ready()
    _compare_after_a_death(app)
    app.announce()
    consent = change.Consent(ask=not app.sandbox or sys.stdin.isatty(), domain=confirm)
    summary = change.agreed_up(app, consent, refresh=refresh, switch=change.Switch(switch, lambda: require_release(app)))
    _tell_what_is_open(app)
    app.print(_summary(summary), _lines(summary, would=False))


def _tell_what_is_open(app: App) -> None:
    """Say on standard error whom the database is open to. That it cannot be said is no failure of what was done."""
    from amianai_infra.operations.status import open_access

    for line in open_access(app.target, app.outputs):
        app.progress.note(f"The database is open to {line}")


def _summary(summary: Summary) -> dict[str, object]:
    steps = [{"op": step.op, **_step(step)} for step in summary.steps]
    return {"changed": summary.changed, "counts": dict(summary.counts), "seconds": round(summary.seconds, 2), "steps": steps}


def _step(step: Step) -> dict[str, object]:
    return {"urn": step.urn, "type": step.type, "name": step.name, "diffs": list(step.diffs)}


def _drift(found: Summary) -> list[tuple[str, Step]]:
    """What a refresh found, each with `changed` or `gone`."""
    from amianai_infra.engine.events import FOUND

    return [(FOUND[step.op], step) for step in found.steps if step.op in FOUND]


def _drift_text(drift: list[tuple[str, Step]]) -> list[str]:
    if not drift:
        return ["Nothing was changed outside since the last `up`."]
    return ["Changed outside since the last `up`:", *(_line(word, step) for word, step in drift)]


def _line(word: str, step: Step) -> str:
    return f"  {word:<9} {step.type} {step.name}" + (f" ({', '.join(step.diffs)})" if step.diffs else "")


def _lines(summary: Summary, *, would: bool) -> list[str]:
    from amianai_infra.operations.change import tally

    lines = [_line(step.op, step) for step in summary.steps if step.op not in ("same", "read")]
    text = tally(summary)
    return [*lines, f"{'Would be: ' if would and summary.changed else ''}{text} ({summary.seconds:.1f} s)"]


@click.command()
@click.pass_obj
def status(app: App) -> None:
    """One screen about the running stack: site, database, sign-in, DNS, and the sandbox's services.

    \b
    amianai status
    amianai --sandbox --json status
    """
    from amianai_infra.operations import status as operation

    app.target.ready()
    outputs = app.outputs(fresh=True)
    parts = operation.look(app.target, outputs)
    title = f"{outputs.domain} in {'the sandbox' if app.sandbox else f'account {outputs.account}, {outputs.region}'}"
    services = _services(app)
    data = {"domain": outputs.domain, "services": services, **{part.name: part.as_dict() for part in parts}}
    lines = [f"{'✓' if state == 'running' else '✗'} {name:<9} {state}" for name, state in services.items()]
    app.print(data, [*operation.screen(title, parts), *lines])
    if not all(part.ok for part in parts):
        click.get_current_context().exit(1)


def _services(app: App) -> dict[str, str]:
    """The sandbox's own processes; none on AWS."""
    if not app.sandbox:
        return {}
    from amianai_infra.sandbox import Sandbox

    return {service.name: service.state for service in Sandbox(app.root, app.environ).status()}


@click.command()
@click.option(
    "--file", "file", type=click.Path(path_type=Path, dir_okay=False), help="Which file; default .env.local in the site's directory."
)
@click.option("--open", "opened", is_flag=True, help="For `npm run dev` on this machine, after `db open`.")
@click.option("--tunnel", is_flag=True, help="For `npm run dev` on this machine, through `db tunnel`.")
@click.option("--tunnel-port", type=click.IntRange(1, 65535), default=15432, show_default=True, help="The tunnel's port.")
@click.option("--read-only", is_flag=True, help="Name the secret of the role that only reads.")
@click.pass_obj
def env(app: App, file: Path | None, opened: bool, tunnel: bool, tunnel_port: int, read_only: bool) -> None:
    """Write what the application must know into its .env.local.

    \b
    amianai --sandbox env
    amianai env --tunnel

    Keys of your own, comments and their order stay. No password is ever written: server code reads the secret that
    DATABASE_SECRET_ARN names. It is the application's, which reads and writes rows and cannot change the schema. The user
    pool's client is the one for development; a release is built for the site's. In the sandbox AWS SDKs are led to the emulator by
    AWS_ENDPOINT_URL and the like, and programs to its database and authority; both go again with the next `env` for AWS.
    """
    from amianai_infra.operations import env_file
    from amianai_infra.site import packages
    from amianai_infra.site.environment import public_environment, translated

    if opened and tunnel:
        raise click.UsageError("Choose one of --open and --tunnel.")
    app.target.ready()
    outputs = app.outputs(fresh=True)
    folder = app.root / app.settings.site.directory
    path = file or folder / ".env.local"
    database = _database_values(app, outputs, opened=opened, tunnel_port=tunnel_port if tunnel else None, read_only=read_only)
    public = translated(public_environment(app.target, outputs, development=True), packages.uses(folder))
    values = {**public, **database}
    written = env_file.write(path, values, app.target.sdk_variables())
    app.print({"path": str(path), "added": written.added, "changed": written.changed, "removed": written.removed}, written.text())


def _database_values(app: App, outputs: StackOutputs, *, opened: bool, tunnel_port: int | None, read_only: bool) -> dict[str, str]:
    """Where the program that reads the file finds the database: the sandbox's is always on this machine."""
    from amianai_infra.operations import env_file

    role: Role = "readonly" if read_only else "application"
    if not (app.sandbox or opened or tunnel_port):
        return env_file.database_values(outputs, role)
    near = app.sandbox and not tunnel_port
    return env_file.local_database_values(outputs, app.target.database_ca(), role, tunnel_port=tunnel_port, replicas=near)


@click.command()
@click.option("--keep-users", is_flag=True, help="Keep the user pool; the next setup adopts it.")
@click.option("--keep-zone", is_flag=True, help="Keep the hosted zone; the next setup adopts it.")
@click.option("--delete-state", is_flag=True, help="On AWS also remove the bucket and the key of the engine's state.")
@click.option("--delete-audit", is_flag=True, help="Also remove the log group of what was done to the database.")
@confirm_option
@dry_run_option
@click.pass_obj
def destroy(
    app: App, keep_users: bool, keep_zone: bool, delete_state: bool, delete_audit: bool, confirm: str | None, dry_run: bool
) -> None:
    """Remove the stack, after showing what goes and what stays.

    \b
    amianai destroy --dry-run
    amianai --sandbox destroy --confirm example.test

    The domain has to be typed (or given with --confirm); --yes is not enough. The database leaves a final snapshot, and
    the record of what was done to it stays.
    """
    from amianai_infra.operations import destroy as operation

    _ = app.settings
    app.target.ready()
    app.announce()
    options = operation.Options(keep_users, keep_zone, delete_state, delete_audit)
    engine, plan = operation.prepare(app, options)
    if dry_run or not app.json:
        show(operation.screen(plan), err=not dry_run)
    if dry_run:
        return
    operation.require_nothing_of_others(plan)
    app.confirm_domain(confirm, "This removes the production stack", plan.domain)
    result = operation.execute(app, engine, plan, options)
    app.print(result.as_dict(), result.text())


@click.command()
@click.option("--policy", is_flag=True, help="Print the IAM policies that setup needs, and check nothing.")
@click.pass_obj
def doctor(app: App, policy: bool) -> None:
    """Check every prerequisite and say how to fix what is missing.

    \b
    amianai doctor
    amianai doctor --policy > policies.json
    amianai --sandbox --json doctor
    """
    from amianai_infra.folders import cache_folder
    from amianai_infra.operations import doctor as operation

    if policy:
        from amianai_infra.rules.operator_policy import operator_policies

        app.print(operator_policies(app.settings))
        return
    local = app.root / (".sandbox" if app.sandbox else ".amianai")
    checks = operation.machine(app.root, local, cache_folder(app.environ))
    checks += operation.configuration(lambda: app.settings, app.root)
    if not app.sandbox:
        checks += [operation.provider(app.environ), *_aws_checks(app)]
    app.print({"ok": operation.healthy(checks), "checks": [check.as_dict() for check in checks]}, operation.table(checks))
    if not operation.healthy(checks):
        click.get_current_context().exit(1)


def _aws_checks(app: App) -> list[Check]:
    """Credentials and permissions: only where the settings say which region and prefix they are for."""
    from amianai_infra.engine import find_engine
    from amianai_infra.errors import ConfigurationError
    from amianai_infra.operations import doctor as operation

    try:
        target, settings = app.target, app.settings
    except ConfigurationError:
        return []
    found = [operation.sign_in_mail(settings), *operation.amazon(target, settings)]
    if operation.healthy(found) and find_engine(app.environ):
        found.append(operation.state_through_engine(lambda: app.engine().reach()))
    return found
