"""EC2: the network, its gateways and endpoints, security groups, flow logs."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Network
from typing import Any, ClassVar

from amianai_infra.sandbox.provider.properties import Problem, Props, document, fixed, flag, number, objects, text, text_set, texts
from amianai_infra.sandbox.provider.resource import (
    Context,
    Inputs,
    ProviderError,
    Resource,
    State,
    given,
    tag_list,
    tag_map,
)
from amianai_infra.sandbox.provider.values import Unknown


class _Taggable(Resource):
    """What all tagged EC2 resources share: the service and how it tags."""

    service = "ec2"
    tagged = True
    kind: ClassVar[str]

    def specification(self, ctx: Context, inputs: Inputs) -> dict[str, Any]:
        """The `TagSpecifications` parameter, or nothing when there are no tags."""
        tags = tag_list(ctx.tags(inputs))
        return {"TagSpecifications": [{"ResourceType": self.kind, "Tags": tags}]} if tags else {}

    def set_tags(self, ctx: Context, ident: str, state: Inputs, tags: dict[str, str], removed: list[str]) -> None:
        if removed:
            ctx.client().delete_tags(Resources=[ident], Tags=[{"Key": key} for key in removed])
        if tags:
            ctx.client().create_tags(Resources=[ident], Tags=tag_list(tags))


def _only(items: list[Any]) -> dict[str, Any] | None:
    return dict(items[0]) if items else None


class Vpc(_Taggable):
    """`aws.ec2.Vpc`, IPv4 only."""

    token = "aws:ec2/vpc:Vpc"
    kind = "vpc"
    props = {
        "cidrBlock": text(required=True, force_new=True),
        "instanceTenancy": text(default="default", force_new=True, choices=("default", "dedicated")),
        "enableDnsSupport": flag(default=True),
        "enableDnsHostnames": flag(default=False),
    }
    outputs = (
        "arn",
        "ownerId",
        "defaultNetworkAclId",
        "defaultRouteTableId",
        "defaultSecurityGroupId",
        "dhcpOptionsId",
        "mainRouteTableId",
    )
    missing = ("InvalidVpcID.NotFound",)

    def check(self, inputs: Inputs) -> list[Problem]:
        return _check_cidr(inputs, 16, 28)

    def create(self, ctx: Context, inputs: Inputs) -> str:
        parameters = {"CidrBlock": inputs["cidrBlock"], "InstanceTenancy": inputs["instanceTenancy"], **self.specification(ctx, inputs)}
        return str(ctx.client().create_vpc(**parameters)["Vpc"]["VpcId"])

    def configure(self, ctx: Context, ident: str, inputs: Inputs) -> None:
        ec2 = ctx.client()
        ec2.modify_vpc_attribute(VpcId=ident, EnableDnsSupport={"Value": inputs["enableDnsSupport"]})
        ec2.modify_vpc_attribute(VpcId=ident, EnableDnsHostnames={"Value": inputs["enableDnsHostnames"]})

    def read(self, ctx: Context, ident: str, known: Inputs) -> State | None:
        ec2 = ctx.client()
        found = _only(ec2.describe_vpcs(VpcIds=[ident])["Vpcs"])
        if found is None:
            return None
        of_vpc = [{"Name": "vpc-id", "Values": [ident]}]
        acls = ec2.describe_network_acls(Filters=of_vpc)["NetworkAcls"]
        groups = ec2.describe_security_groups(Filters=[*of_vpc, {"Name": "group-name", "Values": ["default"]}])["SecurityGroups"]
        tables = ec2.describe_route_tables(Filters=[*of_vpc, {"Name": "association.main", "Values": ["true"]}])["RouteTables"]
        main = tables[0]["RouteTableId"] if tables else None
        return {
            "cidrBlock": found["CidrBlock"],
            "instanceTenancy": found["InstanceTenancy"],
            "enableDnsSupport": self._attribute(ctx, ident, "enableDnsSupport"),
            "enableDnsHostnames": self._attribute(ctx, ident, "enableDnsHostnames"),
            "arn": ctx.arn(f"vpc/{ident}"),
            "ownerId": found["OwnerId"],
            "dhcpOptionsId": found.get("DhcpOptionsId"),
            "defaultNetworkAclId": next((acl["NetworkAclId"] for acl in acls if acl.get("IsDefault")), None),
            "defaultSecurityGroupId": groups[0]["GroupId"] if groups else None,
            "defaultRouteTableId": main,
            "mainRouteTableId": main,
            "tags": tag_map(found.get("Tags")),
        }

    @staticmethod
    def _attribute(ctx: Context, ident: str, name: str) -> bool:
        answer = ctx.client().describe_vpc_attribute(VpcId=ident, Attribute=name)
        return bool(answer[name[0].upper() + name[1:]]["Value"])

    def delete(self, ctx: Context, ident: str, state: Inputs) -> None:
        ctx.client().delete_vpc(VpcId=ident)


def _check_cidr(inputs: Inputs, shortest: int, longest: int) -> list[Problem]:
    cidr = inputs.get("cidrBlock")
    if cidr is None or isinstance(cidr, Unknown):
        return []
    try:
        block = IPv4Network(cidr)
    except ValueError as error:
        return [Problem("cidrBlock", f"cidrBlock: {error}")]
    if not shortest <= block.prefixlen <= longest:
        return [Problem("cidrBlock", f"cidrBlock = {cidr} must be a /{shortest} to /{longest} (InvalidVpc.Range)")]
    return []


class Subnet(_Taggable):
    """`aws.ec2.Subnet`, IPv4 only."""

    token = "aws:ec2/subnet:Subnet"
    kind = "subnet"
    props = {
        "vpcId": text(required=True, force_new=True),
        "cidrBlock": text(required=True, force_new=True),
        "availabilityZone": text(computed=True, force_new=True),
        "availabilityZoneId": text(computed=True, force_new=True),
        "mapPublicIpOnLaunch": flag(default=False),
        "privateDnsHostnameTypeOnLaunch": text(computed=True, choices=("ip-name", "resource-name")),
        "enableResourceNameDnsARecordOnLaunch": flag(default=False),
    }
    outputs = ("arn", "ownerId")
    delete_first = True  # two subnets cannot share addresses
    missing = ("InvalidSubnetID.NotFound",)

    def check(self, inputs: Inputs) -> list[Problem]:
        return _check_cidr(inputs, 16, 28)

    def create(self, ctx: Context, inputs: Inputs) -> str:
        self._refuse_overlap(ctx, inputs)
        parameters = given(
            VpcId=inputs["vpcId"],
            CidrBlock=inputs["cidrBlock"],
            AvailabilityZone=inputs.get("availabilityZone"),
            AvailabilityZoneId=inputs.get("availabilityZoneId"),
        )
        return str(ctx.client().create_subnet(**parameters, **self.specification(ctx, inputs))["Subnet"]["SubnetId"])

    @staticmethod
    def _refuse_overlap(ctx: Context, inputs: Inputs) -> None:
        ec2, block = ctx.client(), IPv4Network(inputs["cidrBlock"])
        vpc = ec2.describe_vpcs(VpcIds=[inputs["vpcId"]])["Vpcs"][0]
        if not block.subnet_of(IPv4Network(vpc["CidrBlock"])):
            raise ProviderError(f"InvalidSubnet.Range: {block} is not inside the VPC's {vpc['CidrBlock']}")
        for other in ec2.describe_subnets(Filters=[{"Name": "vpc-id", "Values": [inputs["vpcId"]]}])["Subnets"]:
            if block.overlaps(IPv4Network(other["CidrBlock"])):
                raise ProviderError(f"InvalidSubnet.Conflict: {block} overlaps {other['CidrBlock']} of {other['SubnetId']}")

    def configure(self, ctx: Context, ident: str, inputs: Inputs) -> None:
        ec2 = ctx.client()
        ec2.modify_subnet_attribute(SubnetId=ident, MapPublicIpOnLaunch={"Value": inputs["mapPublicIpOnLaunch"]})
        record = inputs["enableResourceNameDnsARecordOnLaunch"]
        ec2.modify_subnet_attribute(SubnetId=ident, EnableResourceNameDnsARecordOnLaunch={"Value": record})
        if inputs.get("privateDnsHostnameTypeOnLaunch"):
            ec2.modify_subnet_attribute(SubnetId=ident, PrivateDnsHostnameTypeOnLaunch=inputs["privateDnsHostnameTypeOnLaunch"])

    def read(self, ctx: Context, ident: str, known: Inputs) -> State | None:
        found = _only(ctx.client().describe_subnets(SubnetIds=[ident])["Subnets"])
        if found is None:
            return None
        names = found.get("PrivateDnsNameOptionsOnLaunch", {})
        return {
            "vpcId": found["VpcId"],
            "cidrBlock": found["CidrBlock"],
            "availabilityZone": found["AvailabilityZone"],
            "availabilityZoneId": found["AvailabilityZoneId"],
            "mapPublicIpOnLaunch": found["MapPublicIpOnLaunch"],
            "privateDnsHostnameTypeOnLaunch": names.get("HostnameType"),
            "enableResourceNameDnsARecordOnLaunch": names.get("EnableResourceNameDnsARecord", False),
            "arn": found["SubnetArn"],
            "ownerId": found["OwnerId"],
            "tags": tag_map(found.get("Tags")),
        }

    def delete(self, ctx: Context, ident: str, state: Inputs) -> None:
        ctx.client().delete_subnet(SubnetId=ident)


class InternetGateway(_Taggable):
    """`aws.ec2.InternetGateway`."""

    token = "aws:ec2/internetGateway:InternetGateway"
    kind = "internet-gateway"
    props = {"vpcId": text(computed=True)}
    outputs = ("arn", "ownerId")
    missing = ("InvalidInternetGatewayID.NotFound",)

    def create(self, ctx: Context, inputs: Inputs) -> str:
        answer = ctx.client().create_internet_gateway(**self.specification(ctx, inputs))
        return str(answer["InternetGateway"]["InternetGatewayId"])

    def configure(self, ctx: Context, ident: str, inputs: Inputs) -> None:
        wanted, attached = inputs.get("vpcId"), self._attached(ctx, ident)
        if attached and wanted and attached != wanted:
            ctx.client().detach_internet_gateway(InternetGatewayId=ident, VpcId=attached)
        if wanted and attached != wanted:
            ctx.client().attach_internet_gateway(InternetGatewayId=ident, VpcId=wanted)

    @staticmethod
    def _attached(ctx: Context, ident: str) -> str | None:
        found = ctx.client().describe_internet_gateways(InternetGatewayIds=[ident])["InternetGateways"]
        return next((str(link["VpcId"]) for gateway in found for link in gateway.get("Attachments", [])), None)

    def read(self, ctx: Context, ident: str, known: Inputs) -> State | None:
        found = _only(ctx.client().describe_internet_gateways(InternetGatewayIds=[ident])["InternetGateways"])
        if found is None:
            return None
        return {
            "vpcId": next((link["VpcId"] for link in found.get("Attachments", [])), None),
            "arn": ctx.arn(f"internet-gateway/{ident}"),
            "ownerId": found["OwnerId"],
            "tags": tag_map(found.get("Tags")),
        }

    def delete(self, ctx: Context, ident: str, state: Inputs) -> None:
        attached = self._attached(ctx, ident)
        if attached:
            ctx.client().detach_internet_gateway(InternetGatewayId=ident, VpcId=attached)
        ctx.client().delete_internet_gateway(InternetGatewayId=ident)


def _table(ctx: Context, ident: str) -> dict[str, Any] | None:
    return _only(ctx.client().describe_route_tables(RouteTableIds=[ident])["RouteTables"])


class RouteTable(_Taggable):
    """`aws.ec2.RouteTable`; its routes are `Route` resources."""

    token = "aws:ec2/routeTable:RouteTable"
    kind = "route-table"
    props = {"vpcId": text(required=True, force_new=True)}
    outputs = ("arn", "ownerId", "routes", "propagatingVgws")
    missing = ("InvalidRouteTableID.NotFound",)

    def create(self, ctx: Context, inputs: Inputs) -> str:
        answer = ctx.client().create_route_table(VpcId=inputs["vpcId"], **self.specification(ctx, inputs))
        return str(answer["RouteTable"]["RouteTableId"])

    def read(self, ctx: Context, ident: str, known: Inputs) -> State | None:
        found = _table(ctx, ident)
        if found is None:
            return None
        return {
            "vpcId": found["VpcId"],
            "arn": ctx.arn(f"route-table/{ident}"),
            "ownerId": found["OwnerId"],
            # As pulumi-aws: what `Route` resources added is theirs to report, and would be drift here.
            "routes": known.get("routes", []),
            "propagatingVgws": [],
            "tags": tag_map(found.get("Tags")),
        }

    def delete(self, ctx: Context, ident: str, state: Inputs) -> None:
        ctx.client().delete_route_table(RouteTableId=ident)


class Route(Resource):
    """`aws.ec2.Route` to an internet or NAT gateway; its id is `<table>_<destination>`, by which pulumi-aws imports it."""

    token = "aws:ec2/route:Route"
    service = "ec2"
    props = {
        "routeTableId": text(required=True, force_new=True),
        "destinationCidrBlock": text(required=True, force_new=True),
        "gatewayId": text(),
        "natGatewayId": text(),
    }
    outputs = ("origin", "state")
    delete_first = True
    missing = ("InvalidRouteTableID.NotFound", "InvalidRoute.NotFound")

    def check(self, inputs: Inputs) -> list[Problem]:
        targets = [name for name in ("gatewayId", "natGatewayId") if inputs.get(name)]
        return [] if len(targets) == 1 else [Problem("gatewayId", "a route has exactly one of gatewayId, natGatewayId")]

    @staticmethod
    def _key(ident: str, known: Inputs) -> tuple[str, str]:
        if known.get("routeTableId"):
            return known["routeTableId"], known["destinationCidrBlock"]
        table, _, destination = ident.partition("_")
        return table, destination

    @staticmethod
    def _target(inputs: Inputs) -> dict[str, str]:
        return given(GatewayId=inputs.get("gatewayId"), NatGatewayId=inputs.get("natGatewayId"))

    @staticmethod
    def _find(ctx: Context, table: str, destination: str) -> dict[str, Any] | None:
        routes = (_table(ctx, table) or {}).get("Routes", [])
        return next((route for route in routes if route.get("DestinationCidrBlock") == destination), None)

    def create(self, ctx: Context, inputs: Inputs) -> str:
        table, destination = inputs["routeTableId"], inputs["destinationCidrBlock"]
        ctx.client().create_route(RouteTableId=table, DestinationCidrBlock=destination, **self._target(inputs))
        return f"{table}_{destination}"

    def read(self, ctx: Context, ident: str, known: Inputs) -> State | None:
        table, destination = self._key(ident, known)
        found = self._find(ctx, table, destination)
        if found is None:
            return None
        return {
            "routeTableId": table,
            "destinationCidrBlock": destination,
            "gatewayId": found.get("GatewayId"),
            "natGatewayId": found.get("NatGatewayId"),
            "origin": found.get("Origin"),
            "state": found.get("State"),
        }

    def update(self, ctx: Context, ident: str, old: Inputs, new: Inputs, changed: frozenset[str]) -> None:
        ctx.client().replace_route(RouteTableId=new["routeTableId"], DestinationCidrBlock=new["destinationCidrBlock"], **self._target(new))

    def delete(self, ctx: Context, ident: str, state: Inputs) -> None:
        table, destination = self._key(ident, state)
        ctx.client().delete_route(RouteTableId=table, DestinationCidrBlock=destination)


class RouteTableAssociation(Resource):
    """`aws.ec2.RouteTableAssociation` of a subnet. Imported as `<subnet>/<table>`, as in pulumi-aws, or by its id."""

    token = "aws:ec2/routeTableAssociation:RouteTableAssociation"
    service = "ec2"
    props = {"subnetId": text(required=True, force_new=True), "routeTableId": text(required=True)}
    delete_first = True
    missing = ("InvalidAssociationID.NotFound", "InvalidRouteTableID.NotFound")

    @staticmethod
    def _associations(ctx: Context, filters: list[dict[str, Any]]) -> list[dict[str, Any]]:
        tables = ctx.client().describe_route_tables(Filters=filters)["RouteTables"]
        return [link for table in tables for link in table.get("Associations", []) if link.get("SubnetId")]

    def _of_subnet(self, ctx: Context, subnet: str) -> dict[str, Any] | None:
        found = self._associations(ctx, [{"Name": "association.subnet-id", "Values": [subnet]}])
        return next((link for link in found if link["SubnetId"] == subnet), None)

    def create(self, ctx: Context, inputs: Inputs) -> str:
        present = self._of_subnet(ctx, inputs["subnetId"])
        if present:
            raise ProviderError(f"Resource.AlreadyAssociated: {inputs['subnetId']} is associated with {present['RouteTableId']} already")
        answer = ctx.client().associate_route_table(SubnetId=inputs["subnetId"], RouteTableId=inputs["routeTableId"])
        return str(answer["AssociationId"])

    def read(self, ctx: Context, ident: str, known: Inputs) -> State | None:
        found = self._find(ctx, ident, known)
        if found is None:
            return None
        return {"id": found["RouteTableAssociationId"], "subnetId": found["SubnetId"], "routeTableId": found["RouteTableId"]}

    def _find(self, ctx: Context, ident: str, known: Inputs) -> dict[str, Any] | None:
        subnet = known.get("subnetId") or (ident.partition("/")[0] if "/" in ident else None)
        if subnet:  # an association replaced behind our back has another id
            return self._of_subnet(ctx, subnet)
        found = self._associations(ctx, [{"Name": "association.route-table-association-id", "Values": [ident]}])
        return next((link for link in found if link["RouteTableAssociationId"] == ident), None)

    def update(self, ctx: Context, ident: str, old: Inputs, new: Inputs, changed: frozenset[str]) -> None:
        self.delete(ctx, ident, old)
        self.create(ctx, new)

    def delete(self, ctx: Context, ident: str, state: Inputs) -> None:
        found = self._find(ctx, ident, state)
        if found:
            ctx.client().disassociate_route_table(AssociationId=found["RouteTableAssociationId"])


class Eip(_Taggable):
    """`aws.ec2.Eip`; its id is the allocation id."""

    token = "aws:ec2/eip:Eip"
    kind = "elastic-ip"
    props = {"domain": text(computed=True, force_new=True, choices=("vpc",))}
    outputs = ("arn", "allocationId", "associationId", "publicIp", "publicDns", "privateIp", "ptrRecord")
    missing = ("InvalidAllocationID.NotFound",)

    def create(self, ctx: Context, inputs: Inputs) -> str:
        return str(ctx.client().allocate_address(Domain="vpc", **self.specification(ctx, inputs))["AllocationId"])

    def read(self, ctx: Context, ident: str, known: Inputs) -> State | None:
        found = _only(ctx.client().describe_addresses(AllocationIds=[ident])["Addresses"])
        if found is None:
            return None
        address = found["PublicIp"]
        return {
            "domain": found["Domain"],
            "arn": ctx.arn(f"elastic-ip/{ident}"),
            "allocationId": ident,
            "associationId": found.get("AssociationId", ""),
            "publicIp": address,
            "publicDns": f"ec2-{address.replace('.', '-')}.compute-1.amazonaws.com",
            "privateIp": found.get("PrivateIpAddress", ""),
            "ptrRecord": "",
            "tags": tag_map(found.get("Tags")),
        }

    def delete(self, ctx: Context, ident: str, state: Inputs) -> None:
        ctx.client().release_address(AllocationId=ident)


class NatGateway(_Taggable):
    """`aws.ec2.NatGateway`, public or private, in one subnet."""

    token = "aws:ec2/natGateway:NatGateway"
    kind = "natgateway"
    props = {
        "subnetId": text(required=True, force_new=True),
        "allocationId": text(force_new=True, unreported=True),
        "connectivityType": text(default="public", force_new=True, choices=("public", "private")),
    }
    outputs = ("publicIp", "privateIp", "networkInterfaceId", "associationId")
    missing = ("NatGatewayNotFound",)

    def check(self, inputs: Inputs) -> list[Problem]:
        if inputs["connectivityType"] == "public" and not inputs.get("allocationId"):
            return [Problem("allocationId", "a public NAT gateway needs the allocationId of an elastic IP")]
        return []

    def create(self, ctx: Context, inputs: Inputs) -> str:
        parameters = given(
            SubnetId=inputs["subnetId"], AllocationId=inputs.get("allocationId"), ConnectivityType=inputs["connectivityType"]
        )
        return str(ctx.client().create_nat_gateway(**parameters, **self.specification(ctx, inputs))["NatGateway"]["NatGatewayId"])

    def read(self, ctx: Context, ident: str, known: Inputs) -> State | None:
        found = _only(ctx.client().describe_nat_gateways(NatGatewayIds=[ident])["NatGateways"])
        if found is None or found["State"] in ("deleting", "deleted"):
            return None
        return {
            "subnetId": found["SubnetId"],
            "connectivityType": found["ConnectivityType"],
            "publicIp": self._public_ip(ctx, known.get("allocationId")),
            "privateIp": "",
            "networkInterfaceId": "",
            "associationId": "",
            "tags": tag_map(found.get("Tags")),
        }

    @staticmethod
    def _public_ip(ctx: Context, allocation: str | None) -> str:
        if not allocation:
            return ""
        found = ctx.client().describe_addresses(AllocationIds=[allocation])["Addresses"]
        return str(found[0]["PublicIp"]) if found else ""

    def delete(self, ctx: Context, ident: str, state: Inputs) -> None:
        ctx.client().delete_nat_gateway(NatGatewayId=ident)


class VpcEndpoint(_Taggable):
    """`aws.ec2.VpcEndpoint`, gateway or interface."""

    token = "aws:ec2/vpcEndpoint:VpcEndpoint"
    kind = "vpc-endpoint"
    props = {
        "vpcId": text(required=True, force_new=True),
        "serviceName": text(required=True, force_new=True),
        "vpcEndpointType": text(default="Gateway", force_new=True, choices=("Gateway", "Interface")),
        "routeTableIds": text_set(),
        "subnetIds": text_set(computed=True),
        "securityGroupIds": text_set(computed=True, unreported=True),
        "privateDnsEnabled": flag(computed=True, unreported=True),
        "policy": document(computed=True, unreported=True),
    }
    outputs = ("arn", "ownerId", "state", "prefixListId", "cidrBlocks", "networkInterfaceIds", "requesterManaged", "dnsEntries")
    missing = ("InvalidVpcEndpointId.NotFound",)

    def check(self, inputs: Inputs) -> list[Problem]:
        wrong = "routeTableIds" if inputs["vpcEndpointType"] == "Interface" else "subnetIds"
        if inputs.get(wrong):
            return [Problem(wrong, f"{wrong} does not go with an endpoint of type {inputs['vpcEndpointType']}")]
        service = inputs["serviceName"]
        if not isinstance(service, Unknown) and not service.startswith("com.amazonaws."):
            return [Problem("serviceName", f"InvalidServiceName: {service!r} is not like com.amazonaws.us-east-1.s3")]
        return []

    def create(self, ctx: Context, inputs: Inputs) -> str:
        parameters = given(
            VpcId=inputs["vpcId"],
            ServiceName=inputs["serviceName"],
            VpcEndpointType=inputs["vpcEndpointType"],
            RouteTableIds=inputs.get("routeTableIds") or None,
            SubnetIds=inputs.get("subnetIds") or None,
            SecurityGroupIds=inputs.get("securityGroupIds") or None,
            PrivateDnsEnabled=inputs.get("privateDnsEnabled"),
            PolicyDocument=inputs.get("policy"),
        )
        return str(ctx.client().create_vpc_endpoint(**parameters, **self.specification(ctx, inputs))["VpcEndpoint"]["VpcEndpointId"])

    def read(self, ctx: Context, ident: str, known: Inputs) -> State | None:
        found = _only(ctx.client().describe_vpc_endpoints(VpcEndpointIds=[ident])["VpcEndpoints"])
        if found is None:
            return None
        prefixes = ctx.client().describe_prefix_lists(Filters=[{"Name": "prefix-list-name", "Values": [found["ServiceName"]]}])[
            "PrefixLists"
        ]
        return {
            "vpcId": found["VpcId"],
            "serviceName": found["ServiceName"],
            "vpcEndpointType": found["VpcEndpointType"],
            "routeTableIds": sorted(found.get("RouteTableIds", [])),
            "subnetIds": sorted(found.get("SubnetIds", [])),
            "arn": ctx.arn(f"vpc-endpoint/{ident}"),
            "ownerId": found["OwnerId"],
            "state": found["State"],
            "prefixListId": prefixes[0]["PrefixListId"] if prefixes else None,
            "cidrBlocks": prefixes[0].get("Cidrs", []) if prefixes else [],
            "networkInterfaceIds": found.get("NetworkInterfaceIds", []),
            "requesterManaged": False,
            "dnsEntries": [],
            "tags": tag_map(found.get("Tags")),
        }

    def update(self, ctx: Context, ident: str, old: Inputs, new: Inputs, changed: frozenset[str]) -> None:
        parameters: dict[str, Any] = {}
        for name, singular in (("routeTableIds", "RouteTableIds"), ("subnetIds", "SubnetIds"), ("securityGroupIds", "SecurityGroupIds")):
            before, after = set(old.get(name) or []), set(new.get(name) or [])
            parameters[f"Add{singular}"] = sorted(after - before) or None
            parameters[f"Remove{singular}"] = sorted(before - after) or None
        parameters["PolicyDocument"] = new.get("policy") if "policy" in changed else None
        parameters["PrivateDnsEnabled"] = new.get("privateDnsEnabled") if "privateDnsEnabled" in changed else None
        ctx.client().modify_vpc_endpoint(VpcEndpointId=ident, **given(**parameters))

    def delete(self, ctx: Context, ident: str, state: Inputs) -> None:
        ctx.client().delete_vpc_endpoints(VpcEndpointIds=[ident])


# -- security groups

_RULE: Props = {
    "protocol": text(required=True),
    "fromPort": number(required=True),
    "toPort": number(required=True),
    "cidrBlocks": texts(),
    "ipv6CidrBlocks": texts(),
    "prefixListIds": texts(),
    "securityGroups": text_set(),
    "self": flag(),
    "description": text(),
}


def _permission(group: str, rule: Mapping[str, Any]) -> dict[str, Any]:
    """A rule of a security group's `ingress` or `egress` as EC2 takes it."""
    said = given(Description=rule.get("description") or None)
    groups = [*rule.get("securityGroups", []), *([group] if rule.get("self") else [])]
    ports = {} if rule["protocol"] == "-1" else {"FromPort": rule["fromPort"], "ToPort": rule["toPort"]}
    parts = {
        "IpRanges": [{"CidrIp": cidr, **said} for cidr in rule.get("cidrBlocks", [])],
        "Ipv6Ranges": [{"CidrIpv6": cidr, **said} for cidr in rule.get("ipv6CidrBlocks", [])],
        "PrefixListIds": [{"PrefixListId": prefix, **said} for prefix in rule.get("prefixListIds", [])],
        "UserIdGroupPairs": [{"GroupId": other, **said} for other in groups],
    }
    return {"IpProtocol": rule["protocol"], **ports, **{name: part for name, part in parts.items() if part}}


def _rule(group: str, permission: Mapping[str, Any]) -> dict[str, Any]:
    """EC2's permission as a rule of a security group's `ingress` or `egress`."""
    everything = permission["IpProtocol"] == "-1"
    pairs = [pair["GroupId"] for pair in permission.get("UserIdGroupPairs", [])]
    named = (
        item.get("Description", "")
        for part in ("IpRanges", "Ipv6Ranges", "PrefixListIds", "UserIdGroupPairs")
        for item in permission.get(part, [])
    )
    rule = {
        "protocol": permission["IpProtocol"],
        "fromPort": 0 if everything else permission.get("FromPort", 0),
        "toPort": 0 if everything else permission.get("ToPort", 0),
        "cidrBlocks": [item["CidrIp"] for item in permission.get("IpRanges", [])],
        "ipv6CidrBlocks": [item["CidrIpv6"] for item in permission.get("Ipv6Ranges", [])],
        "prefixListIds": [item["PrefixListId"] for item in permission.get("PrefixListIds", [])],
        "securityGroups": [other for other in pairs if other != group],
        "self": True if group in pairs else None,
        "description": next(named, ""),
    }
    return {name: value for name, value in rule.items() if value not in (None, "", [])}


def _rewrite_rules(ctx: Context, group: Mapping[str, Any], inputs: Inputs, directions: frozenset[str]) -> None:
    """Make a group's inline rules exactly the declared ones."""
    ec2, ident = ctx.client(), group["GroupId"]
    for direction in sorted(directions):
        present = group["IpPermissionsEgress" if direction == "egress" else "IpPermissions"]
        revoke, authorize = (getattr(ec2, f"{verb}_security_group_{direction}") for verb in ("revoke", "authorize"))
        if present:
            revoke(GroupId=ident, IpPermissions=[_writable(permission) for permission in present])
        wanted = [_permission(ident, rule) for rule in inputs.get(direction) or []]
        if wanted:
            authorize(GroupId=ident, IpPermissions=wanted)


def _writable(permission: Mapping[str, Any]) -> dict[str, Any]:
    """A described permission in the form that can be revoked."""
    return {name: value for name, value in permission.items() if value not in ([], None)}


def _group(ctx: Context, ident: str) -> dict[str, Any] | None:
    return _only(ctx.client().describe_security_groups(GroupIds=[ident])["SecurityGroups"])


def _group_state(ctx: Context, found: Mapping[str, Any]) -> State:
    ident = found["GroupId"]
    return {
        "name": found["GroupName"],
        "description": found["Description"],
        "vpcId": found["VpcId"],
        "ingress": [_rule(ident, permission) for permission in found.get("IpPermissions", [])],
        "egress": [_rule(ident, permission) for permission in found.get("IpPermissionsEgress", [])],
        "arn": ctx.arn(f"security-group/{ident}"),
        "ownerId": found["OwnerId"],
        "tags": tag_map(found.get("Tags")),
    }


class SecurityGroup(_Taggable):
    """`aws.ec2.SecurityGroup`, with inline rules or none: like pulumi-aws it takes AWS's own allow-all egress rule off."""

    token = "aws:ec2/securityGroup:SecurityGroup"
    kind = "security-group"
    props = {
        "name": text(force_new=True, autoname=True),
        "description": text(default="Managed by Pulumi", force_new=True),
        "vpcId": text(computed=True, force_new=True),
        "ingress": objects(_RULE, unordered=True, computed=True),
        "egress": objects(_RULE, unordered=True, computed=True),
        "revokeRulesOnDelete": flag(default=False, write_only=True),
    }
    outputs = ("arn", "ownerId")
    name_prop = "name"
    missing = ("InvalidGroup.NotFound", "InvalidGroupId.NotFound")

    def create(self, ctx: Context, inputs: Inputs) -> str:
        parameters = given(GroupName=inputs["name"], Description=inputs["description"], VpcId=inputs.get("vpcId"))
        return str(ctx.client().create_security_group(**parameters, **self.specification(ctx, inputs))["GroupId"])

    def configure(self, ctx: Context, ident: str, inputs: Inputs) -> None:
        _rewrite_rules(ctx, _group(ctx, ident) or {}, inputs, frozenset({"ingress", "egress"}))

    def read(self, ctx: Context, ident: str, known: Inputs) -> State | None:
        found = _group(ctx, ident)
        return None if found is None else _group_state(ctx, found)

    def update(self, ctx: Context, ident: str, old: Inputs, new: Inputs, changed: frozenset[str]) -> None:
        directions = {direction for direction in ("ingress", "egress") if direction in changed and direction in new}
        _rewrite_rules(ctx, _group(ctx, ident) or {}, new, frozenset(directions))

    def delete(self, ctx: Context, ident: str, state: Inputs) -> None:
        ctx.client().delete_security_group(GroupId=ident)


class DefaultSecurityGroup(_Taggable):
    """`aws.ec2.DefaultSecurityGroup`: adopts a VPC's default group and makes its rules the declared ones, none by default."""

    token = "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup"
    kind = "security-group"
    props = {
        "vpcId": text(required=True, force_new=True),
        "ingress": objects(_RULE, unordered=True),
        "egress": objects(_RULE, unordered=True),
        "revokeRulesOnDelete": flag(default=False, write_only=True),
    }
    outputs = ("arn", "ownerId", "name", "description")
    missing = ("InvalidGroup.NotFound", "InvalidGroupId.NotFound")

    def create(self, ctx: Context, inputs: Inputs) -> str:
        filters = [{"Name": "vpc-id", "Values": [inputs["vpcId"]]}, {"Name": "group-name", "Values": ["default"]}]
        found = _only(ctx.client().describe_security_groups(Filters=filters)["SecurityGroups"])
        if found is None:
            raise ProviderError(f"{inputs['vpcId']} has no default security group")
        return str(found["GroupId"])

    def configure(self, ctx: Context, ident: str, inputs: Inputs) -> None:
        _rewrite_rules(ctx, _group(ctx, ident) or {}, inputs, frozenset({"ingress", "egress"}))
        self.set_tags(ctx, ident, {}, ctx.tags(inputs), [])

    def read(self, ctx: Context, ident: str, known: Inputs) -> State | None:
        found = _group(ctx, ident)
        return None if found is None else _group_state(ctx, found)

    def update(self, ctx: Context, ident: str, old: Inputs, new: Inputs, changed: frozenset[str]) -> None:
        _rewrite_rules(ctx, _group(ctx, ident) or {}, new, changed & {"ingress", "egress"})

    def delete(self, ctx: Context, ident: str, state: Inputs) -> None:
        """AWS deletes it with its VPC."""


class _GroupRule(_Taggable):
    """One rule of a security group."""

    kind = "security-group-rule"
    direction: ClassVar[str]
    props = {
        "securityGroupId": text(required=True, force_new=True),
        "ipProtocol": text(required=True),
        "fromPort": number(),
        "toPort": number(),
        "cidrIpv4": text(),
        "cidrIpv6": text(),
        "prefixListId": text(),
        "referencedSecurityGroupId": text(),
        "description": text(),
    }
    outputs = ("arn", "securityGroupRuleId")
    missing = ("InvalidSecurityGroupRuleId.NotFound", "InvalidGroup.NotFound")

    def check(self, inputs: Inputs) -> list[Problem]:
        peers = ("cidrIpv4", "cidrIpv6", "prefixListId", "referencedSecurityGroupId")
        problems = []
        if sum(1 for name in peers if inputs.get(name)) != 1:
            problems.append(Problem("cidrIpv4", f"a rule has exactly one of {', '.join(peers)}"))
        if inputs["ipProtocol"] in ("tcp", "udp") and not {"fromPort", "toPort"} <= inputs.keys():
            problems.append(Problem("fromPort", f"a {inputs['ipProtocol']} rule needs fromPort and toPort"))
        if inputs["ipProtocol"] == "-1" and ("fromPort" in inputs or "toPort" in inputs):
            problems.append(Problem("fromPort", "a rule for all protocols (-1) has no ports"))
        return problems

    def create(self, ctx: Context, inputs: Inputs) -> str:
        group, permission = inputs["securityGroupId"], self._permission(inputs)
        if any(self._same(permission, other) for other in self._present(ctx, group)):
            raise ProviderError(f"InvalidPermission.Duplicate: {group} has this {self.direction} rule already")
        authorize = getattr(ctx.client(), f"authorize_security_group_{self.direction}")
        answer = authorize(GroupId=group, IpPermissions=[permission], **self.specification(ctx, inputs))
        return str(answer["SecurityGroupRules"][0]["SecurityGroupRuleId"])

    def _present(self, ctx: Context, group: str) -> list[dict[str, Any]]:
        found = _group(ctx, group) or {}
        return list(found.get("IpPermissionsEgress" if self.direction == "egress" else "IpPermissions", []))

    @staticmethod
    def _same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
        def key(permission: Mapping[str, Any]) -> tuple[Any, ...]:
            ports = (None, None) if permission["IpProtocol"] == "-1" else (permission.get("FromPort"), permission.get("ToPort"))
            peers = (
                (part, item[name])
                for part, name in (
                    ("IpRanges", "CidrIp"),
                    ("Ipv6Ranges", "CidrIpv6"),
                    ("PrefixListIds", "PrefixListId"),
                    ("UserIdGroupPairs", "GroupId"),
                )
                for item in permission.get(part, [])
            )
            return (permission["IpProtocol"], *ports, *sorted(peers))

        return key(one) == key(other)

    @staticmethod
    def _permission(inputs: Inputs) -> dict[str, Any]:
        said = given(Description=inputs.get("description"))
        found = given(IpProtocol=inputs["ipProtocol"], FromPort=inputs.get("fromPort"), ToPort=inputs.get("toPort"))
        if inputs.get("cidrIpv4"):
            found["IpRanges"] = [{"CidrIp": inputs["cidrIpv4"], **said}]
        elif inputs.get("cidrIpv6"):
            found["Ipv6Ranges"] = [{"CidrIpv6": inputs["cidrIpv6"], **said}]
        elif inputs.get("prefixListId"):
            found["PrefixListIds"] = [{"PrefixListId": inputs["prefixListId"], **said}]
        else:
            found["UserIdGroupPairs"] = [{"GroupId": inputs["referencedSecurityGroupId"], **said}]
        return found

    def read(self, ctx: Context, ident: str, known: Inputs) -> State | None:
        found = _only(ctx.client().describe_security_group_rules(SecurityGroupRuleIds=[ident])["SecurityGroupRules"])
        if found is None or found["IsEgress"] != (self.direction == "egress"):
            return None
        ports = found["IpProtocol"] != "-1"
        return {
            "securityGroupId": found["GroupId"],
            "ipProtocol": found["IpProtocol"],
            "fromPort": found.get("FromPort") if ports else None,
            "toPort": found.get("ToPort") if ports else None,
            "cidrIpv4": found.get("CidrIpv4"),
            "cidrIpv6": found.get("CidrIpv6"),
            "prefixListId": found.get("PrefixListId"),
            "referencedSecurityGroupId": found.get("ReferencedGroupInfo", {}).get("GroupId"),
            "description": found.get("Description"),
            "arn": found.get("SecurityGroupRuleArn") or ctx.arn(f"security-group-rule/{ident}"),
            "securityGroupRuleId": ident,
            "tags": tag_map(found.get("Tags")),
        }

    def update(self, ctx: Context, ident: str, old: Inputs, new: Inputs, changed: frozenset[str]) -> None:
        rule = given(
            IpProtocol=new["ipProtocol"],
            FromPort=new.get("fromPort"),
            ToPort=new.get("toPort"),
            CidrIpv4=new.get("cidrIpv4"),
            CidrIpv6=new.get("cidrIpv6"),
            PrefixListId=new.get("prefixListId"),
            ReferencedGroupId=new.get("referencedSecurityGroupId"),
            Description=new.get("description"),
        )
        ctx.client().modify_security_group_rules(
            GroupId=new["securityGroupId"], SecurityGroupRules=[{"SecurityGroupRuleId": ident, "SecurityGroupRule": rule}]
        )

    def delete(self, ctx: Context, ident: str, state: Inputs) -> None:
        revoke = getattr(ctx.client(), f"revoke_security_group_{self.direction}")
        revoke(GroupId=state["securityGroupId"], SecurityGroupRuleIds=[ident])


class SecurityGroupIngressRule(_GroupRule):
    """`aws.vpc.SecurityGroupIngressRule`."""

    token = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
    direction = "ingress"


class SecurityGroupEgressRule(_GroupRule):
    """`aws.vpc.SecurityGroupEgressRule`."""

    token = "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule"
    direction = "egress"


class FlowLog(_Taggable):
    """`aws.ec2.FlowLog` of a VPC or a subnet."""

    token = "aws:ec2/flowLog:FlowLog"
    kind = "vpc-flow-log"
    props = fixed(
        {
            "vpcId": text(),
            "subnetId": text(),
            "trafficType": text(required=True, choices=("ACCEPT", "REJECT", "ALL")),
            "logDestinationType": text(default="cloud-watch-logs", choices=("cloud-watch-logs", "s3")),
            "logDestination": text(required=True),
            "iamRoleArn": text(unreported=True),
            "maxAggregationInterval": number(default=600, choices=(60, 600), unreported=True),
            "logFormat": text(computed=True, unreported=True),
        }
    )
    outputs = ("arn",)
    missing = ("InvalidFlowLogId.NotFound",)

    def check(self, inputs: Inputs) -> list[Problem]:
        if len([name for name in ("vpcId", "subnetId") if inputs.get(name)]) != 1:
            return [Problem("vpcId", "a flow log has exactly one of vpcId, subnetId")]
        if inputs["logDestinationType"] == "cloud-watch-logs" and not inputs.get("iamRoleArn"):
            return [Problem("iamRoleArn", "a flow log to CloudWatch Logs needs iamRoleArn")]
        return []

    def create(self, ctx: Context, inputs: Inputs) -> str:
        answer = ctx.client().create_flow_logs(
            ResourceIds=[inputs.get("vpcId") or inputs["subnetId"]],
            ResourceType="VPC" if inputs.get("vpcId") else "Subnet",
            TrafficType=inputs["trafficType"],
            LogDestinationType=inputs["logDestinationType"],
            LogDestination=inputs["logDestination"],
            MaxAggregationInterval=inputs["maxAggregationInterval"],
            **given(DeliverLogsPermissionArn=inputs.get("iamRoleArn"), LogFormat=inputs.get("logFormat")),
            **self.specification(ctx, inputs),
        )
        failed = answer.get("Unsuccessful", [])
        if failed:
            raise ProviderError(f"{failed[0]['Error']['Code']}: {failed[0]['Error']['Message']}")
        return str(answer["FlowLogIds"][0])

    def configure(self, ctx: Context, ident: str, inputs: Inputs) -> None:
        self.set_tags(ctx, ident, {}, ctx.tags(inputs), [])  # the emulator drops the tags given at creation

    def read(self, ctx: Context, ident: str, known: Inputs) -> State | None:
        found = _only(ctx.client().describe_flow_logs(FlowLogIds=[ident])["FlowLogs"])
        if found is None:
            return None
        of_vpc = found["ResourceId"].startswith("vpc-")
        return {
            "vpcId": found["ResourceId"] if of_vpc else None,
            "subnetId": None if of_vpc else found["ResourceId"],
            "trafficType": found["TrafficType"],
            "logDestinationType": found["LogDestinationType"],
            "logDestination": found.get("LogDestination"),
            "arn": ctx.arn(f"vpc-flow-log/{ident}"),
            "tags": tag_map(found.get("Tags")),
        }

    def delete(self, ctx: Context, ident: str, state: Inputs) -> None:
        ctx.client().delete_flow_logs(FlowLogIds=[ident])


RESOURCES = (
    Vpc,
    Subnet,
    InternetGateway,
    RouteTable,
    Route,
    RouteTableAssociation,
    Eip,
    NatGateway,
    VpcEndpoint,
    SecurityGroup,
    DefaultSecurityGroup,
    SecurityGroupIngressRule,
    SecurityGroupEgressRule,
    FlowLog,
)
