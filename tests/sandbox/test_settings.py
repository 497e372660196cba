"""Every setting, changed on a built stack and taken back, or refused before anything changed: `pytest -m settings`.

What this cannot prove: that AWS takes every value, and how the official provider computes its differences. Settings are changed several at
a time, those of one batch on different properties: what a change needs that another one of its batch brings is not seen here.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from amianai_infra.cli.main import cli
from amianai_infra.cli.options import App
from amianai_infra.config import Settings, every_setting, text_of
from amianai_infra.naming import role_secret_name
from tests.project import Project, copy_project

# Of a refused plan Pulumi leaves outputs that nobody awaits, in this process; any test may be the one in which the collector finds them.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

DOMAIN = "example.test"
ALL = "every resource"
SECRET = "4dabf18193072939515e22adb298388d"
TOKENS = "token.actions.githubusercontent.com"


@dataclass
class Stack(Project):
    """The stack, driven through the command line in this process, and seen by clients of its own.

    Attributes:
        given: what is set beside the defaults, because the settings in turn need it.
        known: the variables of `sandbox env`, asked for once.
        outcomes: what became of each batch, or how it failed.
    """

    given: dict[str, str] = field(default_factory=dict)
    known: dict[str, str] = field(default_factory=dict)
    outcomes: dict[str, Outcome | BaseException] = field(default_factory=dict)

    def variables(self) -> dict[str, str]:
        if not self.known:
            self.known.update(super().variables())
        return dict(self.known)

    def amianai(self, *words: str, code: int = 0) -> tuple[str, str]:
        """Standard output and standard error of one command."""
        ambient = {name: None for name in os.environ if name.startswith(("AWS_", "PULUMI_", "AMIANAI_", "DOMAIN_", "GITHUB_"))}
        kept = {name: os.environ[name] for name in ("AMIANAI_CACHE",) if name in os.environ}
        runner = CliRunner(env={**ambient, **kept, "AMIANAI_ROOT": str(self.root), "GREETING": "hello"})
        done = runner.invoke(cli, ["--sandbox", "--json", *words])
        assert done.exit_code == code, f"{words}: exit {done.exit_code}\n{done.stdout}\n{done.stderr}"
        return done.stdout, done.stderr

    def up(self, values: Mapping[str, str]) -> set[str]:
        """Bring the stack to these values; gives the names of the resources that changed."""
        sets = [word for key, value in values.items() for word in ("--set", f"{key}={value}")]
        summary = json.loads(self.amianai(*sets, "up", "--yes", "--confirm", DOMAIN)[0])
        return {step["name"] for step in summary["steps"] if step["op"] not in ("same", "read")}

    def need(self, given: Mapping[str, str]) -> None:
        """Have exactly this set beside the defaults."""
        if self.given != dict(given):
            plain = self.settings_of({})
            back = {setting.key: text_of(plain, setting) for setting in every_setting() if setting.key in self.given}
            self.up({**back, **given})
            self.given = dict(given)

    def settings_of(self, environ: Mapping[str, str] | None = None) -> Settings:
        """What the stack file says; with `environ`, what the defaults say."""
        app = App(sandbox=True, environ={"AMIANAI_ROOT": str(self.root)})
        if environ is not None:
            app.config_file = self.root / "empty.yaml"
            app.config_file.write_text("config: {}\n")
        return app.settings

    @property
    def file(self) -> Path:
        return self.root / ".sandbox/project/Pulumi.prod.yaml"

    @property
    def checkpoint(self) -> Path:
        return self.root / ".sandbox/state/.pulumi/stacks/amianai-infra/prod.json"

    def resources(self) -> dict[str, Any]:
        """Id, inputs and outputs of every resource in the state, by its name."""
        held = json.loads(self.checkpoint.read_text())["checkpoint"]["latest"]["resources"]
        parts = ("id", "inputs", "outputs", "protect")
        return {f"{one['type']} {one['urn'].rpartition('::')[2]}": _masked({part: one.get(part) for part in parts}) for one in held}

    def inputs(self, name: str) -> Any:
        return next(one["inputs"] for key, one in self.resources().items() if key.endswith(f" {name}"))


COUNTERS = frozenset(["version", "latestVersion", "etag", "liveStageEtag", "lastModified", "lastModifiedDate", "lastModifiedTime"])
LATE = frozenset({"status", "ingress", "egress"})
"""Whether a function is in use yet, and the rules of a group, which are resources of their own: told when it is read again."""


def _masked(value: Any) -> Any:
    """Without the text of secrets, which is encrypted anew every time, what counts the changes, and what is told late."""
    if isinstance(value, dict):
        return "secret" if SECRET in value else {key: _masked(one) for key, one in value.items() if key not in COUNTERS | LATE}
    return [_masked(one) for one in value] if isinstance(value, list) else value


# How an independent client sees what a setting did.


def database(key: str) -> Callable[[Stack], Any]:
    """What the instance has, or will have from the next maintenance window on."""

    def look(stack: Stack) -> Any:
        (found,) = stack.aws("rds").describe_db_instances(DBInstanceIdentifier="eeyore-postgres")["DBInstances"]
        return {**found, **found.get("PendingModifiedValues", {})}.get(key)

    return look


def databases(stack: Stack) -> list[str]:
    return sorted(one["DBInstanceIdentifier"] for one in stack.aws("rds").describe_db_instances()["DBInstances"])


def slow_statements(stack: Stack) -> str:
    found = stack.aws("rds").describe_db_parameters(DBParameterGroupName="eeyore-postgres-postgres16")["Parameters"]
    return next(str(one["ParameterValue"]) for one in found if one["ParameterName"] == "log_min_duration_statement")


def secrets(stack: Stack) -> set[str]:
    return {one["Name"].partition("!")[0] for one in stack.aws("secretsmanager").list_secrets()["SecretList"]}


def migrator(stack: Stack) -> bool:
    return any(one["Name"].endswith("/migrator") for one in stack.aws("secretsmanager").list_secrets()["SecretList"])


def rotation(stack: Stack) -> int:
    secret = stack.aws("secretsmanager").describe_secret(SecretId=role_secret_name("eeyore", "eeyore-postgres", "owner"))
    return int(secret["RotationRules"]["AutomaticallyAfterDays"])


def kept_for(group: str) -> Callable[[Stack], Any]:
    return lambda stack: stack.aws("logs").describe_log_groups(logGroupNamePrefix=group)["logGroups"][0]["retentionInDays"]


def gateways(stack: Stack) -> int:
    return sum(one["State"] != "deleted" for one in stack.aws("ec2").describe_nat_gateways()["NatGateways"])


def pool(*path: str) -> Callable[[Stack], Any]:
    def look(stack: Stack) -> Any:
        client = stack.aws("cognito-idp")
        ident = client.list_user_pools(MaxResults=10)["UserPools"][0]["Id"]
        return _below(client.describe_user_pool(UserPoolId=ident)["UserPool"], path)

    return look


def application(name: str, key: str) -> Callable[[Stack], Any]:
    def look(stack: Stack) -> Any:
        client = stack.aws("cognito-idp")
        ident = client.list_user_pools(MaxResults=10)["UserPools"][0]["Id"]
        named = {one["ClientName"]: one["ClientId"] for one in client.list_user_pool_clients(UserPoolId=ident)["UserPoolClients"]}
        if name not in named:
            return None
        return client.describe_user_pool_client(UserPoolId=ident, ClientId=named[name])["UserPoolClient"][key]

    return look


def limits(stack: Stack) -> list[str]:
    return [one["Name"] for one in stack.aws("wafv2").list_web_acls(Scope="REGIONAL")["WebACLs"]]


def distribution(key: str) -> Callable[[Stack], Any]:
    return lambda stack: stack.aws("cloudfront").list_distributions()["DistributionList"]["Items"][0][key]


def header(*path: str) -> Callable[[Stack], Any]:
    def look(stack: Stack) -> Any:
        found = stack.aws("cloudfront").list_response_headers_policies(Type="custom")["ResponseHeadersPolicyList"]["Items"]
        return _below(found[0]["ResponseHeadersPolicy"]["ResponseHeadersPolicyConfig"]["SecurityHeadersConfig"], path)

    return look


def calls(origin: str) -> Callable[[Stack], bool]:
    policy = header("ContentSecurityPolicy", "ContentSecurityPolicy")
    return lambda stack: origin in policy(stack)


def lifecycle(kind: str, *path: str) -> Callable[[Stack], Any]:
    def look(stack: Stack) -> Any:
        client = stack.aws("s3")
        bucket = next(one["Name"] for one in client.list_buckets()["Buckets"] if f"-{kind}-" in f"{one['Name']}-")
        return _below(client.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"][0], path)

    return look


def previewed(stack: Stack) -> bool:
    return f"*.preview.{DOMAIN}" in str(stack.aws("cloudfront").list_distributions())


def bucket_log(stack: Stack) -> bool:
    client = stack.aws("s3")
    buckets = [one["Name"] for one in client.list_buckets()["Buckets"]]
    return any("LoggingEnabled" in client.get_bucket_logging(Bucket=bucket) for bucket in buckets)


def exchangers(stack: Stack) -> list[str]:
    client = stack.aws("route53")
    zone = client.list_hosted_zones()["HostedZones"][0]["Id"]
    found = client.list_resource_record_sets(HostedZoneId=zone)["ResourceRecordSets"]
    return [value["Value"] for one in found if one["Type"] == "MX" for value in one["ResourceRecords"]]


def subscribers(stack: Stack) -> list[str]:
    return [one["Endpoint"] for one in stack.aws("sns").list_subscriptions()["Subscriptions"]]


def boundaries(stack: Stack) -> set[str]:
    client = stack.aws("iam")
    roles = [client.get_role(RoleName=one["RoleName"])["Role"] for one in client.list_roles()["Roles"]]
    return {one.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn", "") for one in roles}


def team(stack: Stack) -> set[str]:
    return {tag["Value"] for vpc in stack.aws("ec2").describe_vpcs()["Vpcs"] for tag in vpc.get("Tags", []) if tag["Key"] == "Team"}


def trusted(part: int) -> Callable[[Stack], str]:
    """A part of `repo:OWNER/REPOSITORY:WHAT`, the workflow that the deploy role trusts."""

    def look(stack: Stack) -> str:
        trust = stack.aws("iam").get_role(RoleName="eeyore-deploy")["Role"]["AssumeRolePolicyDocument"]
        return re.split("[:/]", json.dumps(trust).partition('"repo:')[2].partition('"')[0], maxsplit=2)[part]

    return look


def pending(stack: Stack) -> list[str]:
    return [str(one) for one in json.loads(stack.amianai("db", "status")[0])["pending"]]


def built(name: str) -> Callable[[Stack], str]:
    """What the page of a release built now says of a name, and where it is; empty where it is not built there."""

    def look(stack: Stack) -> str:
        for page in stack.root.glob("*/*/index.html"):
            page.unlink()
        stack.amianai("deploy", "--dry-run", "--everything")
        (page,) = stack.root.glob("*/*/index.html")
        said = dict(line.split("=", 1) for line in page.read_text().splitlines() if "=" in line)
        return {"directory": page.parts[-3], "output": page.parts[-2]}.get(name, said.get(name, ""))

    return look


def declared(name: str, key: str) -> Callable[[Stack], Any]:
    """What the state says, where the emulator keeps nothing."""
    return lambda stack: stack.inputs(name).get(key)


def _below(found: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        found = (found or {}).get(key)
    return found


@dataclass(frozen=True)
class Case:
    """Another value of one setting.

    Attributes:
        value: the value.
        touches: the resources that it creates, changes or deletes, by name; empty for what acts in other commands.
        look: what to look at, where it is not the stack file alone.
        seen: what is seen there then.
        remade: those whose ids and outputs are others afterwards, because taking it back makes them anew.
    """

    value: str
    touches: str = ""
    look: Callable[[Stack], Any] | None = None
    seen: Any = None
    remade: str = ""


DATABASE = "database-instance"
POOL = "auth-pool"
HEADERS = "site-headers outputs"
CLIENTS = "auth-client auth-development-client"
OWN_PASSWORD = {"database.managed_password": "false"}
REPOSITORY = {"github_username": "octo", "delivery.repository": "site"}
IDENTITY = f"arn:aws:ses:us-east-1:000000000000:identity/{DOMAIN}"
BOUNDARY = "arn:aws:iam::000000000000:policy/bounds"
OWN_SECRET = " ".join(f"database-master-{part}" for part in ("secret", "log", "role", "policy", "function", "permission", "rotation"))

BATCHES: dict[str, dict[str, Case]] = {
    "one value each": {
        "network.nat": Case(
            "single",
            "network-nat-1 network-nat-1-ip network-private-default-1 network-private-default-2",
            gateways,
            1,
        ),
        "network.flow_log_days": Case("60", "network-flow-logs", kept_for("/eeyore/vpc/flow-logs"), 60),
        "database.instance_class": Case("db.t4g.small", f"{DATABASE} outputs", database("DBInstanceClass"), "db.t4g.small"),
        "database.max_storage_gib": Case("200", DATABASE, database("MaxAllocatedStorage"), 200),
        "database.multi_az": Case("true", DATABASE, database("MultiAZ"), True),
        "database.backup_days": Case("9", DATABASE, database("BackupRetentionPeriod"), 9),
        "database.backup_window": Case("05:00-06:00", DATABASE, database("PreferredBackupWindow"), "05:00-06:00"),
        "database.maintenance_window": Case("mon:01:00-mon:02:00", DATABASE, database("PreferredMaintenanceWindow"), "mon:01:00-mon:02:00"),
        "database.insights": Case("advanced", DATABASE, declared(DATABASE, "databaseInsightsMode"), "advanced"),
        "database.monitoring_seconds": Case("30", DATABASE, database("MonitoringInterval"), 30),
        "database.slow_statement_ms": Case("250", "database-parameters", slow_statements, "250"),
        "database.log_days": Case(
            "60", "database-log-postgresql database-log-upgrade", kept_for("/aws/rds/instance/eeyore-postgres/postgresql"), 60
        ),
        "database.deletion_protection": Case("false", DATABASE, database("DeletionProtection"), False),
        "database.final_snapshot_suffix": Case(
            "mine", DATABASE, declared(DATABASE, "finalSnapshotIdentifier"), "eeyore-postgres-final-mine"
        ),
        "auth.password_length": Case("16", POOL, pool("Policies", "PasswordPolicy", "MinimumLength"), 16),
        "auth.mfa": Case("ON", POOL, pool("MfaConfiguration"), "ON"),
        "auth.ses_identity_arn": Case(IDENTITY, POOL, pool("EmailConfiguration", "SourceArn"), IDENTITY),
        "auth.callback_urls": Case("myapp://in", "auth-client", application("eeyore-site", "CallbackURLs")),
        "auth.development_urls": Case(
            "http://localhost:4000/",
            "auth-development-client",
            application("eeyore-development", "CallbackURLs"),
            ["http://localhost:4000/"],
        ),
        "auth.profile_attributes": Case("name", CLIENTS, application("eeyore-site", "WriteAttributes"), ["email", "name"]),
        "auth.self_sign_up": Case("false", POOL, pool("AdminCreateUserConfig", "AllowAdminCreateUserOnly"), True),
        "auth.request_limit": Case("100", "auth-web-acl auth-web-acl-association", limits, ["eeyore-sign-in"]),
        "auth.deletion_protection": Case("false", POOL, pool("DeletionProtection"), "INACTIVE"),
        "site.price_class": Case("PriceClass_All", "site-cdn", distribution("PriceClass"), "PriceClass_All"),
        "site.connect_src": Case("https://api.example.com", f"{HEADERS} site-response", calls("https://api.example.com"), True),
        "site.csp_sources": Case("font-src https://f.example.com", f"{HEADERS} site-response", calls("https://f.example.com"), True),
        "site.hsts_seconds": Case("600", f"{HEADERS} site-viewer", header("StrictTransportSecurity", "AccessControlMaxAgeSec"), 600),
        "site.old_version_days": Case(
            "10", "site-bucket-lifecycle", lifecycle("site", "NoncurrentVersionExpiration", "NoncurrentDays"), 10
        ),
        "site.log_days": Case("45", "site-logs-lifecycle", lifecycle("logs", "Expiration", "Days"), 45),
        "site.bucket_logging": Case("true", "site-bucket-log site-logs-policy", bucket_log, True),
        "dns.records": Case("@ 300 MX 10 mail.example.net.", "dns-carried-example.test-mx", exchangers, ["10 mail.example.net."]),
        "dns.query_log_days": Case("60"),
        "audit.days": Case("731", "audit-log", kept_for("/eeyore/database/audit"), 731),
        "audit.deletion_protection": Case("false", "audit-log", declared("audit-log", "deletionProtectionEnabled"), False),
        "access.alarm_email": Case("me@example.com", "access-email access-topic access-topic-key", subscribers, ["me@example.com"]),
    },
    "other commands": {
        "site.directory": Case("other", "", built("directory"), "other"),
        "site.output": Case("dist", "", built("output"), "dist"),
        "site.build_command": Case("sh build.sh other dist", "", built("SAID"), "other"),
        "site.environment": Case("PUBLIC_COLOUR=green", "", built("PUBLIC_COLOUR"), "green"),
        "site.pass_environment": Case("GREETING", "", built("GREETING"), "hello"),
        "site.cache_rules": Case("**.html=no-store"),
        "site.headers": Case("/* X-Own: 1"),
        "site.allow": Case("docs/*.pem keys that open nothing"),
        "site.base_path": Case("docs"),
        "site.fallback": Case("index.html"),
        "site.inline_scripts": Case("allowed"),
        "site.budgets": Case("/* total 500"),
        "site.inputs": Case("build.sh"),
        "site.empty_output": Case("false"),
        "site.old_asset_days": Case("5"),
        "database.old_instance_days": Case("3"),
        "database.migrations": Case("migrations", "", pending),
    },
    "with a password of the stack's own": {
        "database.rotation_days": Case("14", "database-master-rotation", rotation, 14),
        "database.replicas": Case(
            "1",
            "database-replica-1 database-replica-1-log-postgresql database-replica-1-log-upgrade outputs",
            databases,
            ["eeyore-postgres", "eeyore-postgres-replica-1"],
        ),
    },
    "delivery and every resource": {
        "github_username": Case("hexa", "delivery-role", trusted(0), "hexa"),
        "delivery.repository": Case("other", "delivery-role", trusted(1), "other"),
        "delivery.branch": Case("release", "delivery-role", trusted(2), "ref:refs/heads/release"),
        "tags": Case("Team=web", ALL, team, {"web"}),
        "site.previews": Case("true", "previews-certificate previews-site-cdn previews-a outputs", previewed, True),
        "iam.permissions_boundary": Case(BOUNDARY, ALL, boundaries, {BOUNDARY}),
    },
    "other values": {
        "network.nat": Case(
            "per-az",
            "network-nat-1 network-nat-1-ip network-nat-2 network-nat-2-ip network-private-default-1 network-private-default-2",
            gateways,
            2,
        ),
        "database.apply_immediately": Case("true", DATABASE, declared(DATABASE, "applyImmediately"), True),
        "database.monitoring_seconds": Case(
            "0",
            f"{DATABASE} database-monitoring-role database-monitoring-policy",
            database("MonitoringInterval"),
            0,
            "database-monitoring-role database-monitoring-policy",
        ),
        "auth.mfa": Case("OFF", POOL, pool("MfaConfiguration"), "OFF"),
        "auth.development_urls": Case(
            "[]",
            "auth-development-client outputs",
            application("eeyore-development", "ClientName"),
            None,
            "auth-development-client outputs auth amianai-infra-prod",
        ),
        "site.content_security_policy": Case(
            "default-src 'none'", f"{HEADERS} site-response", header("ContentSecurityPolicy", "ContentSecurityPolicy"), "default-src 'none'"
        ),
        "site.hsts_include_subdomains": Case("true", HEADERS, header("StrictTransportSecurity", "IncludeSubdomains"), True),
        "site.hsts_preload": Case("true", HEADERS, header("StrictTransportSecurity", "Preload"), True),
        "delivery.environment": Case("production", "delivery-role", trusted(2), "environment:production"),
        "database.migrations_by": Case("external", "database-secret-migrator outputs", migrator, True),
        "database.managed_password": Case(
            "false", f"{DATABASE} {OWN_SECRET} outputs", secrets, remade=f"{DATABASE} database amianai-infra-prod outputs"
        ),
    },
}

NEEDS: dict[str, Mapping[str, str]] = {
    "with a password of the stack's own": OWN_PASSWORD,
    "delivery and every resource": REPOSITORY,
    "other values": REPOSITORY,
}
"""What the settings of a batch need to be set before."""

FIXED: dict[str, str] = {
    "domain_name": "example.org",
    "region": "eu-west-1",
    "account": "111122223333",
    "prefix": "other",
    "network.cidr": "10.9.0.0/16",
    "database.identifier": "other-postgres",
    "database.name": "other",
    "database.username": "other",
    "database.port": "6000",
    "database.adopt": "true",
    "auth.hosted_domain": "other",
    "auth.user_pool_id": "us-east-1_abc",
    "dns.zone_id": "Z123",
    "audit.log_group": "/other/audit",
    "delivery.oidc_provider_arn": f"arn:aws:iam::000000000000:oidc-provider/{TOKENS}",
}

UPWARDS: dict[str, tuple[Case, str]] = {
    "network.availability_zones": (Case("3", "", lambda stack: len(_subnets(stack)), 6), "2"),
    "database.storage_gib": (Case("30", "", database("AllocatedStorage"), 30), "25"),
    "database.engine_version": (Case("16.14", "", declared(DATABASE, "engineVersion"), "16.14"), "16.13"),
}
"""What goes up and, with the second value, not down again."""

NOT_IN_THE_SANDBOX: dict[str, str] = {
    "database.proxy": "true",
    "database.backup_region": "eu-west-1",
    "dns.dnssec": "true",
    "dns.query_logging": "true",
}


def _subnets(stack: Stack) -> list[Any]:
    (vpc,) = [one for one in stack.aws("ec2").describe_vpcs()["Vpcs"] if not one["IsDefault"]]
    return list(stack.aws("ec2").describe_subnets(Filters=[{"Name": "vpc-id", "Values": [vpc["VpcId"]]}])["Subnets"])


@dataclass
class Outcome:
    """What became of a batch.

    Attributes:
        texts: the value of each setting in the stack file: before, changed, taken back.
        seen: what was seen of each: before, changed, taken back.
        touched: the resources that changed with it, and those that changed back.
        left: what is different after all was taken back, by resource.
        preview: what `preview --refresh` says then.
    """

    texts: dict[str, tuple[str, str, str]]
    seen: dict[str, tuple[Any, Any, Any]]
    touched: tuple[set[str], set[str]]
    left: dict[str, Any]
    preview: dict[str, Any]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack of its own, with two sites that need no build and a folder of migrations."""
    made = Stack(copy_project(tmp_path_factory.mktemp("settings") / "checkout").root)
    for name in ("site", "other"):
        (made.root / name).mkdir()
        (made.root / name / "build.sh").write_text(
            'mkdir -p "$2"; env > "$2/index.html"; echo "SAID=$1" >> "$2/index.html"; cp "$2/index.html" "$2/404.html"\n'
        )
    (made.root / "migrations").mkdir()
    (made.root / "migrations/0100_more.sql").write_text("CREATE TABLE app.more (id bigint PRIMARY KEY);\n")
    site = ("--set", "site.directory=site", "--set", "site.build_command=sh build.sh site out")
    try:
        made.amianai(*site, "setup", "--no-deploy")
        anything = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
        made.aws("iam").create_policy(PolicyName="bounds", PolicyDocument=json.dumps(anything))
        yield made
    finally:
        made.run("sandbox", "reset", "--confirm", "sandbox")


def outcome(stack: Stack, batch: str) -> Outcome:
    """One batch changed and taken back; the first test that asks does it."""
    if batch not in stack.outcomes:
        try:
            stack.outcomes[batch] = _changed_and_taken_back(stack, batch)
        except BaseException as error:
            stack.outcomes[batch] = error
            raise
    found = stack.outcomes[batch]
    if isinstance(found, BaseException):
        pytest.fail(f"the batch failed: {found}")
    return found


def _changed_and_taken_back(stack: Stack, batch: str) -> Outcome:
    cases = BATCHES[batch]
    settings = {setting.key: setting for setting in every_setting() if setting.key in cases}
    stack.need(NEEDS.get(batch, {}))

    def look() -> tuple[dict[str, str], dict[str, Any]]:
        found = stack.settings_of()
        texts = {key: text_of(found, setting) for key, setting in settings.items()}
        return texts, {key: case.look(stack) for key, case in cases.items() if case.look}

    file, resources, before = stack.file.read_bytes(), stack.resources(), look()
    try:
        forth = stack.up({key: case.value for key, case in cases.items()})
        changed = look()
        back = stack.up(before[0])
    except BaseException:
        stack.file.write_bytes(file)  # so that one fault is not that of all that follow
        stack.up({})
        raise
    last, after = look(), stack.resources()
    remade = {name for case in cases.values() for name in case.remade.split()}
    left = {
        name: (resources.get(name), after.get(name))
        for name in {*resources, *after}
        if resources.get(name) != after.get(name) and name.partition(" ")[2] not in remade
    }
    return Outcome(
        {key: (before[0][key], changed[0][key], last[0][key]) for key in cases},
        {key: (before[1][key], changed[1][key], last[1][key]) for key in before[1]},
        (forth, back),
        left,
        json.loads(stack.amianai("preview", "--refresh")[0]),
    )


def test_every_setting_has_a_case() -> None:
    batched = {key for cases in BATCHES.values() for key in cases}
    kinds = {setting.key: setting.once.kind for setting in every_setting()}
    assert {*batched, *FIXED, *UPWARDS, *NOT_IN_THE_SANDBOX} == set(kinds)
    assert set(FIXED) == {key for key, kind in kinds.items() if kind == "fixed"}
    assert set(UPWARDS) == {key for key, kind in kinds.items() if kind == "only upwards"}


pairs = [pytest.param(batch, key, id=f"{key} ({batch})") for batch, cases in BATCHES.items() for key in cases]


@pytest.mark.sandbox
@pytest.mark.settings
@pytest.mark.parametrize(("batch", "key"), pairs)
def test_it_is_applied_and_taken_back(stack: Stack, batch: str, key: str) -> None:
    case, found = BATCHES[batch][key], outcome(stack, batch)
    before, changed, back = found.texts[key]
    assert before == back != changed
    if case.look:
        before, changed, back = found.seen[key]
        assert before == back != changed
        assert case.seen is None or changed == case.seen
    touched = set() if case.touches == ALL else set(case.touches.split())
    assert touched <= found.touched[0]
    assert touched <= found.touched[1]


@pytest.mark.sandbox
@pytest.mark.settings
@pytest.mark.parametrize("batch", BATCHES)
def test_nothing_else_changes_and_no_difference_is_left(stack: Stack, batch: str) -> None:
    found, touches = outcome(stack, batch), {case.touches for case in BATCHES[batch].values()}
    named = {name for one in touches for name in one.split()}
    assert found.left == {}
    assert found.preview["changed"] is False
    assert found.preview["drift"] == []
    if ALL not in touches:
        assert found.touched == (named, named)


def refused(stack: Stack, key: str, value: str, code: int) -> str:
    """What is said to a value that the stack does not take; nothing was changed by it."""
    before = (stack.file.read_bytes(), stack.checkpoint.read_bytes())
    _, said = stack.amianai("--set", f"{key}={value}", "up", "--yes", "--confirm", DOMAIN, code=code)
    assert (stack.file.read_bytes(), stack.checkpoint.read_bytes()) == before
    return said


@pytest.mark.sandbox
@pytest.mark.settings
@pytest.mark.parametrize("key", NOT_IN_THE_SANDBOX)
def test_what_the_sandbox_cannot_do_is_refused(stack: Stack, key: str) -> None:
    assert key in refused(stack, key, NOT_IN_THE_SANDBOX[key], 1)


@pytest.mark.sandbox
@pytest.mark.settings
@pytest.mark.parametrize("key", FIXED)
def test_what_is_fixed_is_refused_before_the_engine_starts(stack: Stack, key: str) -> None:
    stack.need(REPOSITORY)
    said = refused(stack, key, FIXED[key], 3)
    assert FIXED[key] in said
    assert "nothing was changed" in said
    assert "Comparing" not in said


@pytest.fixture(scope="module")
def raised(stack: Stack) -> None:
    """At once: what waits for the maintenance window is a difference until then."""
    stack.up({"database.apply_immediately": "true", **{key: case.value for key, (case, _) in UPWARDS.items()}})
    stack.up({"database.apply_immediately": "false"})


@pytest.mark.sandbox
@pytest.mark.settings
@pytest.mark.parametrize("key", UPWARDS)
def test_what_goes_upwards_is_applied_and_not_taken_back(stack: Stack, raised: None, key: str) -> None:
    case, lower = UPWARDS[key]
    assert case.look is not None
    assert case.look(stack) == case.seen
    said = refused(stack, key, lower, 3)
    assert f"{key}: {case.value} -> {lower}" in said
    assert "Comparing" not in said


@pytest.mark.sandbox
@pytest.mark.settings
def test_a_major_upgrade_is_refused_where_it_would_wait(stack: Stack) -> None:
    assert "database.apply_immediately" in refused(stack, "database.engine_version", "17", 3)


@pytest.mark.sandbox
@pytest.mark.settings
def test_what_went_upwards_left_no_difference(stack: Stack, raised: None) -> None:
    found = json.loads(stack.amianai("preview", "--refresh")[0])
    assert (found["changed"], found["drift"]) == (False, [])
