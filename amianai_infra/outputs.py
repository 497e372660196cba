"""What the stack publishes about itself: the JSON in SSM parameter `/<prefix>/stack`.

Operations read this instead of the engine's state. It holds no secret: the database's password is named by the ARN of
the Secrets Manager secret that holds it.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class SiteOutputs(_Part):
    """Where the site lives."""

    bucket: str
    distribution_id: str
    distribution_domain: str
    distribution_arn: str
    url: str


class DatabaseOutputs(_Part):
    """Where the database listens and which secret opens it."""

    identifier: str
    host: str
    port: int
    name: str
    username: str
    secret_arn: str
    security_group_id: str
    resource_id: str
    instance_class: str
    subnet_ids: list[str]


class AuthOutputs(_Part):
    """What an application needs to sign people in."""

    user_pool_id: str
    client_id: str
    issuer: str
    hosted_domain: str


class DnsOutputs(_Part):
    """The zone and the name servers to enter at the registrar."""

    zone_id: str
    name_servers: list[str]
    certificate_arn: str


class NetworkOutputs(_Part):
    """The VPC and its subnets, one per availability zone, in order."""

    vpc_id: str
    internet_gateway_id: str
    public_subnet_ids: list[str]
    private_subnet_ids: list[str]
    private_route_table_ids: list[str]


class StackOutputs(_Part):
    """All published outputs of the production stack."""

    version: int = 1
    domain: str
    region: str
    account: str
    prefix: str
    site: SiteOutputs
    database: DatabaseOutputs
    auth: AuthOutputs
    dns: DnsOutputs
    network: NetworkOutputs
