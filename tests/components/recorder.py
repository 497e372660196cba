"""Pulumi's mocks that record every resource, and refuse what the stack has no business asking for."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pulumi

from amianai_infra.naming import PROJECT, STACK

Built = TypeVar("Built")
ACCOUNT = "123456789012"
_SECRET = "4dabf18193072939515e22adb298388d"
ZONES = ["us-east-1a", "us-east-1b", "us-east-1c", "us-east-1d"]


@dataclass(frozen=True)
class Recorded:
    """One resource as it was registered."""

    type: str
    name: str
    inputs: dict[str, Any]

    def json(self, name: str) -> Any:
        """An input that holds JSON."""
        return json.loads(self.inputs[name])


@dataclass
class Recording:
    """Everything that one program registered."""

    resources: list[Recorded] = field(default_factory=list)
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    options: dict[str, dict[str, Any]] = field(default_factory=dict)
    secrets: dict[str, set[str]] = field(default_factory=dict)

    def of(self, kind: str) -> list[Recorded]:
        """Resources of a type, by the last part of its token: `Vpc`, `SecurityGroupIngressRule`."""
        return [one for one in self.resources if one.type.rpartition(":")[2] == kind and one.type.startswith("aws:")]

    def one(self, kind: str, name: str | None = None) -> Recorded:
        """The only resource of a type, or the one of that name."""
        found = [one for one in self.of(kind) if name is None or one.name == name]
        assert len(found) == 1, f"{kind} {name or ''}: {[one.name for one in found]}"
        return found[0]

    def counts(self) -> dict[str, int]:
        """How many of each type, components left out."""
        return dict(Counter(one.type.rpartition(":")[2] for one in self.resources if one.type.startswith("aws:")))


def computed(kind: str, name: str, inputs: dict[str, Any]) -> dict[str, Any]:
    """What AWS would add to a resource. A type that is not listed is a mistake."""
    service, _, rest = kind.removeprefix("aws:").partition("/")
    arn = {"arn": f"arn:aws:{service}:us-east-1:{ACCOUNT}:{rest.rpartition(':')[2]}/{name}"}
    bucket = inputs.get("bucket", "")
    known: dict[str, dict[str, Any]] = {
        "aws:ec2/vpc:Vpc": arn,
        "aws:ec2/subnet:Subnet": arn,
        "aws:ec2/internetGateway:InternetGateway": arn,
        "aws:ec2/routeTable:RouteTable": arn,
        "aws:ec2/route:Route": {},
        "aws:ec2/routeTableAssociation:RouteTableAssociation": {},
        "aws:ec2/eip:Eip": {"publicIp": "192.0.2.1"},
        "aws:ec2/natGateway:NatGateway": {},
        "aws:ec2/vpcEndpoint:VpcEndpoint": arn,
        "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup": arn,
        "aws:ec2/securityGroup:SecurityGroup": arn,
        "aws:ec2/flowLog:FlowLog": arn,
        "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule": arn,
        "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule": arn,
        "aws:ec2/launchTemplate:LaunchTemplate": arn,
        "aws:scheduler/scheduleGroup:ScheduleGroup": arn,
        "aws:sqs/queue:Queue": {"arn": f"arn:aws:sqs:us-east-1:{ACCOUNT}:{inputs.get('name')}"},
        "aws:sns/topic:Topic": {"arn": f"arn:aws:sns:us-east-1:{ACCOUNT}:{inputs.get('name')}"},
        "aws:sns/topicSubscription:TopicSubscription": arn,
        "aws:cloudwatch/metricAlarm:MetricAlarm": arn,
        "aws:iam/instanceProfile:InstanceProfile": {"arn": f"arn:aws:iam::{ACCOUNT}:instance-profile/{inputs.get('name')}"},
        "aws:cloudwatch/logGroup:LogGroup": {"arn": f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:{inputs.get('name')}"},
        "aws:iam/role:Role": {"arn": f"arn:aws:iam::{ACCOUNT}:role/{inputs.get('name')}"},
        "aws:iam/rolePolicy:RolePolicy": {},
        "aws:iam/rolePolicyAttachment:RolePolicyAttachment": {},
        "aws:iam/openIdConnectProvider:OpenIdConnectProvider": {"arn": f"arn:aws:iam::{ACCOUNT}:oidc-provider/{inputs.get('url')}"},
        "aws:rds/subnetGroup:SubnetGroup": arn,
        "aws:rds/parameterGroup:ParameterGroup": arn,
        "aws:rds/instance:Instance": {
            "arn": f"arn:aws:rds:us-east-1:{ACCOUNT}:db:{inputs.get('identifier')}",
            "address": "db.example.internal",
            "port": 5432,
            "resourceId": "db-ABC",
            "masterUserSecrets": [{"secretArn": f"arn:aws:secretsmanager:us-east-1:{ACCOUNT}:secret:rds!db-1", "secretStatus": "active"}],
        },
        "aws:cognito/userPool:UserPool": arn,
        "aws:cognito/userPoolClient:UserPoolClient": {},
        "aws:cognito/userPoolDomain:UserPoolDomain": {},
        "aws:wafv2/webAcl:WebAcl": arn,
        "aws:wafv2/webAclAssociation:WebAclAssociation": {},
        "aws:s3/bucket:Bucket": {
            "arn": f"arn:aws:s3:::{bucket}",
            "bucketDomainName": f"{bucket}.s3.amazonaws.com",
            "bucketRegionalDomainName": f"{bucket}.s3.us-east-1.amazonaws.com",
        },
        "aws:s3/bucketVersioning:BucketVersioning": {},
        "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock": {},
        "aws:s3/bucketOwnershipControls:BucketOwnershipControls": {},
        "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration": {},
        "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration": {},
        "aws:s3/bucketPolicy:BucketPolicy": {},
        "aws:s3/bucketLogging:BucketLogging": {},
        "aws:cloudfront/originAccessControl:OriginAccessControl": {},
        "aws:cloudfront/function:Function": arn,
        "aws:cloudfront/keyValueStore:KeyValueStore": arn,
        "aws:cloudfront/responseHeadersPolicy:ResponseHeadersPolicy": {},
        "aws:cloudfront/distribution:Distribution": {
            "arn": f"arn:aws:cloudfront::{ACCOUNT}:distribution/E1",
            "domainName": "d1.cloudfront.net",
            "hostedZoneId": "Z2FDTNDATAQYW2",
        },
        "aws:route53/zone:Zone": {
            "arn": "arn:aws:route53:::hostedzone/ZNEW",
            "zoneId": "ZNEW",
            "nameServers": ["ns-1.example", "ns-2.example"],
        },
        "aws:route53/keySigningKey:KeySigningKey": {"dsRecord": "12345 13 2 ABCDEF"},
        "aws:route53/hostedZoneDnsSec:HostedZoneDnsSec": {},
        "aws:route53/queryLog:QueryLog": arn,
        "aws:cloudwatch/logResourcePolicy:LogResourcePolicy": {},
        "aws:route53/record:Record": {"fqdn": inputs.get("name")},
        "aws:acm/certificate:Certificate": {**arn, "domainValidationOptions": validation_options(inputs)},
        "aws:acm/certificateValidation:CertificateValidation": {},
        "aws:secretsmanager/secret:Secret": {"arn": f"arn:aws:secretsmanager:us-east-1:{ACCOUNT}:secret:{inputs.get('name')}"},
        "aws:secretsmanager/secretRotation:SecretRotation": {"rotationEnabled": True},
        "aws:lambda/function:Function": {"arn": f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:{inputs.get('name')}"},
        "aws:lambda/permission:Permission": {},
        "aws:kms/key:Key": {"arn": f"arn:aws:kms:{inputs.get('region', 'us-east-1')}:{ACCOUNT}:key/{name}", "keyId": name},
        "aws:rds/proxy:Proxy": {**arn, "endpoint": "proxy.example.internal"},
        "aws:rds/proxyDefaultTargetGroup:ProxyDefaultTargetGroup": {"name": "default"},
        "aws:rds/proxyTarget:ProxyTarget": {},
        "aws:rds/instanceAutomatedBackupsReplication:InstanceAutomatedBackupsReplication": {},
        "aws:ssm/parameter:Parameter": arn,
    }
    return known[kind]


def validation_options(inputs: dict[str, Any]) -> list[dict[str, str]]:
    names = [inputs.get("domainName", ""), *inputs.get("subjectAlternativeNames", [])]
    return [
        {
            "domainName": name,
            "resourceRecordName": f"_check.{name.removeprefix('*.')}.",
            "resourceRecordType": "CNAME",
            "resourceRecordValue": f"_answer.{name.removeprefix('*.')}.acm.test.",
        }
        for name in names
    ]


def revealed(value: Any) -> Any:
    """The value inside the envelope that marks it as secret."""
    return value["value"] if isinstance(value, dict) and _SECRET in value else value


class Recorder(pulumi.runtime.Mocks):
    def __init__(self, recording: Recording) -> None:
        self.recording = recording

    def new_resource(self, args: pulumi.runtime.MockResourceArgs) -> tuple[str | None, dict[Any, Any]]:
        inputs = {name: revealed(value) for name, value in args.inputs.items()}
        self.recording.secrets[args.name] = {name for name, value in args.inputs.items() if value is not inputs[name]}
        if not args.typ.startswith("aws:"):
            self.recording.resources.append(Recorded(args.typ, args.name, inputs))
            return "", inputs
        state = {**inputs, **computed(args.typ, args.name, inputs)}
        self.recording.resources.append(Recorded(args.typ, args.name, inputs))
        return args.resource_id or f"{args.name}-id", state

    def call(self, args: pulumi.runtime.MockCallArgs) -> tuple[dict[Any, Any], list[tuple[str, str]]]:
        given = dict(args.args)
        self.recording.calls.append((args.token, given))
        answers: dict[str, dict[str, Any]] = {
            "aws:index/getAvailabilityZones:getAvailabilityZones": {"names": ZONES},
            "aws:index/getCallerIdentity:getCallerIdentity": {"accountId": ACCOUNT},
            "aws:route53/getZone:getZone": {"zoneId": given.get("zoneId"), "nameServers": ["ns-9.example"]},
        }
        return answers[args.token], []


Record = Callable[..., Recording]


def record_program(build: Callable[[], Any], tags: Any = None) -> Recording:
    recording = Recording()

    def watch(args: pulumi.ResourceTransformationArgs) -> None:
        names = (
            "protect",
            "parent",
            "import_",
            "retain_on_delete",
            "ignore_changes",
            "depends_on",
            "delete_before_replace",
            "replacement_trigger",
        )
        recording.options[args.name] = {name: getattr(args.opts, name) for name in names}

    @pulumi.runtime.test  # type: ignore[untyped-decorator]
    def run() -> None:
        pulumi.runtime.register_stack_transformation(watch)
        if tags is not None:
            pulumi.runtime.register_stack_transformation(tags)
        build()

    with _event_loop():
        pulumi.runtime.set_mocks(Recorder(recording), project=PROJECT, stack=STACK, preview=False)
        run()
    return recording


@contextmanager
def _event_loop() -> Iterator[None]:
    """A loop that is closed at the end, and with it the one that Pulumi's mocks open in the thread they answer from."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    # What goes wrong is raised to the test. Reported a second time, whenever the collector runs, its traceback is parsed with `ast`,
    # possibly in the middle of another parse, which Python 3.11 does not survive ("recursion depth mismatch").
    loop.set_exception_handler(lambda _loop, _context: None)
    thread = ThreadPoolExecutor(max_workers=1)
    loop.set_default_executor(thread)
    try:
        yield
    finally:
        for task in (pending := asyncio.all_tasks(loop)):
            task.cancel()
        loop.run_until_complete(asyncio.gather(*pending, return_exceptions=True))
        thread.submit(_close).result()
        thread.shutdown()
        asyncio.set_event_loop(None)
        loop.close()


def _close() -> None:
    with suppress(RuntimeError):
        loop = asyncio.get_event_loop_policy().get_event_loop()
        asyncio.set_event_loop(None)
        loop.close()
