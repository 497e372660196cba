"""RDS Proxy."""

from __future__ import annotations

from amianai_infra.components.database_proxy import DatabaseProxy, DatabaseProxyArgs
from tests.components.recorder import ACCOUNT, Record

SECRETS = [
    f"arn:aws:secretsmanager:us-east-1:{ACCOUNT}:secret:eeyore/database/eeyore-postgres/{role}" for role in ("application", "readonly")
]
ARGS: DatabaseProxyArgs = {
    "prefix": "eeyore",
    "account": ACCOUNT,
    "identifier": "eeyore-postgres",
    "resource_id": "db-ABC",
    "vpc_id": "vpc-1",
    "subnet_ids": ["subnet-a", "subnet-b"],
    "client_cidrs": ["10.0.10.0/24", "10.0.11.0/24"],
    "secret_arns": [*SECRETS],
}


def test_what_it_makes(record: Record) -> None:
    found = record(lambda: DatabaseProxy("proxy", ARGS))
    assert found.counts() == {
        "SecurityGroup": 1,
        "SecurityGroupIngressRule": 2,
        "SecurityGroupEgressRule": 2,
        "Role": 1,
        "RolePolicy": 1,
        "Proxy": 1,
        "ProxyDefaultTargetGroup": 1,
        "ProxyTarget": 1,
    }
    proxy = found.one("Proxy").inputs
    assert (proxy["requireTls"], proxy["engineFamily"], proxy["name"]) == (True, "POSTGRESQL", "eeyore-postgres")
    assert [auth["secretArn"] for auth in proxy["auths"]] == SECRETS, "the roles of the application, not the master user"
    assert {auth["clientPasswordAuthType"] for auth in proxy["auths"]} == {"POSTGRES_SCRAM_SHA_256"}
    target = found.one("ProxyTarget").inputs
    assert (target["dbInstanceIdentifier"], target["targetGroupName"]) == ("eeyore-postgres", "default")
    assert found.options["proxy-target"]["replacement_trigger"] is not None, "a restored instance has the same name"


def test_the_role_reads_two_secrets_and_trusts_rds_alone(record: Record) -> None:
    found = record(lambda: DatabaseProxy("proxy", ARGS))
    (statement,) = found.one("RolePolicy").json("policy")["Statement"]
    assert statement["Resource"] == SECRETS
    assert statement["Action"] == ["secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue"]
    (trust,) = found.one("Role").json("assumeRolePolicy")["Statement"]
    assert trust["Principal"] == {"Service": "rds.amazonaws.com"}
    assert trust["Condition"] == {"StringEquals": {"aws:SourceAccount": ACCOUNT}}
    assert found.one("Role").inputs["name"] == "eeyore-postgres-proxy"


def test_only_the_private_subnets(record: Record) -> None:
    found = record(lambda: DatabaseProxy("proxy", {**ARGS, "port": 5544}))
    for kind, port in (("SecurityGroupIngressRule", 5432), ("SecurityGroupEgressRule", 5544)):
        rules = [one.inputs for one in found.of(kind)]
        assert {rule["cidrIpv4"] for rule in rules} == {"10.0.10.0/24", "10.0.11.0/24"}
        assert {(rule["fromPort"], rule["toPort"]) for rule in rules} == {(port, port)}
