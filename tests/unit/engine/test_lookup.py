"""Interrupted resources are found in AWS (moto) by tag or by name, and nobody else's are taken."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any
from unittest.mock import Mock

import boto3
import pulumi
import pytest
from moto import mock_aws

from amianai_infra.engine.lookup import FINDERS, UNKNOWN, Interrupted, Lookup, is_asked_for, removal, tags_of
from amianai_infra.errors import ForbiddenError
from amianai_infra.naming import TAG_STACK, TAG_URN, urn_tag
from amianai_infra.sandbox.provider.registry import resources

REGION = "us-east-1"
TRUST = json.dumps({"Version": "2012-10-17", "Statement": []})


@cache
def client(service: str, region: str | None = None) -> Any:
    """One client a service: making one costs far more than a call to moto."""
    return boto3.client(service, region_name=region or REGION, aws_access_key_id="x", aws_secret_access_key="y")  # type: ignore[call-overload]


@pytest.fixture(autouse=True)
def _aws() -> Iterator[None]:
    with mock_aws():
        yield


def interrupted(kind: str, known: frozenset[str] = frozenset(), /, **inputs: Any) -> Interrupted:
    return Interrupted(f"urn:pulumi:prod::amianai-infra::amianai:x:X${kind}::{kind.rpartition(':')[2]}", kind, inputs, known)


def tags(resource: Interrupted) -> dict[str, str]:
    return {TAG_STACK: "amianai-infra/prod", TAG_URN: urn_tag(resource.urn)}


def listed(resource: Interrupted) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags(resource).items()]


def find(resource: Interrupted, region: str = REGION) -> list[str]:
    return Lookup(client, region).find(resource)


def test_a_second_resource_of_one_urn_is_named_with_the_command_that_removes_it() -> None:
    assert (
        removal(interrupted("aws:ec2/eip:Eip"), "eipalloc-1@eu-west-1")
        == "aws ec2 release-address --allocation-id eipalloc-1 --region eu-west-1"
    )
    assert removal(interrupted("aws:cognito/userPoolClient:UserPoolClient"), "p/c") == "delete it"


def test_every_type_of_the_stack_can_be_looked_up() -> None:
    # The sandbox runs the whole stack, so its provider has every type that the stack may use.
    assert set(FINDERS) >= set(resources())


@pytest.mark.parametrize(
    ("kind", "inputs", "identifier"),
    [
        ("aws:ec2/routeTableAssociation:RouteTableAssociation", {"subnetId": "subnet-1", "routeTableId": "rtb-1"}, "subnet-1/rtb-1"),
        ("aws:iam/rolePolicy:RolePolicy", {"role": "r", "name": "p"}, "r:p"),
        ("aws:iam/rolePolicyAttachment:RolePolicyAttachment", {"role": "r", "policyArn": "arn:p"}, "r/arn:p"),
        ("aws:s3/bucketPolicy:BucketPolicy", {"bucket": "b"}, "b"),
        ("aws:s3/bucketLogging:BucketLogging", {"bucket": "b"}, "b"),
        ("aws:route53/keySigningKey:KeySigningKey", {"hostedZoneId": "Z1", "name": "ksk"}, "Z1,ksk"),
        ("aws:route53/hostedZoneDnsSec:HostedZoneDnsSec", {"hostedZoneId": "Z1"}, "Z1"),
        ("aws:cloudwatch/logResourcePolicy:LogResourcePolicy", {"policyName": "p"}, "p"),
        ("aws:cloudfront/function:Function", {"name": "f"}, "f"),
        ("aws:cloudfront/keyValueStore:KeyValueStore", {"name": "s"}, "s"),
        ("aws:secretsmanager/secretRotation:SecretRotation", {"secretId": "arn:secret"}, "arn:secret"),
        ("aws:lambda/permission:Permission", {"function": "f", "statementId": "s"}, "f/s"),
        ("aws:rds/proxyDefaultTargetGroup:ProxyDefaultTargetGroup", {"dbProxyName": "p"}, "p"),
        (
            "aws:rds/proxyTarget:ProxyTarget",
            {"dbProxyName": "p", "targetGroupName": "default", "dbInstanceIdentifier": "i"},
            "p/default/RDS_INSTANCE/i",
        ),
        ("aws:wafv2/webAclAssociation:WebAclAssociation", {"webAclArn": "arn:acl", "resourceArn": "arn:pool"}, "arn:acl,arn:pool"),
        ("aws:route53/record:Record", {"zoneId": "Z1", "name": "www.example.com.", "type": "A"}, "Z1_www.example.com_A"),
        ("aws:route53/record:Record", {"zoneId": "Z1", "name": "a", "type": "A", "setIdentifier": "s"}, "Z1_a_A_s"),
    ],
)
def test_identifiers_that_the_inputs_fix(kind: str, inputs: dict[str, str], identifier: str) -> None:
    assert find(interrupted(kind, **inputs)) == [identifier]


@pytest.mark.parametrize(
    "kind", ["aws:ec2/route:Route", "aws:ec2/routeTableAssociation:RouteTableAssociation", "aws:route53/record:Record"]
)
def test_inputs_that_are_not_known_yet_find_nothing(kind: str) -> None:
    assert find(interrupted(kind)) == []


@pytest.mark.parametrize(
    "kind", ["aws:acm/certificateValidation:CertificateValidation", "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup"]
)
def test_what_only_adopts_or_waits_is_done_again(kind: str) -> None:
    assert find(interrupted(kind)) == []


def test_ec2_is_found_by_its_tag_alone() -> None:
    ec2 = client("ec2")
    vpc = interrupted("aws:ec2/vpc:Vpc")
    made = ec2.create_vpc(CidrBlock="10.0.0.0/16", TagSpecifications=[{"ResourceType": "vpc", "Tags": listed(vpc)}])["Vpc"]["VpcId"]
    ec2.create_vpc(CidrBlock="10.0.0.0/16")
    assert find(vpc) == [made]
    assert find(interrupted("aws:ec2/subnet:Subnet")) == []
    assert find(interrupted("aws:ec2/vpc:Vpc", frozenset({made}))) == [], "that one is being replaced"


def test_a_route_is_found_by_its_table_and_destination() -> None:
    ec2 = client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    table = ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]
    gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
    route = interrupted("aws:ec2/route:Route", routeTableId=table, destinationCidrBlock="0.0.0.0/0")
    assert is_asked_for(route.type)
    assert find(route) == []
    ec2.create_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway)
    ec2.create_route(RouteTableId=table, DestinationIpv6CidrBlock="::/0", GatewayId=gateway)
    assert find(route) == [f"{table}_0.0.0.0/0"]
    assert find(interrupted("aws:ec2/route:Route", routeTableId=table, destinationIpv6CidrBlock="::/0")) == [f"{table}_::/0"]
    assert find(interrupted("aws:ec2/route:Route", routeTableId=table, destinationCidrBlock="10.0.0.0/16")) == [], "the network's own"
    assert find(interrupted("aws:ec2/route:Route", routeTableId="rtb-0", destinationCidrBlock="0.0.0.0/0")) == []


def test_a_stack_of_another_prefix_has_the_same_urns_and_other_names() -> None:
    ec2, kms = client("ec2"), client("kms")
    ours, other = (interrupted("aws:ec2/vpc:Vpc", tags={"Name": f"{prefix}-vpc"}) for prefix in ("eeyore", "tigger"))
    made = {}
    for one in (ours, other):
        carried = [*listed(one), {"Key": "Name", "Value": one.tags["Name"]}]
        made[one.tags["Name"]] = ec2.create_vpc(CidrBlock="10.0.0.0/16", TagSpecifications=[{"ResourceType": "vpc", "Tags": carried}])[
            "Vpc"
        ]
    assert find(ours) == [made["eeyore-vpc"]["VpcId"]]
    assert find(other) == [made["tigger-vpc"]["VpcId"]]

    key, foreign = (interrupted("aws:kms/key:Key", tags={"Name": f"{prefix}-backups"}) for prefix in ("eeyore", "tigger"))
    pairs = [{"TagKey": name, "TagValue": value} for name, value in {**tags(foreign), "Name": "tigger-backups"}.items()]
    created = kms.create_key(Tags=pairs)["KeyMetadata"]["KeyId"]
    assert find(foreign) == [created]
    assert find(key) == []


def test_a_resource_elsewhere_is_looked_for_there_and_imported_from_there() -> None:
    vpc = interrupted("aws:ec2/vpc:Vpc", region="eu-west-1")
    made = client("ec2", "eu-west-1").create_vpc(CidrBlock="10.0.0.0/16", TagSpecifications=[{"ResourceType": "vpc", "Tags": listed(vpc)}])[
        "Vpc"
    ]["VpcId"]
    assert find(vpc) == [f"{made}@eu-west-1"]
    assert find(vpc, region="eu-west-1") == [made]


def make_role(resource: Interrupted, carried: list[dict[str, str]]) -> str:
    client("iam").create_role(RoleName="eeyore-role", AssumeRolePolicyDocument=TRUST, Tags=carried)
    return "eeyore-role"


def make_oidc(resource: Interrupted, carried: list[dict[str, str]]) -> str:
    answer = client("iam").create_open_id_connect_provider(Url="https://token.example.com", ThumbprintList=["0" * 40], Tags=carried)
    return str(answer["OpenIDConnectProviderArn"])


def make_profile(resource: Interrupted, carried: list[dict[str, str]]) -> str:
    client("iam").create_instance_profile(InstanceProfileName="eeyore-bastion", Tags=carried)
    return "eeyore-bastion"


def make_secret(resource: Interrupted, carried: list[dict[str, str]]) -> str:
    return str(client("secretsmanager").create_secret(Name="eeyore/database/readonly", Tags=carried)["ARN"])


def make_function(resource: Interrupted, carried: list[dict[str, str]]) -> str:
    trust = '{"Version": "2012-10-17", "Statement": []}'
    role = client("iam").create_role(RoleName="eeyore-rotation", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    tags = {tag["Key"]: tag["Value"] for tag in carried}
    client("lambda").create_function(
        FunctionName="eeyore-rotation", Role=role, Runtime="python3.13", Handler="x.y", Code={"ZipFile": b"x"}, Tags=tags
    )
    return "eeyore-rotation"


def make_schedule_group(resource: Interrupted, carried: list[dict[str, str]]) -> str:
    client("scheduler").create_schedule_group(Name="eeyore-access", Tags=carried)
    return "eeyore-access"


def make_queue(resource: Interrupted, carried: list[dict[str, str]]) -> str:
    return str(client("sqs").create_queue(QueueName="eeyore-failed", tags=tags_of(carried))["QueueUrl"])


def make_topic(resource: Interrupted, carried: list[dict[str, str]]) -> str:
    client("sns").create_topic(Name="another-eeyore-alarm")
    return str(client("sns").create_topic(Name="eeyore-alarm", Tags=carried)["TopicArn"])


def make_alarm(resource: Interrupted, carried: list[dict[str, str]]) -> str:
    client("cloudwatch").put_metric_alarm(
        AlarmName="eeyore-alarm", ComparisonOperator="GreaterThanThreshold", EvaluationPeriods=1, Threshold=0, Tags=carried
    )
    return "eeyore-alarm"


def make_log_group(resource: Interrupted, carried: list[dict[str, str]]) -> str:
    client("logs").create_log_group(logGroupName="/eeyore/flow", **({"tags": tags_of(carried)} if carried else {}))
    client("logs").create_log_group(logGroupName="/eeyore/flow-other", tags=tags(resource))
    return "/eeyore/flow"


def make_subnet_group(resource: Interrupted, carried: list[dict[str, str]]) -> str:
    ec2 = client("ec2")
    subnet = ec2.create_subnet(VpcId=ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"], CidrBlock="10.0.1.0/24")["Subnet"]["SubnetId"]
    client("rds").create_db_subnet_group(DBSubnetGroupName="eeyore", DBSubnetGroupDescription="d", SubnetIds=[subnet], Tags=carried)
    return "eeyore"


def make_parameter_group(resource: Interrupted, carried: list[dict[str, str]]) -> str:
    client("rds").create_db_parameter_group(
        DBParameterGroupName="eeyore", DBParameterGroupFamily="postgres16", Description="d", Tags=carried
    )
    return "eeyore"


def make_instance(resource: Interrupted, carried: list[dict[str, str]]) -> str:
    client("rds").create_db_instance(
        DBInstanceIdentifier="eeyore-postgres",
        DBInstanceClass="db.t3.micro",
        Engine="postgres",
        AllocatedStorage=20,
        MasterUsername="u",
        MasterUserPassword="p" * 12,
        Tags=carried,
    )
    return "eeyore-postgres"


def make_bucket(resource: Interrupted, carried: list[dict[str, str]]) -> str:
    client("s3").create_bucket(Bucket="eeyore-site-example-com")
    if carried:
        client("s3").put_bucket_tagging(Bucket="eeyore-site-example-com", Tagging={"TagSet": carried})
    return "eeyore-site-example-com"


def make_parameter(resource: Interrupted, carried: list[dict[str, str]]) -> str:
    client("ssm").put_parameter(Name="/eeyore/stack", Value="{}", Type="String", Tags=carried)
    return "/eeyore/stack"


NAMED: list[tuple[str, dict[str, str], Callable[[Interrupted, list[dict[str, str]]], str]]] = [
    ("aws:iam/role:Role", {"name": "eeyore-role"}, make_role),
    ("aws:iam/openIdConnectProvider:OpenIdConnectProvider", {"url": "https://token.example.com"}, make_oidc),
    ("aws:iam/instanceProfile:InstanceProfile", {"name": "eeyore-bastion"}, make_profile),
    ("aws:cloudwatch/logGroup:LogGroup", {"name": "/eeyore/flow"}, make_log_group),
    ("aws:cloudwatch/metricAlarm:MetricAlarm", {"name": "eeyore-alarm"}, make_alarm),
    ("aws:scheduler/scheduleGroup:ScheduleGroup", {"name": "eeyore-access"}, make_schedule_group),
    ("aws:sns/topic:Topic", {"name": "eeyore-alarm"}, make_topic),
    ("aws:sqs/queue:Queue", {"name": "eeyore-failed"}, make_queue),
    ("aws:secretsmanager/secret:Secret", {"name": "eeyore/database/readonly"}, make_secret),
    ("aws:lambda/function:Function", {"name": "eeyore-rotation"}, make_function),
    ("aws:rds/subnetGroup:SubnetGroup", {"name": "eeyore"}, make_subnet_group),
    ("aws:rds/parameterGroup:ParameterGroup", {"name": "eeyore"}, make_parameter_group),
    ("aws:rds/instance:Instance", {"identifier": "eeyore-postgres"}, make_instance),
    ("aws:s3/bucket:Bucket", {"bucket": "eeyore-site-example-com"}, make_bucket),
    ("aws:ssm/parameter:Parameter", {"name": "/eeyore/stack"}, make_parameter),
]


@pytest.mark.parametrize(("kind", "inputs", "make"), NAMED)
def test_a_name_that_does_not_exist(kind: str, inputs: dict[str, str], make: Any) -> None:
    assert find(interrupted(kind, **inputs)) == []


@pytest.mark.parametrize(("kind", "inputs", "make"), NAMED)
def test_a_name_that_is_ours(kind: str, inputs: dict[str, str], make: Any) -> None:
    resource = interrupted(kind, **inputs)
    assert [make(resource, listed(resource))] == find(resource)


@pytest.mark.parametrize(("kind", "inputs", "make"), NAMED)
def test_a_name_without_tags_was_killed_before_tagging(kind: str, inputs: dict[str, str], make: Any) -> None:
    resource = interrupted(kind, **inputs)
    assert [make(resource, [])] == find(resource)


@pytest.mark.parametrize(("kind", "inputs", "make"), NAMED)
def test_a_name_that_is_somebody_elses(kind: str, inputs: dict[str, str], make: Any) -> None:
    resource = interrupted(kind, **inputs)
    make(resource, [{"Key": "Team", "Value": "other"}])
    assert find(resource) == []


def test_an_instance_that_is_being_replaced_is_not_taken_for_the_new_one_of_its_name() -> None:
    kind = "aws:rds/instance:Instance"
    resource = interrupted(kind, identifier="eeyore-postgres")
    make_instance(resource, listed(resource))
    (found,) = client("rds").describe_db_instances()["DBInstances"]
    assert find(interrupted(kind, frozenset({found["DbiResourceId"]}), identifier="eeyore-postgres")) == []


def test_user_pools_are_told_apart_by_tag() -> None:
    cognito = client("cognito-idp")
    resource = interrupted("aws:cognito/userPool:UserPool", name="eeyore-user-pool")
    cognito.create_user_pool(PoolName="eeyore-user-pool")
    made = cognito.create_user_pool(PoolName="eeyore-user-pool", UserPoolTags=tags(resource))["UserPool"]["Id"]
    assert find(resource) == [made]
    answer = cognito.create_user_pool_client(UserPoolId=made, ClientName="web")["UserPoolClient"]["ClientId"]
    one = {"userPoolId": made, "name": "web"}
    assert find(interrupted("aws:cognito/userPoolClient:UserPoolClient", **one)) == [f"{made}/{answer}"]
    assert find(interrupted("aws:cognito/userPoolClient:UserPoolClient", frozenset({answer}), **one)) == []
    cognito.create_user_pool_domain(Domain="eeyore-example", UserPoolId=made)
    domain = "aws:cognito/userPoolDomain:UserPoolDomain"
    assert find(interrupted(domain, domain="eeyore-example", userPoolId=made)) == ["eeyore-example"]
    assert find(interrupted(domain, domain="eeyore-example", userPoolId="us-east-1_other")) == []
    assert find(interrupted(domain, domain="free", userPoolId=made)) == []


def test_zones_of_the_same_name_are_told_apart() -> None:
    route53 = client("route53")
    resource = interrupted("aws:route53/zone:Zone", name="example.com", comment="of this stack")

    def make(reference: str, comment: str) -> str:
        config = {"Comment": comment, "PrivateZone": False}
        answer = route53.create_hosted_zone(Name="example.com", CallerReference=reference, HostedZoneConfig=config)
        return str(answer["HostedZone"]["Id"]).rpartition("/")[2]

    make("a", "")
    make("b", "a person's own")
    assert find(resource) == []
    untagged = make("c", "of this stack")
    assert find(resource) == [untagged]
    tagged = make("d", "")
    route53.change_tags_for_resource(ResourceType="hostedzone", ResourceId=tagged, AddTags=listed(resource))
    assert sorted(find(resource)) == sorted([untagged, tagged])


def test_certificates_are_found_by_tag() -> None:
    acm = client("acm")
    resource = interrupted("aws:acm/certificate:Certificate", domainName="example.com", region="us-east-1")
    acm.request_certificate(DomainName="example.com")
    made = acm.request_certificate(DomainName="example.com", Tags=listed(resource))["CertificateArn"]
    assert find(resource) == [made]
    assert find(resource, region="eu-west-1") == [f"{made}@us-east-1"]


def test_cloudfront_by_name_and_by_tag() -> None:
    cloudfront = client("cloudfront")
    config = {"Name": "eeyore", "SigningProtocol": "sigv4", "SigningBehavior": "always", "OriginAccessControlOriginType": "s3"}
    access = "aws:cloudfront/originAccessControl:OriginAccessControl"
    assert find(interrupted(access, name="eeyore")) == []
    made = cloudfront.create_origin_access_control(OriginAccessControlConfig=config)["OriginAccessControl"]["Id"]
    assert find(interrupted(access, name="eeyore")) == [made]
    assert find(interrupted(access, name="other")) == []

    resource = interrupted("aws:cloudfront/distribution:Distribution")
    behaviour = {"TargetOriginId": "o", "ViewerProtocolPolicy": "redirect-to-https"}
    origins = {"Quantity": 1, "Items": [{"Id": "o", "DomainName": "b.s3.amazonaws.com", "S3OriginConfig": {"OriginAccessIdentity": ""}}]}
    distribution = {"CallerReference": "r", "Comment": "", "Enabled": True, "Origins": origins, "DefaultCacheBehavior": behaviour}
    assert find(resource) == []
    with_tags = {"DistributionConfig": distribution, "Tags": {"Items": listed(resource)}}
    answer = cloudfront.create_distribution_with_tags(DistributionConfigWithTags=with_tags)
    assert find(resource) == [answer["Distribution"]["Id"]]


def test_header_policies_are_listed_page_by_page() -> None:
    class Paged:
        def list_response_headers_policies(self, Type: str, Marker: str = "") -> dict[str, Any]:
            assert Type == "custom"
            number = int(Marker or 0)
            policy = {"Id": f"id-{number}", "ResponseHeadersPolicyConfig": {"Name": f"name-{number}"}}
            more = {"NextMarker": str(number + 1)} if number < 2 else {}
            return {"ResponseHeadersPolicyList": {"Items": [{"ResponseHeadersPolicy": policy}], **more}}

    look = Lookup(lambda _service, _region: Paged())
    kind = "aws:cloudfront/responseHeadersPolicy:ResponseHeadersPolicy"
    assert look.find(interrupted(kind, name="name-2")) == ["id-2"]
    assert look.find(interrupted(kind, name="absent")) == []


def test_missing_rights_stop_the_recovery_instead_of_creating_twice() -> None:
    class Denied:
        def list_role_tags(self, **_: Any) -> None:
            from botocore.exceptions import ClientError

            raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "ListRoleTags")

    with pytest.raises(ForbiddenError):
        Lookup(lambda _service, _region: Denied()).find(interrupted("aws:iam/role:Role", name="r"))


def test_tags_in_every_shape() -> None:
    pairs = [{"Key": "a", "Value": "1"}]
    assert tags_of(pairs) == tags_of({"a": "1"}) == tags_of({"Items": pairs}) == {"a": "1"}
    assert tags_of(None) == {}


def test_a_key_is_known_by_its_tag_in_its_own_region() -> None:
    resource = interrupted("aws:kms/key:Key", region="us-west-2")
    kms = client("kms", "us-west-2")
    kms.create_key(Description="somebody else's")
    ours = kms.create_key(Tags=[{"TagKey": key, "TagValue": value} for key, value in tags(resource).items()])["KeyMetadata"]["KeyId"]
    assert find(resource) == [f"{ours}@us-west-2"]


def test_a_key_that_waits_for_its_deletion_is_gone() -> None:
    resource = interrupted("aws:kms/key:Key")
    kms = client("kms")
    ours = kms.create_key(Tags=[{"TagKey": key, "TagValue": value} for key, value in tags(resource).items()])["KeyMetadata"]["KeyId"]
    assert find(resource) == [ours]
    kms.schedule_key_deletion(KeyId=ours)
    assert find(resource) == []


@pytest.mark.parametrize("state", ["available", "deleted"])
def test_a_nat_gateway_that_was_deleted_is_shown_for_a_while_and_is_gone(state: str) -> None:
    resource = interrupted("aws:ec2/natGateway:NatGateway")
    ec2 = Mock(spec=["get_paginator", "describe_nat_gateways"])
    ec2.get_paginator.return_value.paginate.return_value = [{"Tags": [{"ResourceId": "nat-1"}]}]
    ec2.describe_nat_gateways.return_value = {"NatGateways": [{"NatGatewayId": "nat-1", "State": state}]}
    assert Lookup(lambda _service, _region: ec2).find(resource) == (["nat-1"] if state == "available" else [])


@pytest.mark.parametrize(
    ("kind", "key"),
    [
        ("aws:ec2/route:Route", "routeTableId"),
        ("aws:cognito/userPoolClient:UserPoolClient", "userPoolId"),
        ("aws:cloudwatch/logGroup:LogGroup", "name"),
    ],
)
def test_what_hangs_on_something_that_does_not_exist_yet_is_not_asked_for(kind: str, key: str) -> None:
    silent = Mock(spec=[])
    assert UNKNOWN == pulumi.runtime.rpc.UNKNOWN
    assert Lookup(silent).find(interrupted(kind, **{key: UNKNOWN})) == []
    assert not silent.called


def test_what_is_there_once_at_most_needs_no_asking() -> None:
    assert not any(map(is_asked_for, ["aws:route53/record:Record", "aws:iam/rolePolicy:RolePolicy", "x:y:Z"]))
    assert all(map(is_asked_for, ["aws:ec2/eip:Eip", "aws:iam/role:Role"]))


def test_a_copy_of_backups_is_known_by_its_source() -> None:
    kind, source = "aws:rds/instanceAutomatedBackupsReplication:InstanceAutomatedBackupsReplication", "arn:aws:rds:us-east-1:1:db:eeyore"
    backups = [
        {"DBInstanceArn": "arn:other", "DBInstanceAutomatedBackupsArn": "arn:auto-backup:ab-1"},
        {"DBInstanceArn": source, "DBInstanceAutomatedBackupsArn": "arn:auto-backup:ab-2"},
    ]

    class Rds:
        def describe_db_instance_automated_backups(self) -> dict[str, Any]:
            return {"DBInstanceAutomatedBackups": backups}

    resource = interrupted(kind, sourceDbInstanceArn=source, region="us-west-2")
    assert Lookup(lambda _service, _region: Rds(), REGION).find(resource) == ["arn:auto-backup:ab-2@us-west-2"]


def test_a_subscription_is_told_by_its_address_once_it_is_confirmed() -> None:
    sns = client("sns")
    topic = sns.create_topic(Name="eeyore-alarm")["TopicArn"]
    resource = interrupted("aws:sns/topicSubscription:TopicSubscription", topic=topic, protocol="email", endpoint="ops@example.com")
    assert find(resource) == []
    sns.subscribe(TopicArn=topic, Protocol="email", Endpoint="other@example.com")
    made = sns.subscribe(TopicArn=topic, Protocol="email", Endpoint="ops@example.com", ReturnSubscriptionArn=True)["SubscriptionArn"]
    assert find(resource) == [made]


def web_acl(name: str, carried: list[dict[str, str]]) -> str:
    measured = {"SampledRequestsEnabled": False, "CloudWatchMetricsEnabled": True, "MetricName": name}
    made = client("wafv2").create_web_acl(
        Name=name, Scope="REGIONAL", DefaultAction={"Allow": {}}, VisibilityConfig=measured, Rules=[], Tags=carried
    )
    return str(made["Summary"]["Id"])


def test_a_web_acl_is_found_by_name_and_taken_when_it_is_ours() -> None:
    resource = interrupted("aws:wafv2/webAcl:WebAcl", name="eeyore-sign-in", scope="REGIONAL")
    assert find(resource) == []
    web_acl("another", listed(resource))
    made = web_acl("eeyore-sign-in", listed(resource))
    assert find(resource) == [f"{made}/eeyore-sign-in/REGIONAL"]


def test_somebody_elses_web_acl_is_left_alone() -> None:
    resource = interrupted("aws:wafv2/webAcl:WebAcl", name="eeyore-sign-in", scope="REGIONAL")
    web_acl("eeyore-sign-in", [{"Key": "owner", "Value": "somebody"}])
    assert find(resource) == []


def test_a_web_acl_on_a_later_page_is_found() -> None:
    resource = interrupted("aws:wafv2/webAcl:WebAcl", name="eeyore-sign-in", scope="REGIONAL")

    class Pages:
        def list_web_acls(self, Scope: str, NextMarker: str = "") -> dict[str, Any]:
            acl = (
                {"Name": "eeyore-sign-in", "Id": "b", "ARN": "arn:b"} if NextMarker == "more" else {"Name": "x", "Id": "a", "ARN": "arn:a"}
            )
            return {"WebACLs": [acl], **({} if NextMarker else {"NextMarker": "more"})}

        def list_tags_for_resource(self, ResourceARN: str) -> dict[str, Any]:
            return {"TagInfoForResource": {"ResourceARN": ResourceARN, "TagList": listed(resource)}}

    assert Lookup(lambda *_: Pages(), REGION).find(resource) == ["b/eeyore-sign-in/REGIONAL"]


def test_a_query_log_is_told_by_its_zone() -> None:
    """Moto takes no zone here as AWS does."""
    route53 = Mock(spec=["list_query_logging_configs"])
    route53.list_query_logging_configs.side_effect = [{"QueryLoggingConfigs": [{"Id": "q-1"}]}, {"QueryLoggingConfigs": []}]
    clients = Mock(return_value=route53)
    look, zoned = Lookup(clients, REGION), interrupted("aws:route53/queryLog:QueryLog", zoneId="Z1")
    assert [look.find(zoned), look.find(zoned)] == [["q-1"], []]
    route53.list_query_logging_configs.assert_called_with(HostedZoneId="Z1")
    assert find(interrupted("aws:route53/queryLog:QueryLog")) == []
