"""Wires the components into the production stack, exports its outputs and publishes them.

`program` takes nothing but the stack's configuration, so that `pulumi up` typed by hand, our own commands and the sandbox run
the same thing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pulumi
from pulumi_aws.get_caller_identity import get_caller_identity_output

from amianai_infra.components.access import Access
from amianai_infra.components.audit import AuditLog
from amianai_infra.components.auth import Auth
from amianai_infra.components.boundary import RoleBoundary
from amianai_infra.components.database import Database, DatabaseArgs
from amianai_infra.components.database_proxy import DatabaseProxy
from amianai_infra.components.delivery import Delivery
from amianai_infra.components.dns import CARRIED, Dns, SiteRecords
from amianai_infra.components.network import Network
from amianai_infra.components.previews import Previews
from amianai_infra.components.static_site import StaticSite, StaticSiteArgs
from amianai_infra.components.tags import StackTags
from amianai_infra.config import Settings, every_setting, load_settings, to_pulumi
from amianai_infra.errors import ConfigurationError
from amianai_infra.naming import PROJECT, STACK, bucket_name, default_tags, preview_domain, stack_parameter, user_pool_domain
from amianai_infra.outputs import StackOutputs
from amianai_infra.rules.domains import site_names
from amianai_infra.rules.headers import cognito_origins, content_security_policy
from amianai_infra.rules.policies import previewer

# After the components: they prepare pulumi_aws so that this loads one module of `ssm` and not all (components/leaf_imports.py).
from pulumi_aws.ssm.parameter import Parameter  # isort: skip

_URN = f"urn:pulumi:{STACK}::{PROJECT}::"
DNS_URN = f"{_URN}amianai:dns:Dns::dns"
ZONE_URN = f"{_URN}amianai:dns:Dns$aws:route53/zone:Zone::dns-zone"
CARRIED_URNS = f"{_URN}amianai:dns:Dns$aws:route53/record:Record::dns-{CARRIED}-"
ZONE_TARGETS = (DNS_URN, ZONE_URN, f"{CARRIED_URNS}**")
"""What a targeted `up` makes first on AWS: the zone and what it carries over, so that the domain can be delegated, without a loss of its
mail, before a certificate is asked for."""
ADDRESS_URNS = (f"{_URN}amianai:dns:SiteRecords**",)
"""The site's address records, which come last."""
OVERWRITE = "amianai-run:overwriteAddresses"
"""Configuration of one run: address records that exist already are replaced. Nothing writes it into the stack file."""


def program() -> None:
    """The production stack, from the stack's configuration alone."""
    settings = read_settings()
    pulumi.runtime.register_stack_transformation(StackTags(default_tags(settings.tags)))
    if settings.iam.permissions_boundary:
        pulumi.runtime.register_stack_transformation(RoleBoundary(settings.iam.permissions_boundary))
    Production(settings, overwrite_addresses=pulumi.runtime.config.CONFIG.get().get(OVERWRITE) == "true").export()


def read_settings() -> Settings:
    """The settings as the engine's configuration holds them.

    Raises:
        ConfigurationError: a value is wrong, or the provider's region is not the stack's.
    """
    flat = dict(pulumi.runtime.config.get_config_env()) | dict(pulumi.runtime.config.CONFIG.get())
    settings = load_settings({}, {}, flat)
    region = flat.get("aws:region")
    if region and region != settings.region:
        raise ConfigurationError(
            f"The provider works in {region}, but the stack belongs in {settings.region}.",
            where="aws:region and amianai-infra:region of the stack's configuration",
            fix="run `amianai setup`, which writes both",
        )
    return settings


class Production:
    """The components of the stack, in the order of their dependencies.

    Args:
        settings: everything a person can choose.
        overwrite_addresses: address records that exist already are replaced.
    """

    def __init__(self, settings: Settings, *, overwrite_addresses: bool = False) -> None:
        self.settings = settings
        self._overwrite_addresses = overwrite_addresses
        self.account = get_caller_identity_output().account_id
        self.names = list(site_names(settings.domain_name))
        self.hosted_domain = settings.auth.hosted_domain or user_pool_domain(settings.prefix, settings.domain_name)

        self.network = self._network()
        self.database = self._database()
        self.proxy = self._proxy()
        self.audit = self._audit()
        self.access = self._access()
        self.auth = self._auth()
        self.dns = self._dns()
        self.site = self._site()
        self.previews = self._previews()
        self.delivery = self._delivery()
        self.parameter = self._publish()
        self.records = self._records()

    def _network(self) -> Network:
        chosen = self.settings.network
        return Network(
            "network",
            {
                "prefix": self.settings.prefix,
                "region": self.settings.region,
                "account": self.account,
                "cidr": str(chosen.cidr),
                "availability_zones": chosen.availability_zones,
                "nat": chosen.nat,
                "flow_log_days": chosen.flow_log_days,
            },
        )

    def _database(self) -> Database:
        chosen = self.settings.database
        cidrs = self.network.private_subnet_cidrs
        return Database(
            "database",
            {
                "prefix": self.settings.prefix,
                "account": self.account,
                "vpc_id": self.network.vpc_id,
                "subnet_ids": self.network.private_subnet_ids,
                "client_cidrs": [cidrs[index] for index in range(self.settings.network.availability_zones)],
                "database": chosen.name,
                **{name: getattr(chosen, name) for name in DatabaseArgs.__annotations__ if name in type(chosen).model_fields},  # type: ignore[typeddict-item]
            },
        )

    def _proxy(self) -> DatabaseProxy | None:
        """The proxy, where it is asked for."""
        chosen, database = self.settings.database, self.database
        if not chosen.proxy:
            return None
        cidrs = self.network.private_subnet_cidrs
        return DatabaseProxy(
            "proxy",
            {
                "prefix": self.settings.prefix,
                "account": self.account,
                "identifier": chosen.identifier,
                "resource_id": database.resource_id,
                "vpc_id": self.network.vpc_id,
                "subnet_ids": self.network.private_subnet_ids,
                "client_cidrs": [cidrs[index] for index in range(self.settings.network.availability_zones)],
                "secret_arns": [database.application_secret_arn, database.readonly_secret_arn],
                "port": chosen.port,
            },
            pulumi.ResourceOptions(depends_on=[database]),
        )

    def _audit(self) -> AuditLog:
        chosen = self.settings.audit
        return AuditLog(
            "audit",
            {
                "prefix": self.settings.prefix,
                "days": chosen.days,
                "deletion_protection": chosen.deletion_protection,
                "log_group": chosen.log_group,
            },
        )

    def _access(self) -> Access:
        cidrs = self.network.private_subnet_cidrs
        return Access(
            "access",
            {
                "prefix": self.settings.prefix,
                "region": self.settings.region,
                "account": self.account,
                "vpc_id": self.network.vpc_id,
                "route_table_ids": self.network.private_route_table_ids,
                "database_identifier": self.database.identifier,
                "database_security_group_id": self.database.security_group_id,
                "database_port": self.settings.database.port,
                "database_cidrs": [cidrs[index] for index in range(self.settings.network.availability_zones)],
                "alarm_email": self.settings.access.alarm_email,
            },
        )

    def _auth(self) -> Auth:
        chosen = self.settings.auth
        return Auth(
            "auth",
            {
                "prefix": self.settings.prefix,
                "region": self.settings.region,
                "domain": self.settings.domain_name,
                "hosted_domain": self.hosted_domain,
                "password_length": chosen.password_length,
                "mfa": chosen.mfa,
                "ses_identity_arn": chosen.ses_identity_arn,
                "return_urls": chosen.callback_urls,
                "development_urls": chosen.development_urls,
                "profile_attributes": chosen.profile_attributes,
                "self_sign_up": chosen.self_sign_up,
                "request_limit": chosen.request_limit,
                "user_pool_id": chosen.user_pool_id,
                "deletion_protection": chosen.deletion_protection,
            },
        )

    def _dns(self) -> Dns:
        settings, chosen = self.settings, self.settings.dns
        return Dns(
            "dns",
            {
                "prefix": settings.prefix,
                "account": self.account,
                "domain": settings.domain_name,
                "names": self.names,
                "zone_id": chosen.zone_id,
                "dnssec": chosen.dnssec,
                "query_logging": chosen.query_logging,
                "query_log_days": chosen.query_log_days,
                "records": chosen.records,
            },
        )

    def _site(self) -> StaticSite:
        return StaticSite("site", self._site_args())

    def _site_args(self) -> StaticSiteArgs:
        settings, chosen = self.settings, self.settings.site
        origins = (*cognito_origins(settings.region, self.hosted_domain), *chosen.connect_src)
        policy = chosen.content_security_policy or content_security_policy(origins, chosen.csp_sources)
        return {
            "prefix": settings.prefix,
            "account": self.account,
            "domain": settings.domain_name,
            "names": self.names,
            "certificate_arn": self.dns.certificate_arn,
            "bucket_name": bucket_name(settings.prefix, "site", settings.domain_name),
            "logs_bucket_name": bucket_name(settings.prefix, "logs", settings.domain_name),
            "content_security_policy": policy,
            "page_policies": not chosen.content_security_policy,
            "hsts_seconds": chosen.hsts_seconds,
            "hsts_include_subdomains": chosen.hsts_include_subdomains,
            "hsts_preload": chosen.hsts_preload,
            "price_class": chosen.price_class,
            "old_version_days": chosen.old_version_days,
            "log_days": chosen.log_days,
            "bucket_logging": chosen.bucket_logging,
        }

    def _previews(self) -> Previews | None:
        """Where previews of the site are published, where that is asked for."""
        settings = self.settings
        if not settings.site.previews:
            return None
        domain = preview_domain(settings.domain_name)
        site: StaticSiteArgs = {
            **self._site_args(),
            "prefix": f"{settings.prefix}-preview",
            "bucket_name": bucket_name(settings.prefix, "preview", settings.domain_name),
            "logs_bucket_name": bucket_name(settings.prefix, "preview-logs", settings.domain_name),
            "old_version_days": 1,
        }
        return Previews("previews", {"domain": domain, "zone_id": self.dns.zone_id, "site": site})

    def _records(self) -> SiteRecords:
        return SiteRecords(
            "records",
            {
                "zone_id": self.dns.zone_id,
                "names": self.names,
                "distribution_domain": self.site.distribution_domain,
                "distribution_zone_id": self.site.distribution_zone_id,
                "overwrite": self._overwrite_addresses,
            },
            # Last of all, together: the names lead to a whole stack, or where they led before.
            pulumi.ResourceOptions(depends_on=[self.parameter]),
        )

    def _delivery(self) -> Delivery | None:
        """The deploy role, once an owner and a repository are known."""
        settings, chosen = self.settings, self.settings.delivery
        if not (settings.github_username and chosen.repository):
            return None
        parameter = pulumi.Output.concat("arn:aws:ssm:", settings.region, ":", self.account, ":parameter", stack_parameter(settings.prefix))
        return Delivery(
            "delivery",
            {
                "prefix": settings.prefix,
                "owner": settings.github_username,
                "repository": chosen.repository,
                "bucket_arn": self.site.bucket_arn,
                "distribution_arn": self.site.distribution_arn,
                "parameter_arn": parameter,
                "routes_arn": self.site.routes_arn,
                "branch": chosen.branch,
                "environment": chosen.environment,
                "oidc_provider_arn": chosen.oidc_provider_arn,
                "previews_policy": self._previews_policy(self.previews.site, parameter) if self.previews else None,
            },
        )

    def _previews_policy(self, previews: StaticSite, parameter: pulumi.Output[str]) -> pulumi.Output[Any]:
        named = (previews.bucket_arn, previews.distribution_arn, previews.routes_arn, self.site.bucket_arn, parameter)
        return pulumi.Output.all(*named).apply(lambda arns: previewer(*arns))

    def outputs(self) -> dict[str, Any]:
        """What the stack tells about itself, in the shape of `StackOutputs`."""
        settings = self.settings
        return {
            "version": 1,
            "domain": settings.domain_name,
            "region": settings.region,
            "account": self.account,
            "prefix": settings.prefix,
            "deploy_role_arn": self.delivery.role_arn if self.delivery else "",
            "site": {
                "bucket": self.site.bucket_name,
                "distribution_id": self.site.distribution_id,
                "distribution_domain": self.site.distribution_domain,
                "distribution_arn": self.site.distribution_arn,
                "url": f"https://{settings.domain_name}/",
                "routes_arn": self.site.routes_arn,
                "headers": self.site.headers,
                "page_policies": int(self.site.page_policies),
            },
            "previews": self._previews_outputs(),
            "database": {
                "identifier": self.database.identifier,
                "host": self.database.host,
                "port": self.database.port,
                "name": settings.database.name,
                "username": settings.database.username,
                "secret_arn": self.database.secret_arn,
                "security_group_id": self.database.security_group_id,
                "resource_id": self.database.resource_id,
                "instance_class": settings.database.instance_class,
                "subnet_ids": self.network.private_subnet_ids,
                "application_secret_arn": self.database.application_secret_arn,
                "readonly_secret_arn": self.database.readonly_secret_arn,
                "proxy_host": self.proxy.host if self.proxy else "",
                "replica_hosts": self.database.replica_hosts,
                "migrator_secret_arn": self.database.migrator_secret_arn,
            },
            "audit_log_group": self.audit.name,
            "access": {
                "schedule_group": self.access.schedule_group,
                "scheduler_role_arn": self.access.scheduler_role_arn,
                "dead_letter_arn": self.access.dead_letter_arn,
                "topic_arn": self.access.topic_arn,
                "launch_template_id": self.access.launch_template_id,
                "bastion_security_group_id": self.access.bastion_security_group_id,
            },
            "auth": {
                "user_pool_id": self.auth.user_pool_id,
                "client_id": self.auth.client_id,
                "issuer": self.auth.issuer,
                "hosted_domain": self.auth.hosted_domain,
                "development_client_id": self.auth.development_client_id,
            },
            "dns": {
                "zone_id": self.dns.zone_id,
                "name_servers": self.dns.name_servers,
                "certificate_arn": self.dns.certificate_arn,
                "ds_record": self.dns.ds_record,
            },
            "network": {
                "vpc_id": self.network.vpc_id,
                "internet_gateway_id": self.network.internet_gateway_id,
                "public_subnet_ids": self.network.public_subnet_ids,
                "private_subnet_ids": self.network.private_subnet_ids,
                "private_route_table_ids": self.network.private_route_table_ids,
            },
        }

    def _previews_outputs(self) -> dict[str, Any]:
        if self.previews is None:
            return {}
        site = self.previews.site
        return {
            "domain": self.previews.domain,
            "bucket": site.bucket_name,
            "distribution_id": site.distribution_id,
            "distribution_domain": site.distribution_domain,
            "routes_arn": site.routes_arn,
            "role_arn": self.delivery.previews_role_arn if self.delivery else "",
        }

    def _publish(self) -> Parameter:
        """The outputs as one SSM parameter, once everything they name is there."""
        return Parameter(
            "outputs",
            name=stack_parameter(self.settings.prefix),
            description=f"What the stack of {self.settings.domain_name} tells about itself; no secrets",
            type="String",
            value=pulumi.Output.from_input(self.outputs()).apply(_published),
            opts=pulumi.ResourceOptions(depends_on=[self.site, self.database, self.auth, self.audit, self.access]),
        )

    def export(self) -> None:
        """Export the outputs."""
        for name, value in self.outputs().items():
            pulumi.export(name, value)
        pulumi.export("settings", to_pulumi(self.settings, {setting.pulumi for setting in every_setting()}))


def _published(found: Mapping[str, Any]) -> str:
    return json.dumps(StackOutputs.model_validate(found).model_dump(), separators=(",", ":"), sort_keys=True)
