from __future__ import annotations

from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from amianai_infra.config import Settings
from amianai_infra.engine import StateResource
from amianai_infra.errors import EngineError, RefusedError
from amianai_infra.operations import change, destroy
from amianai_infra.operations.destroy import Options, plan
from amianai_infra.stack import CARRIED_URNS
from tests.unit.operations.fakes import Context, names, resource, summary

SETTINGS = Settings(domain_name="example.com")
BUCKET = "eeyore-site-example-com"


def urn(name: str) -> str:
    return f"urn:pulumi:prod::amianai-infra::some:type::{name}"


def stack() -> list[StateResource]:
    return [
        resource(urn("stack"), "pulumi:pulumi:Stack", ""),
        resource(urn("network"), "amianai:network:Network", ""),
        resource(urn("provider"), "pulumi:providers:aws", "uuid"),
        resource(urn("vpc"), "aws:ec2/vpc:Vpc", "vpc-1"),
        resource(urn("one"), "aws:ec2/subnet:Subnet", "subnet-1"),
        resource(urn("two"), "aws:ec2/subnet:Subnet", "subnet-2"),
        resource(
            urn("db"),
            destroy.INSTANCE_TYPE,
            "db-1",
            {"deletionProtection": True, "finalSnapshotIdentifier": "eeyore-postgres-final-abc"},
            protect=True,
        ),
        resource(urn("pool"), change.POOL_TYPE, "us-east-1_A", {"deletionProtection": "ACTIVE"}),
        resource(urn("zone"), change.ZONE_TYPE, "Z1"),
        resource(urn("bucket"), destroy.BUCKET_TYPE, BUCKET),
    ]


def test_everything_real_goes_and_is_counted() -> None:
    found = plan(stack(), Options(), SETTINGS)
    assert found.goes == {
        "cognito UserPool": 1,
        "ec2 Subnet": 2,
        "ec2 Vpc": 1,
        "rds Instance": 1,
        "route53 Zone": 1,
        "s3 Bucket": 1,
    }
    assert found.empty == [BUCKET]
    assert found.lift == [urn("db"), urn("pool")]
    assert found.unprotect == [urn("db")]
    assert found.snapshot == "eeyore-postgres-final-abc"
    assert found.keep == {}


def test_what_is_kept_is_neither_counted_nor_unprotected_and_can_be_adopted() -> None:
    found = plan(stack(), Options(keep_users=True, keep_zone=True), SETTINGS)
    assert "cognito UserPool" not in found.goes
    assert "route53 Zone" not in found.goes
    assert found.keep == {"amianai-infra:authUserPoolId": "us-east-1_A", "amianai-infra:dnsZoneId": "Z1"}
    assert found.kept_urns == [urn("pool"), urn("zone")]
    assert found.lift == [urn("db")]
    assert any("us-east-1_A" in line for line in found.stays)


AUDIT = f"urn:pulumi:prod::amianai-infra::{destroy.AUDIT_TYPE}::audit-log"
LOG_GROUP = "aws:cloudwatch/logGroup:LogGroup"


def audited() -> list[StateResource]:
    other = resource(f"urn:pulumi:prod::amianai-infra::amianai:network:Network${LOG_GROUP}::flow", LOG_GROUP, "/eeyore/vpc/flow-logs")
    return [*stack(), other, resource(AUDIT, LOG_GROUP, "/eeyore/database/audit", {"deletionProtectionEnabled": True}, protect=True)]


def test_the_record_of_what_was_done_stays_unless_it_is_asked_for() -> None:
    found = plan(audited(), Options(), SETTINGS)
    assert found.kept_urns == [AUDIT]
    assert found.keep == {"amianai-infra:auditLogGroup": "/eeyore/database/audit"}
    assert found.goes["cloudwatch LogGroup"] == 1, "the other log groups go"
    assert AUDIT not in (*found.lift, *found.unprotect)
    assert found.drop == {}
    assert any("/eeyore/database/audit" in line for line in found.stays)

    found = plan(audited(), Options(delete_audit=True), SETTINGS)
    assert found.kept_urns == []
    assert found.goes["cloudwatch LogGroup"] == 2
    assert AUDIT in found.lift
    assert AUDIT in found.unprotect
    assert found.drop == {"amianai-infra:auditLogGroup": ""}
    assert plan(stack(), Options(delete_audit=True), SETTINGS).drop == {}, "one that an earlier destroy left is still adopted"


def test_what_was_adopted_is_never_deleted() -> None:
    adopted = [resource(urn("zone"), change.ZONE_TYPE, "Z1", external=True)]
    settings = Settings.model_validate({"domain_name": "example.com", "dns": {"zone_id": "Z1"}})
    found = plan(adopted, Options(), settings)
    assert found.goes == {}
    assert found.lift == []
    assert any("hosted zone Z1, which was adopted" in line for line in found.stays)


def test_an_adopted_pool_is_managed_but_never_deleted() -> None:
    """It is imported, so the state has it as if it were ours."""
    settings = Settings.model_validate({"domain_name": "example.com", "auth": {"user_pool_id": "us-east-1_A"}})
    found = plan(stack(), Options(), settings)
    assert "cognito UserPool" not in found.goes
    assert found.kept_urns == [urn("pool")]
    assert found.lift == [urn("db")]
    assert any("user pool us-east-1_A, which was adopted" in line for line in found.stays)


def test_a_database_that_leaves_no_snapshot_says_none() -> None:
    resources = [resource(urn("db"), destroy.INSTANCE_TYPE, "db-1", {"skipFinalSnapshot": True})]
    assert plan(resources, Options(), SETTINGS).snapshot == ""


def test_the_screen_names_what_goes_and_what_stays() -> None:
    text = "\n".join(destroy.screen(plan(stack(), Options(delete_state=True), SETTINGS)))
    before, _, after = text.partition("What stays:")
    assert "ec2: 2 Subnet, 1 Vpc" in before
    assert BUCKET in before
    assert "bucket and key" in before
    assert "eeyore-postgres-final-abc" in after


class Rds:
    """Knows the snapshots that exist."""

    def __init__(self, *snapshots: str) -> None:
        self.snapshots = snapshots

    def describe_db_snapshots(self, *, DBSnapshotIdentifier: str) -> dict[str, Any]:
        from botocore.exceptions import ClientError

        if DBSnapshotIdentifier in self.snapshots:
            return {"DBSnapshots": [{}]}
        raise ClientError({"Error": {"Code": "DBSnapshotNotFound", "Message": ""}}, "DescribeDBSnapshots")


@pytest.fixture
def context(tmp_path: Path) -> Any:
    with mock_aws():
        s3 = boto3.client("s3", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
        s3.create_bucket(Bucket=BUCKET)
        made = Context(tmp_path)
        made.target.clients |= {"s3": s3, "rds": Rds()}
        made.state = stack()
        change.configure(made, made.engine())
        made.log.clear()
        made.answers["destroy"] = summary("destroy", {"delete": 7})
        yield made


def run(context: Context, options: Options | None = None) -> destroy.Result:
    options = options or Options()
    engine, found = destroy.prepare(context, options)
    return destroy.execute(context, engine, found, options)


@pytest.mark.parametrize("there", [True, False])
def test_the_domain_is_the_one_the_state_belongs_to(context: Context, there: bool) -> None:
    context.there = there
    context.state[:] = [resource(urn("zone"), change.ZONE_TYPE, "Z1", {"name": "example.com"})] if there else []
    _, found = destroy.prepare(context, Options())
    assert found.domain == "example.com"
    assert "stack of example.com" in destroy.screen(found)[0]


def test_the_stack_of_another_domain_is_not_destroyed(context: Context) -> None:
    """DOMAIN_NAME of one project, in the account and under the prefix of another one."""
    context.state.append(resource(urn("other"), change.ZONE_TYPE, "Z2", {"name": "other.example"}))
    with pytest.raises(RefusedError, match=r"built for other\.example, and the settings say example\.com") as caught:
        destroy.prepare(context, Options())
    assert caught.value.exit_code == 3
    assert "DOMAIN_NAME=other.example" in caught.value.fix
    assert context.log == [], "not even recovered"


def test_protection_is_lifted_by_an_update_whose_configuration_nobody_keeps(context: Context) -> None:
    run(context)
    assert names(context.log) == ["recover", "configure", "up", "configure", "unprotect", "destroy", "configure"]
    _, targets, configuration = context.did("up")[0]
    assert targets == [urn("db"), urn("pool")]
    assert configuration["amianai-infra:databaseDeletionProtection"] == "false"
    assert configuration["amianai-infra:authDeletionProtection"] == "false"
    kept = context.engine().configuration()
    assert "amianai-infra:databaseDeletionProtection" not in kept
    assert "amianai-infra:authDeletionProtection" not in kept


def test_the_next_stack_gets_another_snapshot_name(context: Context) -> None:
    before = context.engine().configuration()[change.SUFFIX]
    run(context)
    assert context.engine().configuration()[change.SUFFIX] != before


def test_a_snapshot_of_that_name_from_an_earlier_attempt_gets_out_of_the_way(context: Context) -> None:
    context.target.clients["rds"] = Rds("eeyore-postgres-final-abc")
    before = context.engine().configuration()[change.SUFFIX]
    result = run(context)
    drawn = context.did("up")[0][2][change.SUFFIX]
    assert drawn != before
    assert result.plan.snapshot == f"eeyore-postgres-final-{drawn}"


def test_what_is_kept_is_recorded_and_then_forgotten_after_the_last_update(context: Context) -> None:
    """An update after the recording would import the pool again, and `destroy` would then delete it."""
    run(context, Options(keep_users=True, keep_zone=True))
    assert names(context.log) == ["recover", "configure", "up", "configure", "forget", "unprotect", "destroy", "configure"]
    assert "amianai-infra:authUserPoolId" not in context.did("up")[0][2]
    assert context.did("forget") == [("forget", [urn("pool"), urn("zone")])]
    kept = context.engine().configuration()
    assert kept["amianai-infra:authUserPoolId"] == "us-east-1_A"
    assert kept["amianai-infra:dnsZoneId"] == "Z1"


def test_protection_of_what_is_kept_is_not_lifted(context: Context) -> None:
    run(context, Options(keep_users=True))
    _, targets, configuration = context.did("up")[0]
    assert targets == [urn("db")]
    assert "amianai-infra:authDeletionProtection" not in configuration


def test_the_audit_log_group_is_lifted_and_no_longer_adopted(context: Context) -> None:
    context.state[:] = audited()
    run(context, Options(delete_audit=True))
    _, targets, configuration = context.did("up")[0]
    assert AUDIT in targets
    assert configuration["amianai-infra:auditDeletionProtection"] == "false"
    assert context.engine().configuration()["amianai-infra:auditLogGroup"] == ""


def test_nothing_is_deleted_while_something_that_is_kept_is_still_in_the_state(context: Context) -> None:
    engine, found = destroy.prepare(context, Options(keep_users=True))
    engine.forget = lambda urns: None  # type: ignore[method-assign]
    with pytest.raises(RefusedError):
        destroy.execute(context, engine, found, Options(keep_users=True))
    assert context.did("destroy") == []


def test_a_bucket_that_fills_again_is_emptied_again(context: Context) -> None:
    s3 = context.target.clients["s3"]
    s3.put_object(Bucket=BUCKET, Key="a", Body=b"1")
    full = EngineError("deleting the bucket", where="BucketNotEmpty: the bucket you tried to delete is not empty")
    context.answers["destroy"] = [full, summary("destroy", {"delete": 7})]
    result = run(context)
    assert result.counts["delete"] == 7
    assert len(context.did("destroy")) == 2
    assert "Versions" not in s3.list_object_versions(Bucket=BUCKET)


def test_another_failure_is_not_repeated(context: Context) -> None:
    context.answers["destroy"] = EngineError("no")
    with pytest.raises(EngineError):
        run(context)
    assert len(context.did("destroy")) == 1


def test_a_bucket_that_is_gone_already_is_no_problem(context: Context) -> None:
    context.target.clients["s3"].delete_bucket(Bucket=BUCKET)
    run(context)


def test_what_was_changed_while_the_domain_was_typed_is_planned_anew(context: Context) -> None:
    engine, found = destroy.prepare(context, Options())
    context.state.pop()
    with pytest.raises(RefusedError, match="Somebody changed the stack after this was planned; nothing was changed"):
        destroy.execute(context, engine, found, Options())
    assert names(context.log) == ["recover"]


def test_there_may_be_nothing_to_destroy(context: Context) -> None:
    context.there = False
    _engine, found = destroy.prepare(context, Options())
    assert found.goes == {}
    assert names(context.log) == []


@pytest.mark.parametrize(
    ("options", "zone_id", "stays"), [(Options(), "", False), (Options(keep_zone=True), "", True), (Options(), "Z1", True)]
)
def test_carried_records_stay_as_long_as_the_zone(options: Options, zone_id: str, stays: bool) -> None:
    mail = resource(
        f"{CARRIED_URNS}example.com-mx", "aws:route53/record:Record", "Z1_example.com_MX", {"name": "example.com", "type": "MX"}
    )
    settings = Settings.model_validate({"domain_name": "example.com", "dns": {"zone_id": zone_id}})
    found = plan([*stack(), mail], options, settings)
    assert (mail.urn in found.kept_urns) is stays
    assert any("example.com MX" in line for line in found.stays) is stays
    assert set(found.keep) <= {"amianai-infra:dnsZoneId"}
