"""Every command that prints what others wrote, with two hundred hostile texts: no control character, no forged line, no CI command."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import psycopg
import pytest
from botocore.exceptions import ClientError
from click.testing import CliRunner, Result

from amianai_infra import printing
from amianai_infra.cli import db, db_access, db_admin, db_adopt, db_backup, db_connect, db_restore, db_schema, db_top
from amianai_infra.cli import main as module
from amianai_infra.cli.main import COMMANDS, cli
from amianai_infra.cli.options import App
from amianai_infra.database import adoption, backups, diff, restore, schema, top
from amianai_infra.database.admin import Plan as AdminPlan
from amianai_infra.database.admin import Result as AdminResult
from amianai_infra.database.catalog import Difference
from amianai_infra.database.foreign_ledgers import ForeignLedger
from amianai_infra.database.migrate import Applied, Migration
from amianai_infra.database.no_transaction import Begun
from amianai_infra.database.recipe import Recipe
from amianai_infra.engine import Lock, Step, Summary
from amianai_infra.errors import AmianaiError, LockedError
from amianai_infra.operations import change, destroy, doctor, status
from amianai_infra.operations import setup as setup_operation
from amianai_infra.outputs import StackOutputs
from amianai_infra.rules.access import Door, Found
from amianai_infra.rules.records import compare
from amianai_infra.sandbox import Sandbox, Service
from amianai_infra.site import Release, preview
from amianai_infra.site.diff import Change, Diff
from amianai_infra.site.history import Listed
from amianai_infra.site.manifest import Manifest, Taken
from amianai_infra.site.manifest import Summary as ReleaseSummary
from amianai_infra.site.plan import Bucket
from amianai_infra.site.release import State
from amianai_infra.site.takedown import Remover, Takedown
from amianai_infra.site.tree import File
from tests.hostile import HOSTILE, faults
from tests.unit.database.test_backups import GOOD, NOW
from tests.unit.database.test_top_screen import FULL
from tests.unit.operations.fakes import OUTPUTS, Context
from tests.unit.rules.test_records import event

Setup = Callable[[pytest.MonkeyPatch, Context, str], Any]
CASES: dict[str, tuple[list[str], Setup]] = {}


def case(*arguments: str) -> Callable[[Setup], Setup]:
    """What a command is given to print."""

    def keep(function: Setup) -> Setup:
        CASES[" ".join(arguments)] = (list(arguments), function)
        return function

    return keep


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Context:
    made = Context(tmp_path)
    (tmp_path / "Pulumi.yaml").write_text("name: amianai-infra\nruntime: python\n")
    monkeypatch.setenv("AMIANAI_ROOT", str(tmp_path))
    monkeypatch.setattr(App, "target", made.target)
    monkeypatch.setattr(App, "settings", made.settings)
    monkeypatch.setattr(App, "engine", lambda self, environment=None: made.engine(environment))
    monkeypatch.setattr(App, "outputs", lambda self, fresh=False: OUTPUTS)
    monkeypatch.setattr(App, "confirm", lambda self, question: printing.show(question, err=True))
    monkeypatch.setattr(db_admin, "require_gate", lambda *_: None)
    change.configure(made, made.engine())
    return made


def run(arguments: list[str]) -> Result:
    return CliRunner().invoke(cli, ["--sandbox", *arguments])


def giving(value: Any) -> Callable[..., Any]:
    return lambda *_, **__: value


def outputs(text: str) -> StackOutputs:
    """Outputs as they would be, had nobody looked at them when they were read."""
    names: dict[str, Any] = dict.fromkeys(("host", "name", "identifier", "application_secret_arn"), text)
    database = replace(OUTPUTS.database, replica_hosts=[text], **names)
    return replace(OUTPUTS, account=text, region=text, prefix=text, audit_log_group=text, database=database)


def step(text: str) -> Step:
    return Step("update", text, text, text, (text, text))


@case("state", "locks")
@case("state", "unlock")
def locks(patch: pytest.MonkeyPatch, context: Context, text: str) -> None:
    lock = Lock(f"locks/{'a' * 8}.json", text, text, 1, datetime.now(UTC), 1.0, None)
    patch.setattr(App, "engine", giving(SimpleNamespace(locks=lambda: [lock, lock], unlock=lambda lock: None)))


@case("preview")
def previewed(patch: pytest.MonkeyPatch, context: Context, text: str) -> None:
    patch.setattr(change, "preview", giving(change.Foreseen(Summary("preview", {"update": 1}, [step(text)], 1.0, True), None)))


@case("up")
def up(patch: pytest.MonkeyPatch, context: Context, text: str) -> None:
    patch.setattr(change, "up", giving(Summary("up", {"update": 1}, [step(text)], 1.0, True)))
    patch.setattr(status, "open_access", giving([text, f"10.0.0.1: {text}"]))


@case("setup", "--no-deploy")
def setup(patch: pytest.MonkeyPatch, context: Context, text: str) -> None:
    summary = Summary("up", {"update": 1}, [step(text)], 1.0, True)
    patch.setattr(
        setup_operation, "setup", giving(SimpleNamespace(outputs=outputs(text), summary=summary, seconds=1.0, url=text, changed=True))
    )


@case("status")
def stack_status(patch: pytest.MonkeyPatch, context: Context, text: str) -> None:
    patch.setattr(status, "look", giving([status.Part("site", True, text, {"url": text, "names": f"{text} {text}"})]))
    patch.setattr(App, "outputs", giving(outputs(text)))
    patch.setattr(Sandbox, "status", giving([]))


@case("destroy", "--confirm", "example.com")
@case("destroy", "--dry-run")
def destroyed(patch: pytest.MonkeyPatch, context: Context, text: str) -> None:
    plan = destroy.Plan(
        lift=[f"urn::{text}"],
        empty=[text],
        goes={f"{text} {text}": 1},
        snapshot=text,
        stays=[text],
        delete_state=True,
        domain="example.com",
    )
    patch.setattr(destroy, "prepare", giving((None, plan)))
    patch.setattr(destroy, "execute", giving(destroy.Result(plan, {"delete": 1}, [f"kept {text}"])))


@case("doctor")
def checked(patch: pytest.MonkeyPatch, context: Context, text: str) -> None:
    patch.setattr(doctor, "machine", giving([doctor.Check("Node", False, text, text), doctor.Check("Go", True, text)]))
    patch.setattr(doctor, "configuration", giving([doctor.Check("Settings", False, text, text, required=False)]))


@case("releases")
def releases(patch: pytest.MonkeyPatch, context: Context, text: str) -> None:
    made = ReleaseSummary(1, text, 1, text, 1.0, 1.0, text, text, 1, 2, 3)
    patch.setattr("amianai_infra.site.releases", giving([Listed(made, True, None, True), Listed(made, False, 1.0, False)]))


@case("releases", "diff")
def differing(patch: pytest.MonkeyPatch, context: Context, text: str) -> None:
    made = ReleaseSummary(1, text, 1, text, 1.0, 1.0, text, text, 1, 2, 3)
    changes = tuple(Change(text, text, kind, page, 1, 2) for kind in ("added", "changed") for page in (True, False))
    patch.setattr("amianai_infra.site.compare", giving(Diff(made, made, changes)))


def release(text: str, *, dry: bool = False) -> Release:
    return Release(2, text, 1, text, f"https://{text}/", True, (text, text), 3, (text,), 4, 1.0, (text,), 1, None, dry)


@case("deploy", "--no-build")
@case("deploy", "--dry-run")
def deployed(patch: pytest.MonkeyPatch, context: Context, text: str) -> None:
    patch.setattr("amianai_infra.site.deploy", giving(release(text, dry=True)))


@case("rollback")
def rolled_back(patch: pytest.MonkeyPatch, context: Context, text: str) -> None:
    patch.setattr("amianai_infra.site.rollback", giving(release(text)))


@case("takedown", "/x", "--reason", "why")
@case("takedown")
def taken_down(patch: pytest.MonkeyPatch, context: Context, text: str) -> None:
    patch.setattr(Remover, "takedown", giving(Takedown(2, (text,), (f"/{text}",), 1, text, text, 1.0)))
    manifest = Manifest(ReleaseSummary(1, text, 1, text, 1.0, 1.0, text, text, 1, 2, 3), {}, taken={text: Taken(1.0, text, text, 1)})
    patch.setattr(Remover, "state", giving(State(Bucket({}, {}), manifest, 0.0)))


@case("ci", "build", "--against", ".")
def built(patch: pytest.MonkeyPatch, context: Context, text: str) -> None:
    files = [File(text, 1, "e", "text/html")]
    patch.setattr(preview, "Checkout", giving(SimpleNamespace(build=lambda *_: preview.Built("a", tuple(files)), build_id="b")))
    patch.setattr(preview, "compare", giving([preview.Change("new", text, 1), preview.Change("gone", f"a{text}", 2)]))


@case("ci", "init")
def workflow(patch: pytest.MonkeyPatch, context: Context, text: str) -> None:
    context.target.local.mkdir(parents=True, exist_ok=True)
    (context.target.local / "deploy.yml").write_bytes(f"{text}\nother\n".encode("utf-8", "replace"))
    role = OUTPUTS.model_copy({"deploy_role_arn": "arn:aws:iam::123456789012:role/eeyore-deploy"})
    patch.setattr(App, "outputs", giving(role))
    patch.setattr("amianai_infra.site.environment.public_environment", giving({}))


@case("ci", "check")
def environment(patch: pytest.MonkeyPatch, context: Context, text: str) -> None:
    patch.setattr("amianai_infra.site.environment.public_environment", giving({"NEXT_PUBLIC_A": text}))


@case("env")
def env(patch: pytest.MonkeyPatch, context: Context, text: str) -> None:
    written = SimpleNamespace(path=Path("a"), added=[text], changed=[text], removed=[], same=False)
    written.text = lambda: __import__("amianai_infra.operations.env_file", fromlist=["Written"]).Written.text(written)
    patch.setattr("amianai_infra.operations.env_file.write", giving(written))
    patch.setattr("amianai_infra.operations.env_file.database_values", giving({}))
    patch.setattr("amianai_infra.site.environment.public_environment", giving({}))


@case("sandbox", "status")
def services(patch: pytest.MonkeyPatch, context: Context, text: str) -> None:
    patch.setattr(Sandbox, "status", giving([Service("emulator", text, 1, text, 1, None, Path("a"))]))  # type: ignore[arg-type]


@case("sandbox", "logs", "postgres")
def log(patch: pytest.MonkeyPatch, context: Context, text: str) -> None:
    file = context.target.root / "postgres.log"
    file.write_bytes(f"{text}\n  {text}\n".encode("utf-8", "surrogatepass"))
    patch.setattr(Sandbox, "log_files", giving({"postgres": file}))


@case("sandbox", "env")
def variables(patch: pytest.MonkeyPatch, context: Context, text: str) -> None:
    patch.setattr(Sandbox, "serves", giving(False))
    patch.setattr(Sandbox, "environment", giving({"AWS_CONFIG_FILE": f"/home/{text}"}))


def connection(patch: pytest.MonkeyPatch) -> None:
    for where in (db, db_schema, db_connect, db_admin):
        if hasattr(where, "connected"):
            patch.setattr(where, "connected", giving(nullcontext()))
    patch.setattr(db_top, "connected", giving(nullcontext()))


def ledger(text: str) -> schema.State:
    applied = Applied("amianai", "0001", text, text, NOW, text, timedelta(1))
    pending = Migration("project", "0002", text, text, text, Path(f"/a/{text}"))
    problem = str(AmianaiError(text, details=[text], where=text, fix=text))
    begun = Begun("project", "0003", text, 1, text, [], NOW, text, text)
    roles, foreign = {text: True, f"a{text}": False}, [ForeignLedger(text, text, 1, text)]
    return schema.State(text.strip() or "16", [applied], [begun], [pending], problem, roles, foreign, text)


@case("db", "status")
def schema_status(patch: pytest.MonkeyPatch, context: Context, text: str) -> None:
    connection(patch)
    patch.setattr(schema, "look", giving(ledger(text)))


@case("db", "diff")
def schema_diff(patch: pytest.MonkeyPatch, context: Context, text: str) -> None:
    found = [Difference(text, text, *pair) for pair in ((text, text), (None, text), (text, None))]
    patch.setattr(diff, "diff", giving((found, [Migration("project", "0002", text, text, text, Path("/a"))])))


@case("db", "migrate", "--dry-run")
def migrations(patch: pytest.MonkeyPatch, context: Context, text: str) -> None:
    connection(patch)
    patch.setattr(schema, "look", giving(replace(ledger(text), applied=[])))


@case("db", "top")
def load(patch: pytest.MonkeyPatch, context: Context, text: str) -> None:
    connection(patch)
    now = replace(
        FULL,
        server=replace(FULL.server, database=text, version=text),
        load=replace(FULL.load, states={text: 1}, waits=[top.Wait(text, text, 1)], clients=[top.Client(text, text, 1, 1)]),
        statements=[top.Statement(1, text, 1, 1.0, 1, 1, 1)],
        blocked=[top.Blocked(1, text, text, 1.0, text, text, text, [1])],
        blockers=[top.Blocker(1, text, text, text, 1.0, text)],
        tables=[top.Table(text, 1, 1, 1, 0, None)],
        unused=[top.Index(text, text, 1, True)],
        replicas=[top.Replica(text, text, 0.1, 1)],
        notes=[f"statements: {text}"],
    )
    patch.setattr(top, "look", giving(now))


@case("db", "admin", "sql", "SELECT 1")
@case("db", "admin", "sql", "--write", "UPDATE a", "--confirm", "example.com", "--reason", "x")
def rows(patch: pytest.MonkeyPatch, context: Context, text: str) -> None:
    result = AdminResult(
        2, [text, f"a{text}"], [(text, 1), (None, text), ([text], {"a": text}), (text.encode("utf-8", "replace"), 2)], cut=True
    )
    plan = AdminPlan("sql", text, [text, f"a\n{text}"], {text: 1}, [f"of {text}"])
    made = SimpleNamespace(query=giving(result), sql=giving(plan), execute=giving(result))
    patch.setattr(db_admin, "administrator", giving(made))


@case("db", "admin", "truncate", "a", "--confirm", "example.com", "--reason", "x")
@case("db", "admin", "truncate", "a", "--dry-run")
def truncated(patch: pytest.MonkeyPatch, context: Context, text: str) -> None:
    plan = AdminPlan("truncate", text, [f'TRUNCATE "{text}"', text], {text: 1}, [f"of {text}"], snapshot=True)
    made = SimpleNamespace(truncate=giving(plan), execute=giving(AdminResult(1, snapshot=text)))
    patch.setattr(db_admin, "administrator", giving(made))


@case("db", "admin", "audit")
def audit(patch: pytest.MonkeyPatch, context: Context, text: str) -> None:
    one = event("a", who=text, host=text, action=text, detail=text, reason=text, outcome=text, error=text)
    patch.setattr(db_admin, "administrator", giving(SimpleNamespace(records=giving(compare([one], [], 5)))))


def found(text: str) -> backups.Backups:
    shot = replace(GOOD.snapshots[1], name=text, kind=text, status=text, tags={backups.TAG_NOTE: text})
    return replace(
        GOOD,
        identifier=text,
        snapshots=[shot, shot],
        automated=[replace(GOOD.automated[0], status=text), replace(GOOD.automated[0], region=text)],
    )


@case("db", "backup", "list")
@case("db", "backup", "verify")
def backup(patch: pytest.MonkeyPatch, context: Context, text: str) -> None:
    patch.setattr(db_backup, "look", giving(found(text)))
    patch.setattr(db_backup, "_wanted", giving(backups.Wanted(7, text, True, text)))
    patch.setattr(db_backup, "rds", giving(None))


@case("db", "restore", "--to", "latest", "--dry-run")
def restored(patch: pytest.MonkeyPatch, context: Context, text: str) -> None:
    steps = [restore.Step("adopt", text)]
    plan = restore.Plan(restore.Source("time", text), "replace", Recipe(text, {}, (), 1, {}), text, text, None, None, steps)
    patch.setattr("amianai_infra.operations.adoption.instance_of", giving(SimpleNamespace(inputs={})))
    patch.setattr(Recipe, "of", giving(None))
    patch.setattr(db_restore, "rds", giving(None))
    patch.setattr(db_restore, "look", giving(None))
    patch.setattr(restore, "survey", giving(None))
    patch.setattr(restore, "plan", giving(plan))


@case("db", "restore", "--cleanup", "--dry-run")
def leftovers(patch: pytest.MonkeyPatch, context: Context, text: str) -> None:
    patch.setattr(db_restore, "look", giving(None))
    patch.setattr(restore, "leftovers", giving([SimpleNamespace(name=text, why=text, final_snapshot=text)]))


@case("db", "adopt")
def adopted(patch: pytest.MonkeyPatch, context: Context, text: str) -> None:
    patch.setattr(db_adopt, "rds", giving(SimpleNamespace(get=giving({}))))
    patch.setattr(adoption, "judge", giving([backups.Finding("problem", text, text, f"ask {text}"), backups.Finding("ok", "x", text)]))


def opened(text: str) -> Found:
    return Found({"203.0.113.7": Door("203.0.113.7", "sgr-1", {text: NOW + timedelta(hours=1)}), text: Door(text)})


@case("db", "open", "--dry-run", "--address", "203.0.113.7")
@case("db", "close", "--dry-run")
@case("db", "close")
def access(patch: pytest.MonkeyPatch, context: Context, text: str) -> None:
    done = SimpleNamespace(steps=[text], found=opened(text))
    made = SimpleNamespace(plan_open=giving([text]), plan_close=giving([text]), close=giving(done))
    patch.setattr(db_access, "_access", giving(made))
    patch.setattr("amianai_infra.database.audit.audited", giving(nullcontext(SimpleNamespace())))


@case("db", "url")
def url(patch: pytest.MonkeyPatch, context: Context, text: str) -> None:
    patch.setattr(App, "outputs", giving(outputs(text)))


PROBE = "probe"


def raising(make: Callable[[str], BaseException], *arguments: str) -> Setup:
    def arrange(patch: pytest.MonkeyPatch, context: Context, text: str) -> None:
        @click.command()
        def probe() -> None:
            raise make(text)

        patch.setattr(module, "probe", probe, raising=False)
        patch.setitem(COMMANDS, PROBE, ("amianai_infra.cli.main:probe", "A probe."))

    return arrange


def chained(text: str) -> BaseException:
    error = AmianaiError(text)
    error.__cause__ = ValueError(text)
    error.add_note(text)
    return error


ERRORS: dict[str, Callable[[str], BaseException]] = {
    "ours": lambda text: AmianaiError(text, details=[text, text], where=text, fix=f"ask {text}"),
    "ours, quoted": lambda text: LockedError(f"{text} holds it.", where=f"s3: {text}", fix=f"ask {text}"),
    "botocore": lambda text: ClientError({"Error": {"Code": text, "Message": text}}, text),
    "botocore, forbidden": lambda text: ClientError({"Error": {"Code": "AccessDenied", "Message": text}}, "Op"),
    "psycopg": psycopg.OperationalError,
    "unexpected": ValueError,
    "disk": lambda text: OSError(28, text, text),
    "undecodable": lambda text: FileNotFoundError(2, text, b"\xff\n::add-mask::x"),
    "usage": click.UsageError,
    "parameter": lambda text: click.BadParameter(text, param_hint="x"),
    "file": lambda text: click.FileError(text, text),
}
for _name, _make in ERRORS.items():
    CASES[f"error: {_name}"] = ([PROBE], raising(_make))
CASES["error: traceback"] = (["--debug", PROBE], raising(chained))


def shown(name: str, context: Context, text: str) -> str:
    arguments, arrange = CASES[name]
    with pytest.MonkeyPatch.context() as patch, contextlib.chdir(context.target.root):
        arrange(patch, context, text)
        result = run(arguments)
    assert isinstance(result.exception, (SystemExit, type(None))), f"a traceback out of the program: {text!a}"
    return result.stdout + result.stderr


@pytest.mark.parametrize("name", sorted(CASES))
def test_what_others_wrote_is_shown_and_never_obeyed(name: str, context: Context) -> None:
    assert "Zebra" in shown(name, context, "Zebra")
    wrong = {ascii(text): found for text in HOSTILE if (found := faults(shown(name, context, text)))}
    assert wrong == {}


@pytest.mark.parametrize(
    "arguments", [["{}"], ["up", "{}"], ["up", "--{}"], ["--set", "{}"], ["--set", "{}=1", "up"], ["sandbox", "logs", "{}"]]
)
def test_a_command_line_is_no_better(arguments: list[str]) -> None:
    for text in HOSTILE:
        result = CliRunner().invoke(cli, [one.format(text) if "{}" in one else one for one in arguments])
        assert faults(result.stdout + result.stderr) == [], ascii(text)


@pytest.mark.parametrize("ask", [printing.agreed, printing.answer])
def test_questions_are_harmless(ask: Callable[[str], Any]) -> None:
    @click.command()
    def asking() -> None:
        ask(f"Release the lock of {text}?")

    for text in HOSTILE:
        assert faults(CliRunner().invoke(asking, input="y\n").stderr.rstrip("y\n")) == [], ascii(text)
