"""The whole program: what is wired to what, what is tagged, what is published."""

from __future__ import annotations

import contextvars
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pulumi
import pytest

from amianai_infra import stack
from amianai_infra.config import Settings, load_settings, to_pulumi
from amianai_infra.errors import ConfigurationError
from amianai_infra.naming import TAG_STACK, TAG_URN
from amianai_infra.outputs import StackOutputs
from tests.components.recorder import ACCOUNT, Record, Recording, record_program

ROOT = Path(__file__).parents[2]


def config(**flags: str) -> dict[str, str]:
    settings = load_settings({"domain_name": "example.com", **{name.replace("__", "."): text for name, text in flags.items()}}, {}, {})
    return {**to_pulumi(settings), "aws:region": settings.region}


def run(record: Record, values: Mapping[str, Any]) -> Recording:
    def build() -> None:
        pulumi.runtime.set_all_config(dict(values))
        stack.program()

    return record(build)


EVERYTHING = {
    "github_username": "someone",
    "delivery__repository": "shop",
    "network__nat": "per-az",
    "database__proxy": "true",
    "database__managed_password": "false",
    "database__replicas": "1",
    "database__backup_region": "us-west-2",
    "access__alarm_email": "ops@example.com",
    "dns__dnssec": "true",
    "dns__query_logging": "true",
    "site__bucket_logging": "true",
}
"""Every option that adds resources."""

BOUNDARY = f"arn:aws:iam::{ACCOUNT}:policy/eeyore-boundary"


@pytest.fixture(scope="module")
def everything() -> Recording:
    """The stack with every option: recorded once."""
    values = config(**EVERYTHING, iam__permissions_boundary=BOUNDARY)
    return run(lambda build: contextvars.Context().run(record_program, build), values)


@pytest.fixture(scope="module")
def default() -> Recording:
    """The stack as it is when nothing is chosen but the domain: recorded once."""
    return run(lambda build: contextvars.Context().run(record_program, build), config())


def test_another_prefix_has_no_name_in_common(record: Record) -> None:
    other = run(record, config(prefix="tigger"))
    assert other.one("Instance").inputs["identifier"] == "tigger-postgres"
    assert not [one.name for one in other.resources if "eeyore" in str(one.inputs)]


def test_the_default_stack(default: Recording) -> None:
    found = default
    counts = found.counts()
    assert sum(counts.values()) == 82
    assert {kind: counts[kind] for kind in ("Vpc", "Subnet", "Instance", "UserPool", "Bucket", "Distribution", "Zone", "Certificate")} == {
        "Vpc": 1,
        "Subnet": 4,
        "Instance": 1,
        "UserPool": 1,
        "Bucket": 2,
        "Distribution": 1,
        "Zone": 1,
        "Certificate": 1,
    }
    assert "NatGateway" not in counts
    assert not [one for one in found.resources if one.type.startswith("pulumi:providers")], "one default provider"
    assert {one.name for one in found.resources if one.type.startswith("amianai:")} == {
        "network",
        "database",
        "audit",
        "access",
        "auth",
        "dns",
        "site",
        "records",
    }


def test_names_carry_the_prefix(record: Record) -> None:
    found = run(record, config(prefix="tigger", database__identifier="tigger-postgres"))
    parents = ("Route", "Record", "Zone", "RolePolicy")
    for one in found.resources:
        for name in ("name", "bucket", "identifier"):
            value = one.inputs.get(name)
            if isinstance(value, str) and one.type.startswith("aws:") and one.type.rpartition(":")[2] not in parents:
                assert "tigger" in value or value.endswith("-id"), (one.name, value)
            assert "eeyore" not in json.dumps(one.inputs)


def test_everything_that_takes_tags_is_tagged_with_its_own_urn(record: Record) -> None:
    found = run(record, config(tags="Team=web", github_username="someone", delivery__repository="shop"))
    untagged = {
        *("Route", "RouteTableAssociation", "RolePolicy", "RolePolicyAttachment", "UserPoolClient", "UserPoolDomain", "Record"),
        *("BucketVersioning", "BucketPublicAccessBlock", "BucketOwnershipControls", "BucketServerSideEncryptionConfiguration"),
        *("BucketLifecycleConfiguration", "BucketPolicy", "OriginAccessControl", "ResponseHeadersPolicy", "CertificateValidation"),
    }
    tagged = [one for one in found.resources if one.type.startswith("aws:") and one.type.rpartition(":")[2] not in untagged]
    assert len(tagged) > 30
    for one in tagged:
        tags = one.inputs["tags"]
        assert tags["Team"] == "web"
        assert tags["ManagedBy"] == "pulumi"
        assert tags[TAG_STACK] == "amianai-infra/prod"
        assert tags[TAG_URN].startswith("urn:pulumi:prod::amianai-infra::amianai:") or one.name == "outputs"
        assert tags[TAG_URN].endswith(f"{one.type}::{one.name}")
    assert len({one.inputs["tags"][TAG_URN] for one in tagged}) == len(tagged)


def test_the_zone_has_the_urn_that_setup_targets(default: Recording) -> None:
    found = default
    assert found.one("Zone").inputs["tags"][TAG_URN] == stack.ZONE_URN.replace("$", "@")
    assert f"{stack.DNS_URN}".endswith("amianai:dns:Dns::dns")
    assert stack.ZONE_TARGETS[:2] == (stack.DNS_URN, stack.ZONE_URN)


def test_the_distribution_waits_for_the_certificate_and_the_records_for_the_distribution(default: Recording) -> None:
    found = default
    issued = found.one("CertificateValidation").inputs["certificateArn"]
    assert found.one("Distribution").inputs["viewerCertificate"]["acmCertificateArn"] == issued
    order = [one.name for one in found.resources]
    assert order.index("dns-certificate-issued") < order.index("site-cdn") < order.index("records-example.com-a")
    assert found.one("Record", "records-example.com-a").inputs["aliases"][0]["name"] == "d1.cloudfront.net"


def test_the_database_is_reached_from_private_subnets_alone(record: Record) -> None:
    found = run(record, config(network__availability_zones="3", network__cidr="10.7.0.0/16"))
    private = {one.inputs["cidrBlock"] for one in found.of("Subnet") if "private" in one.name}
    rules = [one.inputs for one in found.of("SecurityGroupIngressRule")]
    assert {rule["cidrIpv4"] for rule in rules if "cidrIpv4" in rule} == private
    assert [rule["referencedSecurityGroupId"] for rule in rules if "cidrIpv4" not in rule] == ["access-bastion-sg-id"]
    assert len(private) == 3
    assert found.one("SubnetGroup").inputs["subnetIds"] == [f"network-private-{i}-id" for i in (1, 2, 3)]


def test_published_outputs(default: Recording) -> None:
    found = default
    parameter = found.one("Parameter").inputs
    assert (parameter["name"], parameter["type"]) == ("/eeyore/stack", "String")
    outputs = StackOutputs.model_validate_json(parameter["value"])
    assert (outputs.domain, outputs.account, outputs.region, outputs.prefix) == ("example.com", ACCOUNT, "us-east-1", "eeyore")
    assert outputs.site.bucket == "eeyore-site-example-com"
    policy = found.one("ResponseHeadersPolicy").inputs["securityHeadersConfig"]["contentSecurityPolicy"]["contentSecurityPolicy"]
    assert outputs.site.answered["content-security-policy"] == policy
    assert outputs.site.answered["strict-transport-security"] == "max-age=31536000"
    assert outputs.site.page_policies == 1
    assert outputs.database.secret_arn.startswith("arn:aws:secretsmanager:")
    assert outputs.network.private_route_table_ids == ["network-private-rt-1-id", "network-private-rt-2-id"]
    assert outputs.deploy_role_arn == ""
    assert len(parameter["value"]) < 4096, "what a standard parameter holds"
    assert {one.pulumi_resource_name for one in found.options["outputs"]["depends_on"]} == {
        "site",
        "database",
        "auth",
        "audit",
        "access",
    }
    for host in ("example.com", "www.example.com"):
        for kind in ("a", "aaaa"):
            options = found.options[f"records-{host}-{kind}"]["depends_on"]
            assert [one.pulumi_resource_name for one in options] == ["outputs"], "addresses come last, together"


def test_delivery_needs_owner_and_repository(record: Record) -> None:
    for flags in ({}, {"github_username": "someone"}, {"delivery__repository": "shop"}):
        assert "delivery" not in {one.name for one in run(record, config(**flags)).resources}
    found = run(record, config(github_username="someone", delivery__repository="shop"))
    trust = found.one("Role", "delivery-role").inputs["assumeRolePolicy"]
    assert "repo:someone/shop:ref:refs/heads/main" in trust
    policy = found.one("RolePolicy", "delivery-policy").inputs["policy"]
    assert f"arn:aws:ssm:us-east-1:{ACCOUNT}:parameter/eeyore/stack" in policy
    assert StackOutputs.model_validate_json(found.one("Parameter").inputs["value"]).deploy_role_arn.endswith("role/eeyore-deploy")


def test_the_csp_lets_pages_reach_sign_in_and_what_the_settings_name(record: Record) -> None:
    found = run(record, config(region="eu-west-1", site__connect_src="https://api.example.com"))
    policy = found.one("ResponseHeadersPolicy").inputs["securityHeadersConfig"]["contentSecurityPolicy"]["contentSecurityPolicy"]
    connect = next(part for part in policy.split("; ") if part.startswith("connect-src"))
    assert connect.split() == [
        "connect-src",
        "'self'",
        "https://cognito-idp.eu-west-1.amazonaws.com",
        "https://eeyore-example-com.auth.eu-west-1.amazoncognito.com",
        "https://api.example.com",
    ]


def test_adoption(record: Record) -> None:
    found = run(record, config(dns__zone_id="ZOLD", auth__user_pool_id="us-east-1_AbC"))
    assert not found.of("Zone")
    assert {one.inputs["zoneId"] for one in found.of("Record")} == {"ZOLD"}
    assert found.options["auth-pool"]["import_"] == "us-east-1_AbC"


def test_every_database_setting_reaches_the_instance(record: Record) -> None:
    flags = {
        "instance_class": "db.m6g.large",
        "storage_gib": "50",
        "multi_az": "true",
        "backup_days": "14",
        "name": "shop",
        "username": "boss",
    }
    instance = run(record, config(**{f"database__{name}": text for name, text in flags.items()})).one("Instance").inputs
    assert instance["instanceClass"] == "db.m6g.large"
    assert instance["allocatedStorage"] == 50
    assert instance["multiAz"] is True
    assert instance["backupRetentionPeriod"] == 14
    assert (instance["dbName"], instance["username"]) == ("shop", "boss")


def test_a_bad_value_in_the_stack_file_fails_before_anything_is_registered(record: Record) -> None:
    with pytest.raises(ConfigurationError, match=r"network.cidr"):
        run(record, {**config(), "amianai-infra:networkCidr": "10.0.0.0/30"})
    with pytest.raises(ConfigurationError, match="unknown key"):
        run(record, {**config(), "amianai-infra:networkCird": "10.0.0.0/16"})


def test_the_provider_must_work_in_the_stacks_region(record: Record) -> None:
    with pytest.raises(ConfigurationError, match="us-west-2"):
        run(record, {**config(), "aws:region": "us-west-2"})


def test_configuration_survives_the_engine(record: Record) -> None:
    """What setup writes is what the program reads."""
    settings = load_settings({"domain_name": "example.com", "auth.callback_urls": "http://localhost:4000/,http://localhost:5000/"}, {}, {})
    seen: list[Settings] = []

    def build() -> None:
        pulumi.runtime.set_all_config(to_pulumi(settings))
        seen.append(stack.read_settings())

    record(build)
    assert seen == [settings]


def test_a_proxy_where_one_is_asked_for(record: Record, default: Recording) -> None:
    assert not default.of("Proxy")
    assert StackOutputs.model_validate_json(default.one("Parameter").inputs["value"]).database.proxy_host == ""
    found = run(record, config(database__proxy="true", database__port="5544"))
    assert StackOutputs.model_validate_json(found.one("Parameter").inputs["value"]).database.proxy_host == "proxy.example.internal"
    proxy = found.one("Proxy").inputs
    assert {auth["secretArn"].rpartition("/")[2] for auth in proxy["auths"]} == {"application", "readonly"}
    assert len(proxy["vpcSubnetIds"]) >= 2
    assert {one.inputs["toPort"] for one in found.of("SecurityGroupEgressRule") if one.name.startswith("proxy-")} == {5544}


def test_sign_in_follows_the_settings(record: Record, default: Recording) -> None:
    assert (
        StackOutputs.model_validate_json(default.one("Parameter").inputs["value"]).auth.development_client_id
        == "auth-development-client-id"
    )
    assert not default.of("WebAcl")
    flags = {
        "auth__development_urls": "[]",
        "auth__callback_urls": "app://home",
        "auth__profile_attributes": "name",
        "auth__self_sign_up": "false",
        "auth__request_limit": "25",
    }
    found = run(record, config(**flags))
    client = found.one("UserPoolClient").inputs
    assert client["callbackUrls"] == ["app://home", "https://example.com/"]
    assert client["writeAttributes"] == ["email", "name"]
    assert found.one("UserPool").inputs["adminCreateUserConfig"] == {"allowAdminCreateUserOnly": True}
    assert found.one("WebAcl").inputs["rules"][0]["statement"]["rateBasedStatement"]["limit"] == 25
    assert StackOutputs.model_validate_json(found.one("Parameter").inputs["value"]).auth.development_client_id == ""


def test_every_role_has_the_boundary(everything: Recording, default: Recording) -> None:
    roles = everything.of("Role")
    assert {one.name for one in roles} == {
        *("network-flow-logs-role", "database-monitoring-role", "database-master-role", "proxy-role"),
        *("access-closer", "access-bastion-role", "delivery-role"),
    }, "a new role belongs into this list, and its rights into the boundary of docs/aws.md"
    assert {one.inputs["permissionsBoundary"] for one in roles} == {BOUNDARY}
    others = [one for one in everything.resources if "permissionsBoundary" in one.inputs and one not in roles]
    assert others == []
    assert not any("permissionsBoundary" in one.inputs for one in default.of("Role"))


def test_nothing_else_makes_roles() -> None:
    """The boundary is put on what the program declares: a role that a command made would not have it."""
    sources = [path for path in (ROOT / "amianai_infra").rglob("*.py") if "sandbox" not in path.parts]
    assert len(sources) > 50
    assert [path.name for path in sources if ".create_role(" in path.read_text(encoding="utf-8")] == []


def test_every_secret_is_closed_to_other_accounts(everything: Recording) -> None:
    secrets = everything.of("Secret")
    assert len(secrets) == 3
    for secret in secrets:
        outside, plain = secret.json("policy")["Statement"]
        assert outside["Effect"] == plain["Effect"] == "Deny"
        assert outside["Condition"] == {"StringNotEquals": {"aws:PrincipalAccount": ACCOUNT}}
        assert plain["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_the_ds_record_is_published(everything: Recording, default: Recording) -> None:
    def published(found: Recording) -> str:
        return StackOutputs.model_validate_json(found.one("Parameter").inputs["value"]).dns.ds_record

    assert published(everything) == "12345 13 2 ABCDEF"
    assert published(default) == ""


def test_the_boundary_of_the_docs_allows_what_the_roles_do(everything: Recording) -> None:
    text = (ROOT / "docs" / "aws.md").read_text(encoding="utf-8")
    (document,) = [json.loads(part.partition("```")[0]) for part in text.split("```json") if "EeyoreBoundary" in part]
    (allowed,) = document["Statement"]
    needed = {
        action
        for policy in everything.of("RolePolicy")
        for statement in policy.json("policy")["Statement"]
        for action in ([statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"])
    }
    assert needed <= set(allowed["Action"])
    # AmazonRDSEnhancedMonitoringRole, as AWS publishes it.
    monitoring = {"CreateLogGroup", "PutRetentionPolicy", "CreateLogStream", "PutLogEvents", "DescribeLogStreams", "GetLogEvents"}
    assert set(allowed["Action"]) == needed | {f"logs:{name}" for name in monitoring}, "a boundary as narrow as that"
    assert not any(action.startswith(("iam:", "sts:", "organizations:")) or "*" in action for action in allowed["Action"])
