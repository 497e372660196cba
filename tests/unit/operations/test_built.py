from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from amianai_infra.config import every_setting, load_settings
from amianai_infra.engine import Existing, StateResource
from amianai_infra.errors import EngineError, NotFoundError, RefusedError
from amianai_infra.operations import change, config_pull
from amianai_infra.operations.built import Built, refused
from amianai_infra.target import Identity
from tests.unit.operations.fakes import ACCOUNT, Context, Target, names, summary


def state(
    name: str, kind: str, identity: str, inputs: dict[str, Any], outputs: dict[str, Any] | None = None, **more: bool
) -> StateResource:
    return StateResource(f"urn:pulumi:prod::amianai-infra::{kind}::{name}", kind, identity, inputs, outputs or {}, **more)


VPC = state("network-vpc", "aws:ec2/vpc:Vpc", "vpc-1", {"cidrBlock": "10.0.0.0/16"})
REPLACEMENT = state("network-vpc", "aws:ec2/vpc:Vpc", "vpc-2", {"cidrBlock": "10.1.0.0/16"})
SUBNETS = state("database-subnets", "aws:rds/subnetGroup:SubnetGroup", "g", {"subnetIds": ["a", "b", "c"]}, {"vpcId": "vpc-1"})
INSTANCE = {"identifier": "eeyore-postgres", "dbName": "amianai", "username": "amianai_admin", "port": 5432, "engineVersion": "16.10"}
REST = [
    state(
        "",
        "pulumi:pulumi:Stack",
        "",
        {},
        {"account": ACCOUNT, "settings": {"amianai-infra:domainName": "example.com", "amianai-infra:databaseStorageGib": "50"}},
    ),
    state("default", "pulumi:providers:aws", "", {"region": "us-east-1"}),
    state("outputs", "aws:ssm/parameter:Parameter", "p", {"name": "/eeyore/stack"}),
    state("database-replica-1", "aws:rds/instance:Instance", "r", {"identifier": "eeyore-postgres-replica-1"}),
    state("database-instance", "aws:rds/instance:Instance", "d", INSTANCE),
    state("auth-pool", "aws:cognito/userPool:UserPool", "us-east-1_A", {}),
    state("auth-domain", "aws:cognito/userPoolDomain:UserPoolDomain", "x", {"domain": "eeyore-example-com"}),
    state("dns-zone", "aws:route53/zone:Zone", "Z1", {"name": "example.com"}),
    state("audit-log", "aws:cloudwatch/logGroup:LogGroup", "l", {"name": "/eeyore/database/audit"}),
    state("delivery-github", "aws:iam/openIdConnectProvider:OpenIdConnectProvider", "arn:aws:iam::1:x", {}),
]
STACK = [VPC, SUBNETS, *REST]


def keys(flags: dict[str, str], resources: list[StateResource] | None = None, superseded: list[StateResource] | None = None) -> list[str]:
    settings = load_settings(
        {"domain_name": "example.com", "network.availability_zones": "3", "database.storage_gib": "50", **flags}, {}, {}
    )
    return [one.key for one in refused(settings, Built(STACK if resources is None else resources, superseded or []))]


CHANGED = {
    "region": "eu-west-1",
    "account": "999999999999",
    "prefix": "other",
    "network.cidr": "10.1.0.0/16",
    "network.availability_zones": "2",
    "database.identifier": "other-postgres",
    "database.engine_version": "16.9",
    "database.storage_gib": "49",
    "database.name": "other",
    "database.username": "other",
    "database.port": "6000",
    "database.adopt": "true",
    "auth.hosted_domain": "other",
    "auth.user_pool_id": "us-east-1_B",
    "dns.zone_id": "Z2",
    "delivery.oidc_provider_arn": "arn:aws:iam::123456789012:oidc-provider/token.actions.githubusercontent.com",
    "audit.log_group": "/other/audit",
}


@pytest.mark.parametrize("key", CHANGED)
def test_each_setting_that_must_stay_is_refused_alone(key: str) -> None:
    assert keys({key: CHANGED[key]}) == [key]


def test_the_model_names_no_other_setting_that_must_stay() -> None:
    held = {setting.key for setting in every_setting() if setting.once.kind in ("fixed", "only upwards")}
    assert held == {*CHANGED, "domain_name"}, "that one is held against the state's domain"
    assert set(Built(STACK).facts()) == set(CHANGED)


@pytest.mark.parametrize(
    "flags",
    [
        {},
        {"database.engine_version": "16"},
        {"database.engine_version": "16.11"},
        {"database.engine_version": "17", "database.apply_immediately": "true"},
        {"database.storage_gib": "60"},
        {"auth.hosted_domain": "eeyore-example-com", "audit.log_group": "/eeyore/database/audit"},
        {"account": ACCOUNT},
        {"auth.user_pool_id": "us-east-1_A", "dns.zone_id": "Z1"},  # what `destroy` records before it forgets them
    ],
)
def test_what_is_as_built_or_goes_up_is_not_refused(flags: dict[str, str]) -> None:
    assert keys(flags) == []


def test_an_adopted_database_stays_one_with_the_setting_and_without() -> None:
    adopted = [replace(one, imported=True) if one.name == "database-instance" else one for one in STACK]
    assert keys({"database.adopt": "true"}, adopted) == keys({}, adopted) == []


def test_a_major_upgrade_is_made_at_once_or_refused() -> None:
    settings = load_settings(
        {"domain_name": "example.com", "database.engine_version": "17", "network.availability_zones": "3", "database.storage_gib": "50"},
        {},
        {},
    )
    (found,) = refused(settings, Built(STACK))
    assert (found.key, found.built, found.wanted) == ("database.engine_version", "16.10", "17")
    assert "--set database.apply_immediately=true" in found.why


def test_what_is_not_built_yet_may_still_change() -> None:
    assert keys(CHANGED, [VPC]) == []


def test_what_was_adopted_is_not_given_up_by_a_file_that_forgot_it() -> None:
    pool = state("auth-pool", "aws:cognito/userPool:UserPool", "us-east-1_A", {}, retained=True)
    record = state("records-a", "aws:route53/record:Record", "x", {"zoneId": "Z9"})
    role = state("delivery-role", "aws:iam/role:Role", "x", {"assumeRolePolicy": '{"Statement": [{"Principal": {"Federated": "arn:x"}}]}'})
    assert keys({}, [pool, record, role]) == ["auth.user_pool_id", "dns.zone_id", "delivery.oidc_provider_arn"]
    assert keys({"auth.user_pool_id": "us-east-1_A", "dns.zone_id": "Z9"}, [pool, record]) == []


def test_a_network_that_was_replaced_half_way_is_wanted_back_and_nothing_else() -> None:
    there = [REPLACEMENT, SUBNETS]
    assert keys({"network.cidr": "10.1.0.0/16"}, there, [VPC]) == ["network.cidr"]
    assert keys({}, there, [VPC]) == []
    assert Built(there, [VPC]).lost_network(load_settings({"domain_name": "example.com"}, {}, {})) == VPC
    assert Built(STACK).lost_network(load_settings({"domain_name": "example.com"}, {}, {})) is None


@pytest.fixture
def context(tmp_path: Path) -> Context:
    made = Context(tmp_path)
    made.flags |= {"network.availability_zones": "3", "database.storage_gib": "50"}
    change.up(made)
    made.state.extend(STACK)
    made.log.clear()
    return made


def test_up_and_preview_refuse_in_the_models_words_and_leave_the_stack_file(context: Context) -> None:
    file = context.target.engine().project_dir / "Pulumi.prod.yaml"
    before = file.read_bytes()
    context.flags["network.cidr"] = "10.1.0.0/16"
    for attempt in (change.up, change.preview):
        with pytest.raises(
            RefusedError, match=r"network\.cidr: 10\.0\.0\.0/16 -> 10\.1\.0\.0/16: the range is the VPC's for good"
        ) as caught:
            attempt(context)
        assert caught.value.exit_code == 3
        assert "--set network.cidr=10.0.0.0/16" in caught.value.fix
    assert context.log == []
    assert file.read_bytes() == before


def test_a_setting_is_written_after_the_change_was_made(context: Context) -> None:
    file = context.target.engine().project_dir / "Pulumi.prod.yaml"
    before = file.read_bytes()
    context.flags["database.backup_days"] = "9"
    context.answers["up"] = [EngineError("no"), summary(changed=True)]
    with pytest.raises(EngineError):
        change.up(context)
    assert context.did("up")[0][2]["amianai-infra:databaseBackupDays"] == "9"
    assert file.read_bytes() == before
    assert context.notes == [], "there is nothing to take back"
    context.log.clear()
    change.up(context)
    assert names(context.log) == ["configure", "up", "configure"]
    assert context.engine().configuration()["amianai-infra:databaseBackupDays"] == "9"


def test_a_lost_network_counts_again_before_up(context: Context) -> None:
    context.state[0] = REPLACEMENT
    context.answers["superseded"] = [VPC]
    change.up(context)
    assert names(context.log) == ["take_back", "up"]
    assert context.did("take_back") == [("take_back", "vpc-1")]


def test_nothing_is_asked_and_no_engine_started_where_the_plan_has_no_change(context: Context) -> None:
    assert change.agreed_up(context, change.Consent()).operation == "up"
    assert names(context.log) == ["preview", "recover"]


def test_what_the_state_lost_is_told_by_preview_and_adopted_by_up(context: Context) -> None:
    context.state.append(StateResource("urn::stack", "pulumi:pulumi:Stack", "", {}, {"domain": "example.com"}))
    lost = Existing({"urn": "urn:pulumi:prod::p::aws:ec2/eip:Eip::ip", "inputs": {}}, "eipalloc-1", ("another one",))
    context.answers["existing"] = [lost]
    change.configure(context, context.engine())
    context.log.clear()
    assert change.preview(context).existing == [lost]
    assert names(context.log) == ["preview"]
    assert [("`up` adopts eipalloc-1" in one, "another one" in one) for one in context.notes] == [(True, False), (False, True)]
    change.agreed_up(context, change.Consent())
    assert names(context.log) == ["preview", "preview", "adopt", "up"]


def test_a_stack_that_was_never_whole_is_looked_up_for_nothing(tmp_path: Path) -> None:
    context = Context(tmp_path)
    context.answers["existing"] = [Existing({"urn": "urn::ip", "inputs": {}}, "eipalloc-1")]
    assert change.preview(context).existing == ()


def test_the_question_comes_after_the_plan_and_before_anything_is_written(context: Context) -> None:
    file = context.target.engine().project_dir / "Pulumi.prod.yaml"
    before = file.read_bytes()
    context.flags["database.backup_days"] = "9"
    context.answers["preview"] = summary("preview", {"update": 1}, changed=True)
    context.refuse = True
    with pytest.raises(RefusedError):
        change.agreed_up(context, change.Consent())
    assert names(context.log) == ["configure", "preview", "confirm"]
    assert context.did("confirm")[0][1] == "Change the sandbox's stack? Would be: 1 updated"
    assert file.read_bytes() == before
    change.agreed_up(context, change.Consent(ask=False))
    assert "up" in names(context.log)


def test_a_plan_of_a_stack_that_somebody_changed_while_it_was_asked_about_is_none(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    context.flags["database.backup_days"] = "9"
    context.answers["preview"] = summary("preview", {"update": 1}, changed=True)
    monkeypatch.setattr(context, "confirm", lambda question: context.state.clear())
    with pytest.raises(RefusedError, match="Somebody changed the stack after this was planned; nothing was changed"):
        change.agreed_up(context, change.Consent())
    assert names(context.log) == ["configure", "preview"]


def test_a_setting_that_no_resource_takes_is_written_without_a_question(context: Context) -> None:
    context.flags["site.directory"] = "web"
    change.agreed_up(context, change.Consent())
    assert not context.did("confirm")
    assert context.engine().configuration()["amianai-infra:siteDirectory"] == "web"


def test_what_was_changed_outside_is_mended_though_the_plan_has_no_change(context: Context) -> None:
    context.answers["refresh"] = summary("refresh", {"delete": 1}, changed=True)
    change.agreed_up(context, change.Consent(), refresh=True)
    assert names(context.log) == ["refresh", "preview", "refresh", "up"]


@pytest.mark.parametrize(("key", "value"), [("region", "eu-west-1"), ("prefix", "other"), ("account", "")])
def test_another_region_prefix_or_account_than_the_stack_files_is_refused_on_aws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str, value: str
) -> None:
    made = Context(tmp_path, Target(tmp_path, "aws"))
    change.configure(made, made.engine())
    assert made.engine().configuration()[change.ACCOUNT] == ACCOUNT
    file = tmp_path / "project/Pulumi.prod.yaml"
    before = file.read_bytes()
    made.log.clear()
    made.there = False  # that place has no state
    if value:
        made.flags[key] = value
    else:
        monkeypatch.setattr(made.target, "identity", lambda: Identity("999999999999", "arn:aws:iam::999999999999:user/x"))
    for attempt in (lambda: change.up(made), lambda: change.preview(made), lambda: change.require_same_place(made)):
        with pytest.raises(RefusedError, match=f"a stack in {key} .*nothing was changed") as caught:
            attempt()
        assert str(file) in caught.value.where
    assert made.log == []
    assert file.read_bytes() == before


def test_a_stack_file_of_which_nothing_was_built_names_no_place(tmp_path: Path) -> None:
    made = Context(tmp_path, Target(tmp_path, "aws"), {"region": "eu-west-1"})
    (tmp_path / "project").mkdir()
    (tmp_path / "project/Pulumi.prod.yaml").write_text("config:\n  aws:region: us-east-1\n")
    change.require_same_place(made)


SALT = {"encryptionsalt": "v1:abc"}


def test_a_file_that_forgot_the_stack_is_refused_and_written_back(context: Context) -> None:
    file = context.target.engine().project_dir / "Pulumi.prod.yaml"
    context.answers["secrets_lines"] = SALT
    published = {
        "amianai-infra:domainName": "example.com",
        "amianai-infra:databaseBackupDays": "9",
        change.SUFFIX: "0a1b",
        "later:key": "x",
    }
    context.state[:] = [state("", "pulumi:pulumi:Stack", "", {}, {"settings": published})]
    context.flags = {"domain_name": "example.com"}
    file.write_text("config:\n  amianai-infra:databaseStorageGib: '30'")
    for attempt in (change.up, change.preview):
        with pytest.raises(RefusedError, match="it lacks encryptionsalt; nothing was changed") as caught:
            attempt(context)
        assert "amianai config pull" in caught.value.fix
    assert context.log == []
    file.write_text(file.read_text() + "\nencryptionsalt: v1:abc\n")
    with pytest.raises(RefusedError, match="it lacks amianai-infra:databaseFinalSnapshotSuffix"):
        change.up(context)
    assert set(config_pull.pull(context)) >= {"amianai-infra:databaseBackupDays", "amianai-infra:databaseStorageGib", change.SUFFIX}
    configured = context.engine().configuration()
    assert configured["amianai-infra:databaseBackupDays"] == "9"
    assert configured["amianai-infra:databaseStorageGib"] == "20", "what was built, not what the file said"
    assert config_pull.pull(context) == {}
    change.up(context)


def test_a_missing_file_gets_the_lines_of_the_states_secrets_too(context: Context) -> None:
    file = context.target.engine().project_dir / "Pulumi.prod.yaml"
    context.answers["secrets_lines"] = SALT
    file.unlink()
    assert "encryptionsalt" in config_pull.pull(context)
    assert "encryptionsalt: v1:abc\n" in file.read_text()
    change.up(context)  # though the stack, built by hand, published no suffix


@pytest.mark.parametrize("line", ["\ufeffencryptionsalt: v1:abc", '"encryptionsalt": v1:abc', "encryptionsalt : v1:abc"])
def test_a_line_of_the_secrets_is_found_however_an_editor_left_it(tmp_path: Path, line: str) -> None:
    file = tmp_path / "Pulumi.prod.yaml"
    file.write_text(f"{line}\r\nconfig:\r\n  a: b\r\n", encoding="utf-8")
    assert change.wrong_lines(file, SALT) == {}


def test_a_line_of_the_secrets_that_lost_its_value_is_missing_and_written_once(context: Context) -> None:
    file = context.target.engine().project_dir / "Pulumi.prod.yaml"
    context.answers["secrets_lines"] = SALT
    file.write_text("encryptionsalt:\n" + file.read_text())
    with pytest.raises(RefusedError, match="it lacks encryptionsalt"):
        change.up(context)
    config_pull.pull(context)
    assert file.read_text().count("encryptionsalt") == 1
    assert change.wrong_lines(file, SALT) == {}


@pytest.mark.parametrize("line", ["encryptionsalt: v1:other", '"encryptionsalt": v1:other'])
def test_the_line_of_other_secrets_is_no_wrong_passphrase_and_written_back(context: Context, line: str) -> None:
    file = context.target.engine().project_dir / "Pulumi.prod.yaml"
    context.answers["secrets_lines"] = SALT
    file.write_text(f"{line}\n" + file.read_text())
    with pytest.raises(RefusedError, match="its encryptionsalt is not the state's; nothing was changed") as caught:
        change.up(context)
    assert "amianai config pull" in caught.value.fix
    assert config_pull.pull(context)["encryptionsalt"] == "v1:abc"
    assert "other" not in file.read_text()
    change.up(context)


def test_without_published_settings_the_lines_alone_are_written(context: Context) -> None:
    file = context.target.engine().project_dir / "Pulumi.prod.yaml"
    context.answers["secrets_lines"] = SALT
    context.state[:] = [state("", "pulumi:pulumi:Stack", "", {}, {"domain": "example.com"})]
    file.write_text("config: {}")
    with pytest.raises(NotFoundError, match="did not publish"):
        config_pull.pull(context)
    assert file.read_text() == "config: {}\nencryptionsalt: v1:abc\n"
    context.state.clear()
    with pytest.raises(NotFoundError, match="No stack was built"):
        config_pull.pull(context)


def test_on_aws_the_question_names_production(tmp_path: Path) -> None:
    made = Context(tmp_path, Target(tmp_path, "aws"))
    made.answers["preview"] = summary("preview", {"create": 79}, changed=True)
    change.agreed_up(made, change.Consent())
    assert made.did("confirm") == [("confirm", "Change the production stack? Would be: 79 created")]
