"""Finding a resource in AWS whose creation was interrupted: by its tags, or by the identifier its inputs already fix.

One table, `FINDERS`, names for every resource type how the identifier is found that the provider imports it by. It uses nothing
but boto3 clients, so it holds on AWS as in the sandbox.

A name that AWS keeps unique (a role, a bucket) may belong to somebody else: such a resource is taken only when it carries our URN
tag, or when it carries no tag at all, because a kill may come between creation and tagging.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from amianai_infra.engine.backend import Clients
from amianai_infra.errors import ForbiddenError, NotFoundError
from amianai_infra.naming import TAG_URN, urn_tag
from amianai_infra.target import aws_error

UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
"""What stands in a plan for text that nobody knows before something else exists. Source: pulumi, `resource.UnknownStringValue`."""


class NotKnownYet(Exception):
    """An input that a resource would be found by is not known before something else exists."""


@dataclass(frozen=True)
class Interrupted:
    """A resource whose creation was under way when the engine was killed.

    Attributes:
        urn: its URN.
        type: its type token.
        inputs: what it was to be created with.
        known: identifiers that the state holds for this URN already (what is being replaced).
    """

    urn: str
    type: str
    inputs: Mapping[str, Any]
    known: frozenset[str] = field(default=frozenset())

    @property
    def tags(self) -> dict[str, str]:
        """The tags that tell it from all others: its URN's, and its name's, because a stack of another prefix has the same URNs."""
        wanted = self.inputs.get("tags")
        name = wanted.get("Name") if isinstance(wanted, Mapping) else None
        return {TAG_URN: urn_tag(self.urn), **({"Name": name} if isinstance(name, str) else {})}

    def text(self, key: str) -> str:
        """An input as text; empty when it is absent or not plain.

        Raises:
            NotKnownYet: it comes from something that does not exist yet.
        """
        value = self.inputs.get(key)
        if value == UNKNOWN:
            raise NotKnownYet(key)
        return value if isinstance(value, str) else ""

    @property
    def regional(self) -> str | None:
        """The resource's own region, where it has one."""
        return self.text("region") or None


class Lookup:
    """Questions to AWS about interrupted resources.

    Args:
        clients: gives a boto3 client for a service and a region.
        region: the stack's own region.
    """

    def __init__(self, clients: Clients, region: str = "") -> None:
        self._clients = clients
        self._region = region

    def find(self, resource: Interrupted) -> list[str]:
        """The identifiers to import it by; empty when it does not exist, or can only exist once something else does.

        Raises:
            AmianaiError: AWS did not answer the question.
            KeyError: nobody knows how to look this type up.
        """
        try:
            found = [identifier for identifier in FINDERS[resource.type](resource, self) if identifier not in resource.known]
        except NotKnownYet:
            return []
        qualified = [self._qualified(resource, identifier) for identifier in found]
        return [identifier for identifier in qualified if identifier not in resource.known]

    def complete(self, resource: Interrupted, identifier: str) -> None:
        """Do what making or changing a resource takes besides its first call, where reading it would not show that this is missing.

        Args:
            resource: what was interrupted, and exists.
            identifier: what the provider knows it by.

        Raises:
            AmianaiError: AWS refused, or did not answer.
        """
        if resource.type in _COMPLETIONS:
            _COMPLETIONS[resource.type](resource, identifier, self)

    def _qualified(self, resource: Interrupted, identifier: str) -> str:
        """The provider wants `id@region` for a resource outside its own region.

        Source: pulumi-aws 7 migration guide, "Enhanced region support".
        """
        region = resource.regional
        elsewhere = bool(region and self._region and region != self._region)
        return f"{identifier}@{region}" if elsewhere else identifier

    def call(self, resource: Interrupted, service: str, operation: str, absent: frozenset[str] = frozenset(), /, **parameters: Any) -> Any:
        """One call; None when what it asks about does not exist.

        Args:
            resource: whose region to ask in.
            service: boto3's name of the service.
            operation: boto3's name of the operation.
            absent: further error codes that mean "does not exist".
            parameters: of the call.
        """
        from botocore.exceptions import BotoCoreError, ClientError

        client = self._clients(service, resource.regional)
        try:
            return getattr(client, operation)(**parameters)
        except (BotoCoreError, ClientError) as error:
            code = error.response.get("Error", {}).get("Code", "") if isinstance(error, ClientError) else ""
            translated = aws_error(error, f"looking for {resource.urn.rpartition('::')[2]} after an interrupted run")
            if code in absent or isinstance(translated, NotFoundError):
                return None
            raise translated from error

    def pages(self, resource: Interrupted, service: str, operation: str, **parameters: Any) -> Iterator[Any]:
        """All pages of a listing."""
        from botocore.exceptions import BotoCoreError, ClientError

        client = self._clients(service, resource.regional)
        try:
            yield from client.get_paginator(operation).paginate(**parameters)
        except (BotoCoreError, ClientError) as error:
            raise aws_error(error, f"looking for {resource.urn.rpartition('::')[2]} after an interrupted run") from error


Finder = Callable[[Interrupted, Lookup], list[str]]


def tags_of(raw: Any) -> dict[str, str]:
    """Tags in any of AWS's shapes (list of Key and Value, mapping, Items) as a mapping."""
    if isinstance(raw, Mapping):
        return tags_of(raw["Items"]) if "Items" in raw else {str(key): str(value) for key, value in raw.items()}
    return {str(tag["Key"]): str(tag["Value"]) for tag in raw or []}


def _ours(resource: Interrupted, tags: Any, *, untagged: bool = True) -> bool:
    """Whether a resource found by name is the one we were creating."""
    carried = tags_of(tags)
    return resource.tags.items() <= carried.items() if carried else untagged


_UNASKED: set[Finder] = set()


def _unasked(finder: Finder) -> Finder:
    """Marks a finder that asks AWS nothing: it only says what the identifier would be."""
    _UNASKED.add(finder)
    return finder


@_unasked
def _nothing(_resource: Interrupted, _look: Lookup) -> list[str]:
    """Creating it again changes nothing: it only adopts or waits for what exists."""
    return []


def _natural(*keys: str, between: str = "/") -> Finder:
    """The identifier consists of inputs; the refresh that follows drops it when it does not exist."""

    def find(resource: Interrupted, _look: Lookup) -> list[str]:
        parts = [resource.text(key) for key in keys]
        return [between.join(parts)] if all(parts) else []

    return _unasked(find)


def _ec2(prefix: str) -> Finder:
    def find(resource: Interrupted, look: Lookup) -> list[str]:
        carriers = (_ec2_carriers(resource, look, key, value) for key, value in resource.tags.items())
        return sorted(one for one in set.intersection(*carriers) if one.startswith(prefix))

    return find


def _nat_gateway(resource: Interrupted, look: Lookup) -> list[str]:
    """One that was deleted is shown, with its tags, for about an hour. Source: Amazon VPC User Guide, "Delete a NAT gateway"."""
    found = _ec2("nat-")(resource, look)
    if not found:
        return []
    answer = look.call(resource, "ec2", "describe_nat_gateways", NatGatewayIds=found) or {}
    return sorted(one["NatGatewayId"] for one in answer.get("NatGateways", []) if one["State"] in ("pending", "available"))


def _ec2_carriers(resource: Interrupted, look: Lookup, key: str, value: str) -> set[str]:
    filters = [{"Name": "key", "Values": [key]}, {"Name": "value", "Values": [value]}]
    return {tag["ResourceId"] for page in look.pages(resource, "ec2", "describe_tags", Filters=filters) for tag in page.get("Tags", [])}


def _route(resource: Interrupted, look: Lookup) -> list[str]:
    """Told by its table and destination, of which a second one is refused. The table's own route to the network is nobody's creation."""
    keys = ("destinationCidrBlock", "destinationIpv6CidrBlock", "destinationPrefixListId")
    key = next((key for key in keys if resource.text(key)), "")
    table = resource.text("routeTableId")
    if not (table and key):
        return []
    absent = frozenset({"InvalidRouteTableID.NotFound"})
    answer = look.call(resource, "ec2", "describe_route_tables", absent, RouteTableIds=[table]) or {}
    routes = [route for one in answer.get("RouteTables", []) for route in one.get("Routes", []) if route.get("Origin") == "CreateRoute"]
    made = any(route.get(f"{key[:1].upper()}{key[1:]}") == resource.text(key) for route in routes)
    return [f"{table}_{resource.text(key)}"] if made else []


@_unasked
def _association(resource: Interrupted, _look: Lookup) -> list[str]:
    side = resource.text("subnetId") or resource.text("gatewayId")
    table = resource.text("routeTableId")
    return [f"{side}/{table}"] if side and table else []


def _log_group(resource: Interrupted, look: Lookup) -> list[str]:
    name = resource.text("name")
    for page in look.pages(resource, "logs", "describe_log_groups", logGroupNamePrefix=name):
        for group in page.get("logGroups", []):
            if group["logGroupName"] == name:
                answer = look.call(resource, "logs", "list_tags_for_resource", resourceArn=group["arn"].removesuffix(":*")) or {}
                return [name] if _ours(resource, answer.get("tags")) else []
    return []


def _role(resource: Interrupted, look: Lookup) -> list[str]:
    name = resource.text("name")
    answer = look.call(resource, "iam", "list_role_tags", RoleName=name)
    return [name] if answer is not None and _ours(resource, answer.get("Tags")) else []


def _oidc_provider(resource: Interrupted, look: Lookup) -> list[str]:
    host = resource.text("url").removeprefix("https://")
    answer = look.call(resource, "iam", "list_open_id_connect_providers") or {}
    for entry in answer.get("OpenIDConnectProviderList", []):
        if entry["Arn"].partition(":oidc-provider/")[2] == host:
            details = look.call(resource, "iam", "get_open_id_connect_provider", OpenIDConnectProviderArn=entry["Arn"]) or {}
            return [entry["Arn"]] if _ours(resource, details.get("Tags")) else []
    return []


def _rds(operation: str, argument: str, answer: str, key: str, arn: str) -> Finder:
    def find(resource: Interrupted, look: Lookup) -> list[str]:
        name = resource.text(key)
        found = look.call(resource, "rds", operation, **{argument: name})
        if not found or not found.get(answer):
            return []
        if found[answer][0].get("DbiResourceId") in resource.known:
            return []  # an instance is found by its name, and known by what no other one ever has
        tags = look.call(resource, "rds", "list_tags_for_resource", ResourceName=found[answer][0][arn]) or {}
        return [name] if _ours(resource, tags.get("TagList")) else []

    return find


@_unasked
def _proxy_target(resource: Interrupted, _look: Lookup) -> list[str]:
    parts = [resource.text(key) for key in ("dbProxyName", "targetGroupName", "dbInstanceIdentifier")]
    return [f"{parts[0]}/{parts[1]}/RDS_INSTANCE/{parts[2]}"] if all(parts) else []


def _backup_copy(resource: Interrupted, look: Lookup) -> list[str]:
    """Told by its source; it takes no tags, and an instance has one in a region."""
    answer = look.call(resource, "rds", "describe_db_instance_automated_backups") or {}
    source = resource.text("sourceDbInstanceArn")
    found = [one for one in answer.get("DBInstanceAutomatedBackups", []) if one.get("DBInstanceArn") == source]
    return [one["DBInstanceAutomatedBackupsArn"] for one in found if one.get("DBInstanceAutomatedBackupsArn")]


def _key(resource: Interrupted, look: Lookup) -> list[str]:
    found = []
    for page in look.pages(resource, "kms", "list_keys"):
        for key in page.get("Keys", []):
            if _is_our_key(resource, look, key["KeyId"]):
                found.append(key["KeyId"])
    return found


def _is_our_key(resource: Interrupted, look: Lookup, identifier: str) -> bool:
    try:
        tags = (look.call(resource, "kms", "list_resource_tags", KeyId=identifier) or {}).get("Tags")
    except ForbiddenError:
        return False  # keys of AWS itself and of others may not be asked
    if not _ours(resource, {tag["TagKey"]: tag["TagValue"] for tag in tags or []}, untagged=False):
        return False
    answer = look.call(resource, "kms", "describe_key", KeyId=identifier) or {}
    return bool(answer) and answer["KeyMetadata"]["KeyState"] != "PendingDeletion"  # which it is for days, with its tags


def _user_pool(resource: Interrupted, look: Lookup) -> list[str]:
    found = []
    for page in look.pages(resource, "cognito-idp", "list_user_pools", MaxResults=60):
        for pool in page.get("UserPools", []):
            if pool.get("Name") == resource.text("name"):
                details = look.call(resource, "cognito-idp", "describe_user_pool", UserPoolId=pool["Id"]) or {}
                if _ours(resource, details.get("UserPool", {}).get("UserPoolTags"), untagged=False):
                    found.append(pool["Id"])
    return found


def _user_pool_client(resource: Interrupted, look: Lookup) -> list[str]:
    pool = resource.text("userPoolId")
    pages = look.pages(resource, "cognito-idp", "list_user_pool_clients", UserPoolId=pool, MaxResults=60)
    clients = [client for page in pages for client in page.get("UserPoolClients", [])]
    named = [client["ClientId"] for client in clients if client.get("ClientName") == resource.text("name")]
    return [f"{pool}/{client}" for client in named if client not in resource.known]


def _user_pool_domain(resource: Interrupted, look: Lookup) -> list[str]:
    domain = resource.text("domain")
    answer = look.call(resource, "cognito-idp", "describe_user_pool_domain", Domain=domain) or {}
    same = answer.get("DomainDescription", {}).get("UserPoolId") == resource.text("userPoolId")
    return [domain] if same else []


def _web_acl(resource: Interrupted, look: Lookup) -> list[str]:
    name, scope = resource.text("name"), resource.text("scope")
    page: Any = {"NextMarker": None}
    while page:  # boto3 has no paginator for this
        marker = {"NextMarker": page["NextMarker"]} if page["NextMarker"] else {}
        page = look.call(resource, "wafv2", "list_web_acls", Scope=scope, **marker) or {}
        for acl in page.get("WebACLs", []):
            if acl["Name"] == name:
                answer = look.call(resource, "wafv2", "list_tags_for_resource", ResourceARN=acl["ARN"]) or {}
                return [f"{acl['Id']}/{name}/{scope}"] if _ours(resource, answer.get("TagInfoForResource", {}).get("TagList")) else []
        page = page if page.get("NextMarker") else None
    return []


def _bucket(resource: Interrupted, look: Lookup) -> list[str]:
    name = resource.text("bucket")
    try:
        if look.call(resource, "s3", "head_bucket", Bucket=name) is None:
            return []
        answer = look.call(resource, "s3", "get_bucket_tagging", Bucket=name) or {}  # NoSuchTagSet: not tagged yet
    except ForbiddenError:
        return []  # somebody else's bucket: creating it will say so
    return [name] if _ours(resource, answer.get("TagSet")) else []


def _origin_access_control(resource: Interrupted, look: Lookup) -> list[str]:
    return _cloudfront_named(resource, look, "list_origin_access_controls", "OriginAccessControlList", lambda item: item)


def _headers_policy(resource: Interrupted, look: Lookup) -> list[str]:
    def inner(item: Any) -> Any:
        policy = item["ResponseHeadersPolicy"]
        return {"Id": policy["Id"], "Name": policy["ResponseHeadersPolicyConfig"]["Name"]}

    return _cloudfront_named(resource, look, "list_response_headers_policies", "ResponseHeadersPolicyList", inner, Type="custom")


def _cloudfront_named(
    resource: Interrupted, look: Lookup, operation: str, answer: str, inner: Callable[[Any], Any], **parameters: Any
) -> list[str]:
    """Names of these are unique in an account."""
    marker: dict[str, Any] = {}
    while True:
        listed = (look.call(resource, "cloudfront", operation, **parameters, **marker) or {}).get(answer, {})
        for item in map(inner, listed.get("Items", [])):
            if item["Name"] == resource.text("name"):
                return [item["Id"]]
        if not listed.get("NextMarker"):
            return []
        marker = {"Marker": listed["NextMarker"]}


def _distribution(resource: Interrupted, look: Lookup) -> list[str]:
    found = []
    for page in look.pages(resource, "cloudfront", "list_distributions"):
        for item in page.get("DistributionList", {}).get("Items", []):
            answer = look.call(resource, "cloudfront", "list_tags_for_resource", Resource=item["ARN"]) or {}
            if _ours(resource, answer.get("Tags"), untagged=False):
                found.append(item["Id"])
    return found


def _zone(resource: Interrupted, look: Lookup) -> list[str]:
    """Names of zones are not unique: an untagged one is ours only when it carries the comment we give it."""
    name, found = resource.text("name").rstrip(".") + ".", []
    answer = look.call(resource, "route53", "list_hosted_zones_by_name", DNSName=name) or {}
    for zone in answer.get("HostedZones", []):
        identifier = zone["Id"].rpartition("/")[2]
        if zone["Name"] != name:
            continue
        tags = look.call(resource, "route53", "list_tags_for_resource", ResourceType="hostedzone", ResourceId=identifier) or {}
        comment = zone.get("Config", {}).get("Comment", "")
        if _ours(resource, tags.get("ResourceTagSet", {}).get("Tags"), untagged=bool(comment) and comment == resource.text("comment")):
            found.append(identifier)
    return found


@_unasked
def _record(resource: Interrupted, _look: Lookup) -> list[str]:
    parts = [resource.text("zoneId"), resource.text("name").rstrip("."), resource.text("type")]
    if not all(parts):
        return []
    return ["_".join([*parts, *filter(None, [resource.text("setIdentifier")])])]


def _query_log(resource: Interrupted, look: Lookup) -> list[str]:
    """Told by its zone, which has one at most; it takes no tags."""
    zone = resource.text("zoneId")
    answer = (look.call(resource, "route53", "list_query_logging_configs", HostedZoneId=zone) or {}) if zone else {}
    return [one["Id"] for one in answer.get("QueryLoggingConfigs", [])]


def _certificate(resource: Interrupted, look: Lookup) -> list[str]:
    found = []
    kinds = ["RSA_2048", "RSA_3072", "RSA_4096", "EC_prime256v1", "EC_secp384r1"]
    for page in look.pages(resource, "acm", "list_certificates", Includes={"keyTypes": kinds}):
        for entry in page.get("CertificateSummaryList", []):
            if entry.get("DomainName") == resource.text("domainName"):
                answer = look.call(resource, "acm", "list_tags_for_certificate", CertificateArn=entry["CertificateArn"]) or {}
                if _ours(resource, answer.get("Tags"), untagged=False):
                    found.append(entry["CertificateArn"])
    return found


def _parameter(resource: Interrupted, look: Lookup) -> list[str]:
    name = resource.text("name")
    absent = frozenset({"InvalidResourceId"})
    answer = look.call(resource, "ssm", "list_tags_for_resource", absent, ResourceType="Parameter", ResourceId=name)
    return [name] if answer is not None and _ours(resource, answer.get("TagList")) else []


def _instance_profile(resource: Interrupted, look: Lookup) -> list[str]:
    name = resource.text("name")
    found = look.call(resource, "iam", "get_instance_profile", InstanceProfileName=name)
    return [name] if found is not None and _ours(resource, found["InstanceProfile"].get("Tags")) else []


def _secret(resource: Interrupted, look: Lookup) -> list[str]:
    found = look.call(resource, "secretsmanager", "describe_secret", SecretId=resource.text("name"))
    return [found["ARN"]] if found is not None and _ours(resource, found.get("Tags")) else []


def _function(resource: Interrupted, look: Lookup) -> list[str]:
    name = resource.text("name")
    found = look.call(resource, "lambda", "get_function", FunctionName=name)
    return [name] if found is not None and _ours(resource, _pairs(found.get("Tags"))) else []


def _pairs(tags: Mapping[str, str] | None) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in (tags or {}).items()]


def _schedule_group(resource: Interrupted, look: Lookup) -> list[str]:
    name = resource.text("name")
    found = look.call(resource, "scheduler", "get_schedule_group", Name=name)
    if found is None:
        return []
    tags = look.call(resource, "scheduler", "list_tags_for_resource", ResourceArn=found["Arn"]) or {}
    return [name] if _ours(resource, tags.get("Tags")) else []


def _queue(resource: Interrupted, look: Lookup) -> list[str]:
    absent = frozenset({"AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"})
    found = look.call(resource, "sqs", "get_queue_url", absent, QueueName=resource.text("name"))
    if found is None:
        return []
    tags = look.call(resource, "sqs", "list_queue_tags", QueueUrl=found["QueueUrl"]) or {}
    return [found["QueueUrl"]] if _ours(resource, tags.get("Tags")) else []


def _topic(resource: Interrupted, look: Lookup) -> list[str]:
    name = resource.text("name")
    for page in look.pages(resource, "sns", "list_topics"):
        for arn in (topic["TopicArn"] for topic in page.get("Topics", [])):
            if arn.rpartition(":")[2] == name:
                tags = look.call(resource, "sns", "list_tags_for_resource", ResourceArn=arn) or {}
                return [arn] if _ours(resource, tags.get("Tags")) else []
    return []


def _subscription(resource: Interrupted, look: Lookup) -> list[str]:
    """Told by its address; until that is confirmed it has no identifier, and subscribing again only repeats the question."""
    wanted = (resource.text("protocol"), resource.text("endpoint"))
    if not resource.text("topic"):
        return []
    pages = look.pages(resource, "sns", "list_subscriptions_by_topic", TopicArn=resource.text("topic"))
    listed = [one for page in pages for one in page.get("Subscriptions", []) if (one["Protocol"], one["Endpoint"]) == wanted]
    return [one["SubscriptionArn"] for one in listed if one["SubscriptionArn"].startswith("arn:")]


def _alarm(resource: Interrupted, look: Lookup) -> list[str]:
    name = resource.text("name")
    found = (look.call(resource, "cloudwatch", "describe_alarms", AlarmNames=[name]) or {}).get("MetricAlarms")
    if not found:
        return []
    tags = look.call(resource, "cloudwatch", "list_tags_for_resource", ResourceARN=found[0]["AlarmArn"]) or {}
    return [name] if _ours(resource, tags.get("Tags")) else []


def _publish(resource: Interrupted, identifier: str, look: Lookup) -> None:
    """Making or changing a function of CloudFront is one call, publishing it another; a read shows the code before it is published."""
    if resource.inputs.get("publish") is False:
        return
    described = look.call(resource, "cloudfront", "describe_function", Name=identifier, Stage="DEVELOPMENT")
    if described is not None:
        look.call(resource, "cloudfront", "publish_function", Name=identifier, IfMatch=described["ETag"])


_COMPLETIONS: dict[str, Callable[[Interrupted, str, Lookup], None]] = {"aws:cloudfront/function:Function": _publish}

_of_bucket = _natural("bucket")

FINDERS: dict[str, Finder] = {
    "aws:ec2/vpc:Vpc": _ec2("vpc-"),
    "aws:ec2/subnet:Subnet": _ec2("subnet-"),
    "aws:ec2/internetGateway:InternetGateway": _ec2("igw-"),
    "aws:ec2/routeTable:RouteTable": _ec2("rtb-"),
    "aws:ec2/route:Route": _route,
    "aws:ec2/routeTableAssociation:RouteTableAssociation": _association,
    "aws:ec2/eip:Eip": _ec2("eipalloc-"),
    "aws:ec2/natGateway:NatGateway": _nat_gateway,
    "aws:ec2/vpcEndpoint:VpcEndpoint": _ec2("vpce-"),
    "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup": _nothing,
    "aws:ec2/securityGroup:SecurityGroup": _ec2("sg-"),
    "aws:ec2/flowLog:FlowLog": _ec2("fl-"),
    "aws:ec2/launchTemplate:LaunchTemplate": _ec2("lt-"),
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule": _ec2("sgr-"),
    "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule": _ec2("sgr-"),
    "aws:cloudwatch/logGroup:LogGroup": _log_group,
    "aws:cloudwatch/logResourcePolicy:LogResourcePolicy": _natural("policyName"),
    "aws:cloudwatch/metricAlarm:MetricAlarm": _alarm,
    "aws:scheduler/scheduleGroup:ScheduleGroup": _schedule_group,
    "aws:sns/topic:Topic": _topic,
    "aws:sns/topicSubscription:TopicSubscription": _subscription,
    "aws:sqs/queue:Queue": _queue,
    "aws:secretsmanager/secret:Secret": _secret,
    "aws:secretsmanager/secretRotation:SecretRotation": _natural("secretId"),
    "aws:lambda/function:Function": _function,
    "aws:lambda/permission:Permission": _natural("function", "statementId"),
    "aws:iam/role:Role": _role,
    "aws:iam/instanceProfile:InstanceProfile": _instance_profile,
    "aws:iam/rolePolicy:RolePolicy": _natural("role", "name", between=":"),
    "aws:iam/rolePolicyAttachment:RolePolicyAttachment": _natural("role", "policyArn"),
    "aws:iam/openIdConnectProvider:OpenIdConnectProvider": _oidc_provider,
    "aws:rds/subnetGroup:SubnetGroup": _rds("describe_db_subnet_groups", "DBSubnetGroupName", "DBSubnetGroups", "name", "DBSubnetGroupArn"),
    "aws:rds/parameterGroup:ParameterGroup": _rds(
        "describe_db_parameter_groups", "DBParameterGroupName", "DBParameterGroups", "name", "DBParameterGroupArn"
    ),
    "aws:rds/instance:Instance": _rds("describe_db_instances", "DBInstanceIdentifier", "DBInstances", "identifier", "DBInstanceArn"),
    "aws:rds/instanceAutomatedBackupsReplication:InstanceAutomatedBackupsReplication": _backup_copy,
    "aws:rds/proxy:Proxy": _rds("describe_db_proxies", "DBProxyName", "DBProxies", "name", "DBProxyArn"),
    "aws:rds/proxyDefaultTargetGroup:ProxyDefaultTargetGroup": _natural("dbProxyName"),
    "aws:rds/proxyTarget:ProxyTarget": _proxy_target,
    "aws:kms/key:Key": _key,
    "aws:cognito/userPool:UserPool": _user_pool,
    "aws:cognito/userPoolClient:UserPoolClient": _user_pool_client,
    "aws:cognito/userPoolDomain:UserPoolDomain": _user_pool_domain,
    "aws:wafv2/webAcl:WebAcl": _web_acl,
    "aws:wafv2/webAclAssociation:WebAclAssociation": _natural("webAclArn", "resourceArn", between=","),
    "aws:s3/bucket:Bucket": _bucket,
    "aws:s3/bucketVersioning:BucketVersioning": _of_bucket,
    "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock": _of_bucket,
    "aws:s3/bucketOwnershipControls:BucketOwnershipControls": _of_bucket,
    "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration": _of_bucket,
    "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration": _of_bucket,
    "aws:s3/bucketPolicy:BucketPolicy": _of_bucket,
    "aws:s3/bucketLogging:BucketLogging": _of_bucket,
    "aws:cloudfront/originAccessControl:OriginAccessControl": _origin_access_control,
    "aws:cloudfront/function:Function": _natural("name"),
    "aws:cloudfront/keyValueStore:KeyValueStore": _natural("name"),
    "aws:cloudfront/responseHeadersPolicy:ResponseHeadersPolicy": _headers_policy,
    "aws:cloudfront/distribution:Distribution": _distribution,
    "aws:route53/zone:Zone": _zone,
    "aws:route53/record:Record": _record,
    "aws:route53/keySigningKey:KeySigningKey": _natural("hostedZoneId", "name", between=","),
    "aws:route53/hostedZoneDnsSec:HostedZoneDnsSec": _natural("hostedZoneId"),
    "aws:route53/queryLog:QueryLog": _query_log,
    "aws:acm/certificate:Certificate": _certificate,
    "aws:acm/certificateValidation:CertificateValidation": _nothing,
    "aws:ssm/parameter:Parameter": _parameter,
}


def is_asked_for(kind: str) -> bool:
    """Whether AWS is asked for resources of this type. Of the others there is one at most: a second creation writes or is refused."""
    return kind in FINDERS and FINDERS[kind] not in _UNASKED


def shows_late(kind: str) -> bool:
    """Whether a service may take a while to show a resource of this type; one that its inputs identify needs no asking."""
    return kind in FINDERS and FINDERS[kind] is not _nothing


_REMOVALS = {
    "aws:ec2/vpc:Vpc": "ec2 delete-vpc --vpc-id",
    "aws:ec2/subnet:Subnet": "ec2 delete-subnet --subnet-id",
    "aws:ec2/internetGateway:InternetGateway": "ec2 delete-internet-gateway --internet-gateway-id",
    "aws:ec2/routeTable:RouteTable": "ec2 delete-route-table --route-table-id",
    "aws:ec2/eip:Eip": "ec2 release-address --allocation-id",
    "aws:ec2/natGateway:NatGateway": "ec2 delete-nat-gateway --nat-gateway-id",
    "aws:ec2/vpcEndpoint:VpcEndpoint": "ec2 delete-vpc-endpoints --vpc-endpoint-ids",
    "aws:ec2/securityGroup:SecurityGroup": "ec2 delete-security-group --group-id",
    "aws:ec2/flowLog:FlowLog": "ec2 delete-flow-logs --flow-log-ids",
    "aws:ec2/launchTemplate:LaunchTemplate": "ec2 delete-launch-template --launch-template-id",
    "aws:kms/key:Key": "kms schedule-key-deletion --key-id",
    "aws:cognito/userPool:UserPool": "cognito-idp delete-user-pool --user-pool-id",
    "aws:acm/certificate:Certificate": "acm delete-certificate --certificate-arn",
    "aws:route53/zone:Zone": "route53 delete-hosted-zone --id",
}


def removal(resource: Interrupted, identifier: str) -> str:
    """The command that removes a second resource of one URN, which only types without unique names can have."""
    plain, _, region = identifier.partition("@")
    command = _REMOVALS.get(resource.type)
    return f"aws {command} {plain}{f' --region {region}' if region else ''}" if command else "delete it"
