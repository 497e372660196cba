from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from botocore.exceptions import ClientError

from amianai_infra.config import Settings
from amianai_infra.engine import StateResource
from amianai_infra.errors import AmianaiError, ConfigurationError, EngineError, LockedError, RefusedError
from amianai_infra.operations import change, destroy
from amianai_infra.target import OUTPUTS_CACHE
from tests.unit.operations.fakes import OUTPUTS, Context, Rds, Route53, Ssm, Target, names, resource, summary


def test_the_snapshot_suffix_is_drawn_once_and_kept() -> None:
    settings = Settings(domain_name="example.com")
    first = change.wanted(settings, {})
    assert len(first[change.SUFFIX]) == 8
    assert change.wanted(settings, first)[change.SUFFIX] == first[change.SUFFIX]
    assert change.wanted(settings, {})[change.SUFFIX] != first[change.SUFFIX]


def test_the_engines_own_region_is_written_too() -> None:
    assert change.wanted(Settings(domain_name="example.com", region="eu-west-1"), {})["aws:region"] == "eu-west-1"


def test_up_writes_what_differs_and_only_that(tmp_path: Path) -> None:
    context = Context(tmp_path, flags={"database.storage_gib": "30"})
    change.up(context)
    assert names(context.log) == ["configure", "up"]
    written = context.did("configure")[0][1]
    assert written["amianai-infra:databaseStorageGib"] == "30"
    context.log.clear()
    change.up(context)
    assert names(context.log) == ["up"]
    context.flags["database.storage_gib"] = "20"
    change.up(context)
    assert context.did("configure")[0][1] == {"amianai-infra:databaseStorageGib": "20"}


def test_a_folder_of_migrations_is_looked_at_when_it_is_chosen(tmp_path: Path) -> None:
    context = Context(tmp_path, flags={"database.migrations": "migrations"})
    for attempt in (change.up, change.preview):
        with pytest.raises(ConfigurationError, match="does not exist"):
            attempt(context)
    assert names(context.log) == []
    (tmp_path / "migrations").mkdir()
    (tmp_path / "migrations" / "0001_a.sql").touch()
    change.up(context)
    (tmp_path / "migrations" / "0001_a.sql").unlink()
    change.up(context)
    context.flags["database.migrations"] = ""
    change.up(context)
    assert context.did("configure")[-1][1] == {change.MIGRATIONS: ""}


def test_a_path_of_this_machine_alone_never_gets_into_the_committed_file(tmp_path: Path) -> None:
    context = Context(tmp_path, target=Target(tmp_path, "aws"), flags={"site.directory": "/home/me/web"})
    with pytest.raises(ConfigurationError, match="path of this machine alone"):
        change.differences(context)
    context.flags["site.directory"] = "../web"
    assert change.differences(context)[change.DIRECTORY] == "../web"
    sandbox = Context(tmp_path, flags={"site.directory": "/home/me/web"})
    assert change.differences(sandbox)[change.DIRECTORY] == "/home/me/web", "its file is not committed"


def test_up_drops_the_cached_outputs_when_something_changed(tmp_path: Path) -> None:
    context = Context(tmp_path)
    context.target.local.mkdir()
    cache = context.target.local / OUTPUTS_CACHE
    cache.write_text("{}")
    change.up(context)
    assert cache.exists()
    context.answers["up"] = summary(changed=True)
    change.up(context)
    assert not cache.exists()


@pytest.mark.parametrize(
    ("error", "changes", "told"),
    [
        (LockedError("Another operation is working on this stack."), False, False),
        (LockedError("Another operation is working on this stack."), True, False),
        (EngineError("The update failed."), False, False),
        (EngineError("The update failed; 1 resources had been changed."), True, True),
        (KeyboardInterrupt(), True, True),
    ],
    ids=["locked", "locked while the other one goes on", "refused", "half-way", "interrupted"],
)
def test_only_who_changed_something_is_told_how_to_take_it_back(tmp_path: Path, error: BaseException, changes: bool, told: bool) -> None:
    context = Context(tmp_path, flags={"database.storage_gib": "30"})
    context.state = [resource("vpc", "aws:ec2/vpc:Vpc", "vpc-1")]
    engine = context.engine

    def dying(environment: Any = None) -> Any:
        made = engine(environment)

        def up(*_: Any, **__: Any) -> None:
            if changes:
                context.state.append(resource("subnet", "aws:ec2/subnet:Subnet", "subnet-1"))
            raise error

        made.up = up
        return made

    context.engine = dying  # type: ignore[method-assign]
    with pytest.raises(type(error)):
        change.up(context)
    assert any("takes back what was done" in note for note in context.notes) == told


def test_a_refresh_comes_before_what_is_compared_with_it(tmp_path: Path) -> None:
    context = Context(tmp_path)
    change.up(context)
    context.log.clear()
    change.up(context, refresh=True)
    change.preview(context, refresh=True)
    assert names(context.log) == ["refresh", "up", "refresh", "preview"]


def test_a_preview_of_other_settings_leaves_the_stack_file_alone(tmp_path: Path) -> None:
    context = Context(tmp_path)
    change.up(context)
    file = context.target.engine().project_dir / "Pulumi.prod.yaml"
    before = file.read_bytes()
    context.flags["database.storage_gib"] = "30"
    change.preview(context)
    assert context.did("preview")[0][2]["amianai-infra:databaseStorageGib"] == "30"
    assert file.read_bytes() == before


def test_a_preview_before_the_first_setup_leaves_no_stack_file(tmp_path: Path) -> None:
    context = Context(tmp_path)
    context.there = False
    change.preview(context)
    assert names(context.log) == ["configure", "preview"]
    assert context.did("preview")[0][2]["amianai-infra:domainName"] == "example.com"
    assert {file.name for file in context.target.engine().project_dir.iterdir()} == {"Pulumi.yaml"}


def test_a_preview_tells_what_was_changed_outside(tmp_path: Path) -> None:
    context = Context(tmp_path)
    found = summary("refresh", {"delete": 1}, changed=True)
    context.answers["refresh"] = found
    assert change.preview(context, refresh=True).drift == found
    assert change.preview(context).drift is None


def test_a_variant_is_gone_afterwards(tmp_path: Path) -> None:
    environment = Context(tmp_path).target.engine()
    (environment.project_dir / "Pulumi.prod.yaml").write_text("config: {}\n")
    with change.variant(environment) as other:
        assert other.project_dir != environment.project_dir
        assert {file.name for file in other.project_dir.iterdir()} == {"Pulumi.yaml", "Pulumi.prod.yaml"}
        assert other.backend_url == environment.backend_url
    assert not other.project_dir.exists()


@pytest.mark.parametrize("external", [True, False])
def test_an_adopted_zone_is_no_longer_managed_before_up_could_delete_it(tmp_path: Path, external: bool) -> None:
    context = Context(tmp_path, flags={"dns.zone_id": "Z1"})
    context.state = [resource("urn::zone", change.ZONE_TYPE, "Z1", external=external), resource("urn::other", change.ZONE_TYPE, "Z2")]
    context.target.clients["route53"] = Route53({"Z1": "example.com"})
    change.up(context)
    assert context.did("forget") == ([] if external else [("forget", ["urn::zone"])])


@pytest.mark.parametrize(
    ("kind", "inputs"),
    [(change.ZONE_TYPE, {"name": "Other.example."}), ("aws:acm/certificate:Certificate", {"domainName": "other.example"})],
)
def test_the_settings_of_another_domain_are_not_written(tmp_path: Path, kind: str, inputs: dict[str, str]) -> None:
    context = Context(tmp_path)
    context.state.append(resource("urn::one", kind, "1", inputs))
    for attempt in (change.up, change.preview):
        with pytest.raises(RefusedError, match=r"built for other\.example, and the settings say example\.com") as caught:
            attempt(context)
    assert caught.value.exit_code == 3
    assert "another prefix" in caught.value.fix
    assert context.log == []


@pytest.mark.parametrize("text", ["", "# nothing\n", "config:\n"])
def test_a_stack_file_that_lost_everything_is_the_cause_and_not_the_domain(tmp_path: Path, text: str) -> None:
    context = Context(tmp_path, flags={"domain_name": "example.test"})
    context.state = [resource("zone", change.ZONE_TYPE, "Z1", {"name": "example.com"})]
    file = change.stack_file(context.target.engine())
    file.write_text(text)
    with pytest.raises(RefusedError, match=r"built for example\.com, and its stack file is empty") as caught:
        change.up(context)
    assert str(file) in caught.value.where
    assert "`DOMAIN_NAME=example.com amianai config pull`" in caught.value.fix
    assert names(context.log) == []


def test_the_domain_of_a_state() -> None:
    published = StateResource("urn::stack", "pulumi:pulumi:Stack", "", {}, {"domain": "example.com"})
    adopted = resource("urn::zone", change.ZONE_TYPE, "Z1", {"name": "other.example"}, external=True)
    assert change.domain_of([adopted, published]) == "example.com"
    assert change.domain_of([resource("urn::vpc", "aws:ec2/vpc:Vpc", "vpc-1", {"name": "x"})]) == ""


@pytest.mark.parametrize("there", [True, False])
def test_a_state_that_knows_nothing_of_what_was_published_is_not_the_stacks(tmp_path: Path, there: bool) -> None:
    """The wrong backend, or one that was emptied: `up` would build a second stack beside the running database."""
    ssm = Ssm({"/eeyore/stack": OUTPUTS.model_dump_json()})
    context = Context(tmp_path, Target(tmp_path, clients={"ssm": ssm, "route53": Route53({"Z1": "example.com"})}))  # the stack's own
    context.there = there
    attempts: list[Callable[[], object]] = [
        lambda: change.up(context),
        lambda: change.preview(context),
        lambda: change.configure(context, context.engine()),
        lambda: destroy.prepare(context, destroy.Options()),
    ]
    for attempt in attempts:
        with pytest.raises(RefusedError, match="has published what it built") as caught:
            attempt()
        assert "file:///state" in caught.value.where
        assert "sandbox reset" in caught.value.fix
    assert names(context.log) == []
    context.state.append(resource("urn::zone", change.ZONE_TYPE, "Z1", {"name": "example.com"}))
    context.there = True
    ssm.asked.clear()
    change.up(context)
    assert ssm.asked == [], "a state with resources costs no question"


def test_settings_are_named_as_everywhere_else_and_the_region_once() -> None:
    assert change.named(["aws:region", "amianai-infra:region", "amianai-infra:databaseBackupDays"]) == "database.backup_days, region"


def test_a_class_that_rds_does_not_have_is_refused_before_the_engine_starts(tmp_path: Path) -> None:
    rds = Rds("db.t3.micro", "db.t4g.small")
    context = Context(tmp_path, Target(tmp_path, "aws", {"rds": rds}), {"database.instance_class": "db.t9.micro"})
    with pytest.raises(RefusedError, match=r"PostgreSQL 16 has no instance class db\.t9\.micro in us-east-1") as refused:
        change.up(context)
    assert "describe-orderable-db-instance-options" in refused.value.fix
    assert not context.log
    context.flags["database.instance_class"] = "db.t4g.small"
    change.up(context)
    assert rds.asked == ["db.t9.micro", "db.t4g.small"]
    context.flags["database.engine_version"] = "16.99"
    with pytest.raises(RefusedError, match=r"PostgreSQL 16\.99 has no instance class db\.t4g\.small"):
        change.up(context)


def test_the_class_that_is_there_needs_no_asking_and_the_sandbox_none(tmp_path: Path) -> None:
    rds = Rds("none")
    context = Context(tmp_path, Target(tmp_path, "aws", {"rds": rds}))
    context.state = [resource("urn::db", "aws:rds/instance:Instance", "db", {"instanceClass": "db.t3.micro", "engineVersion": "16"})]
    change.up(context)
    change.up(Context(tmp_path, Target(tmp_path, "sandbox", {"rds": rds})))
    assert not rds.asked


@pytest.mark.parametrize(("code", "raised"), [("AccessDenied", None), ("InternalFailure", AmianaiError)])
def test_who_may_not_ask_for_classes_is_not_held_up(tmp_path: Path, code: str, raised: type[AmianaiError] | None) -> None:
    answer: Any = {"Error": {"Code": code, "Message": ""}, "ResponseMetadata": {"HTTPStatusCode": 500}}
    rds = Mock(spec=Rds, **{"describe_orderable_db_instance_options.side_effect": ClientError(answer, "x")})
    context = Context(tmp_path, Target(tmp_path, "aws", {"rds": rds}))
    with pytest.raises(raised) if raised else nullcontext():
        change.up(context)
