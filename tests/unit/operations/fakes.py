"""Stand-ins for the parts an operation is given."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import yaml
from botocore.exceptions import ClientError

from amianai_infra.config import Settings, load_settings, read_stack_file
from amianai_infra.engine import Existing, StateResource, Summary
from amianai_infra.engine.events import Operation
from amianai_infra.errors import RefusedError
from amianai_infra.outputs import StackOutputs
from amianai_infra.progress import Progress
from amianai_infra.target import Credentials, EngineEnvironment, Identity, SiteAddress

ACCOUNT = "123456789012"

OUTPUTS = StackOutputs.model_validate(
    {
        "domain": "example.com",
        "region": "us-east-1",
        "account": ACCOUNT,
        "prefix": "eeyore",
        "site": {
            "bucket": "eeyore-site-example-com",
            "distribution_id": "E1",
            "distribution_domain": "d1.cloudfront.net",
            "distribution_arn": f"arn:aws:cloudfront::{ACCOUNT}:distribution/E1",
            "url": "https://example.com/",
        },
        "database": {
            "identifier": "eeyore-postgres",
            "host": "db.example.internal",
            "port": 5432,
            "name": "amianai",
            "username": "amianai_admin",
            "secret_arn": f"arn:aws:secretsmanager:us-east-1:{ACCOUNT}:secret:rds!db-1",
            "application_secret_arn": f"arn:aws:secretsmanager:us-east-1:{ACCOUNT}:secret:eeyore/application",
            "security_group_id": "sg-1",
            "resource_id": "db-RES",
            "instance_class": "db.t3.micro",
            "subnet_ids": ["subnet-1", "subnet-2"],
        },
        "auth": {"user_pool_id": "us-east-1_A", "client_id": "client", "issuer": "https://issuer", "hosted_domain": "eeyore-example-com"},
        "dns": {"zone_id": "Z1", "name_servers": ["ns-1.awsdns.test", "ns-2.awsdns.test"], "certificate_arn": "arn:aws:acm:cert"},
        "network": {
            "vpc_id": "vpc-1",
            "internet_gateway_id": "igw-1",
            "public_subnet_ids": ["subnet-3"],
            "private_subnet_ids": ["subnet-1", "subnet-2"],
            "private_route_table_ids": ["rtb-1"],
        },
    }
)


def resource(
    urn: str, kind: str, identity: str, inputs: dict[str, Any] | None = None, *, protect: bool = False, external: bool = False
) -> StateResource:
    """A resource as the engine's state has it."""
    return StateResource(urn, kind, identity, inputs or {}, {}, protect, external)


def summary(operation: Operation = "up", counts: dict[str, int] | None = None, *, changed: bool = False) -> Summary:
    """How an engine operation ended."""
    return Summary(operation, counts or {}, [], 1.0, changed)


@dataclass
class Engine:
    """Writes the stack file as the engine does, and notes what it was asked to do."""

    environment: EngineEnvironment
    log: list[tuple[Any, ...]]
    state: list[StateResource] = field(default_factory=list)
    there: bool = True
    answers: dict[str, Any] = field(default_factory=dict)

    @property
    def file(self) -> Path:
        return self.environment.project_dir / "Pulumi.prod.yaml"

    def configuration(self) -> dict[str, str]:
        return {key: str(value) for key, value in read_stack_file(self.file).items()}

    def configure(self, values: Mapping[str, str]) -> None:
        self.log.append(("configure", dict(values)))
        document = yaml.safe_load(self.file.read_text()) if self.file.exists() else {}
        document = {**(document or {}), "config": {**self.configuration(), **values}}
        self.file.write_text(yaml.safe_dump(document))

    def exists(self) -> bool:
        return self.there

    def reach(self) -> None:
        self.log.append(("reach",))
        if "reach" in self.answers:
            raise self.answers["reach"]

    @contextmanager
    def copy(self) -> Iterator[Engine]:
        with TemporaryDirectory() as folder:
            yield replace(self, environment=self.environment.in_folder(Path(folder)))

    def recover(self) -> list[str]:
        self.log.append(("recover",))
        return list(self.answers.get("recover", []))

    def _done(self, name: Any, *details: Any) -> Any:
        self.log.append((name, *details))
        answer = self.answers.get(name, summary(name))
        if isinstance(answer, list):
            answer = answer.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def up(self, targets: Sequence[str] = (), exclude: Sequence[str] = ()) -> Any:
        return self._done("up", list(targets), self.configuration(), *exclude)

    def preview(self, targets: Sequence[str] = (), **_: Any) -> Any:
        return self._done("preview", list(targets), self.configuration())

    def foresee(self) -> tuple[Any, list[Existing]]:
        return self.preview(), list(self.answers.get("existing", []))

    def adopt(self, found: Sequence[Existing]) -> list[Existing]:
        if found:
            self.log.append(("adopt", [one.id for one in found]))
        return list(found)

    def refresh(self) -> Any:
        return self._done("refresh")

    def destroy(self, exclude: Sequence[str] = ()) -> Any:
        return self._done("destroy", list(exclude))

    def resources(self) -> list[StateResource]:
        return list(self.state)

    def secrets_lines(self) -> dict[str, str]:
        return dict(self.answers.get("secrets_lines", {}))

    def superseded(self) -> list[StateResource]:
        return list(self.answers.get("superseded", []))

    def take_back(self, identifier: str) -> None:
        self.log.append(("take_back", identifier))

    def forget(self, urns: Sequence[str]) -> None:
        self.log.append(("forget", list(urns)))
        self.state[:] = [one for one in self.state if one.urn not in urns]

    def stand_for(self, urn: str, identifier: str) -> None:
        self.log.append(("stand_for", urn, identifier))

    def unprotect(self, urns: Sequence[str]) -> None:
        self.log.append(("unprotect", list(urns)))


class Route53:
    """Hosted zones and their records, by the zone's id."""

    def __init__(self, zones: Mapping[str, str] | None = None, records: Sequence[Mapping[str, Any]] = (), **private: bool) -> None:
        self.zones = dict(zones or {})
        self.records = list(records)
        self.private = private
        self.batches: list[dict[str, Any]] = []

    def _described(self, ident: str) -> dict[str, Any]:
        config = {"PrivateZone": self.private.get(ident, False), "Comment": f"comment of {ident}"}
        return {"Id": f"/hostedzone/{ident}", "Name": f"{self.zones[ident]}.", "Config": config}

    def list_hosted_zones_by_name(self, *, DNSName: str, HostedZoneId: str = "") -> dict[str, Any]:
        """One a page, as Route 53 would with many."""
        after = sorted((".".join(reversed(name.split("."))), ident) for ident, name in self.zones.items())
        start = (".".join(reversed(DNSName.split("."))), HostedZoneId)
        found = [self._described(ident) for key, ident in after if (key, ident) >= start]
        more = (
            {"IsTruncated": True, "NextDNSName": found[1]["Name"].rstrip("."), "NextHostedZoneId": found[1]["Id"][12:]} if found[1:] else {}
        )
        return {"HostedZones": found[:1], "IsTruncated": False, **more}

    def _require(self, ident: str) -> None:
        from botocore.exceptions import ClientError

        if ident not in self.zones:
            raise ClientError({"Error": {"Code": "NoSuchHostedZone", "Message": ident}}, "GetHostedZone")

    def get_hosted_zone(self, *, Id: str) -> dict[str, Any]:
        self._require(Id)
        return {"HostedZone": self._described(Id), "DelegationSet": {"NameServers": [f"ns-of-{Id}.test"]}}

    def get_paginator(self, operation: str) -> Any:
        assert operation == "list_resource_record_sets"
        return self

    def paginate(self, *, HostedZoneId: str) -> Iterator[dict[str, Any]]:
        self._require(HostedZoneId)
        yield {"ResourceRecordSets": self.records[:1]}
        yield {"ResourceRecordSets": self.records[1:]}

    def change_resource_record_sets(self, *, HostedZoneId: str, ChangeBatch: dict[str, Any]) -> None:
        """As Route 53 does it: what is deleted must be there, word for word."""
        self._require(HostedZoneId)
        records = list(self.records)
        for change in ChangeBatch["Changes"]:
            record = change["ResourceRecordSet"]
            if change["Action"] == "DELETE":
                records.remove(record)
            else:
                same = [one for one in records if (one["Name"], one["Type"]) == (record["Name"], record["Type"])]
                assert change["Action"] == "UPSERT" or not same
                records = [one for one in records if one not in same] + [record]
        self.records = records
        self.batches.append(ChangeBatch)


class Ec2:
    """A network in which nobody else has anything."""

    def get_paginator(self, operation: str) -> Any:
        assert operation.startswith("describe_")
        return self

    def paginate(self, **_: Any) -> Iterator[Mapping[str, Any]]:
        yield defaultdict(list)


class Rds:
    """Offers the instance classes that a test gives; others nobody has asked about."""

    def __init__(self, *offered: str) -> None:
        self.offered = offered or ("db.t3.micro",)
        self.asked: list[str] = []

    def describe_orderable_db_instance_options(self, *, Engine: str, DBInstanceClass: str, EngineVersion: str = "16.4") -> dict[str, Any]:
        self.asked.append(DBInstanceClass)
        found = [{"Engine": Engine, "DBInstanceClass": one} for one in self.offered if (one, EngineVersion) == (DBInstanceClass, "16.4")]
        return {"OrderableDBInstanceOptions": found}


class Ssm:
    """Parameters: those a test gives."""

    def __init__(self, parameters: Mapping[str, str] | None = None) -> None:
        self.parameters = parameters or {}
        self.asked: list[str] = []

    def get_parameter(self, *, Name: str) -> dict[str, Any]:
        self.asked.append(Name)
        if Name not in self.parameters:
            raise ClientError({"Error": {"Code": "ParameterNotFound", "Message": Name}}, "GetParameter")
        return {"Parameter": {"Value": self.parameters[Name]}}


class Target:
    """AWS or the sandbox, with clients that a test gives."""

    def __init__(self, root: Path, name: Literal["aws", "sandbox"] = "sandbox", clients: Mapping[str, Any] | None = None) -> None:
        self.name: Literal["aws", "sandbox"] = name
        self.root = root
        self.local = root / f".{name}"
        self.region = "us-east-1"
        self.clients = {"route53": Route53(), "ssm": Ssm(), "ec2": Ec2(), "rds": Rds(), **(clients or {})}
        self.readied = 0

    def ready(self) -> None:
        self.readied += 1

    def client(self, service: str, region: str | None = None) -> Any:
        return self.clients[service]

    def credentials(self) -> Credentials:
        return Credentials("key", "secret")

    def endpoint(self, service: str) -> str | None:
        return None

    def sdk_variables(self) -> Mapping[str, str]:
        return {"AWS_ENDPOINT_URL": "http://127.0.0.1:1"} if self.name == "sandbox" else {}

    def identity(self) -> Identity:
        return Identity(ACCOUNT, f"arn:aws:iam::{ACCOUNT}:user/operator")

    def engine(self) -> EngineEnvironment:
        folder = self.root / "project"
        folder.mkdir(exist_ok=True)
        (folder / "Pulumi.yaml").touch()
        return EngineEnvironment(folder, "file:///state", "passphrase", {})

    def default_settings(self) -> Mapping[str, str]:
        return {}

    def site_address(self, outputs: StackOutputs) -> SiteAddress:
        return SiteAddress(outputs.site.url, outputs.domain, ("127.0.0.1", 1), tls=False)

    def preview_address(self, outputs: StackOutputs, label: str) -> SiteAddress:
        return self.site_address(outputs)

    def password_file(self) -> None:
        """None, as on AWS."""

    def client_programs(self) -> None:
        """None, as on AWS."""

    def database_ca(self) -> Path:
        return self.root / "ca.pem"


class Context:
    """What an operation is given."""

    def __init__(self, root: Path, target: Target | None = None, flags: Mapping[str, str] | None = None) -> None:
        self.root = root
        self.target: Any = target or Target(root)
        self.flags = {"domain_name": "example.com", **(flags or {})}
        self.progress = Progress(quiet=True)
        self.log: list[tuple[Any, ...]] = []
        self.notes: list[str] = []
        self.progress.note = self.notes.append  # type: ignore[method-assign,assignment]
        self.state: list[StateResource] = []
        self.there = True
        self.answers: dict[str, Any] = {}
        self.refuse = False
        self.accept = False

    @property
    def settings(self) -> Settings:
        return load_settings(self.flags, {}, read_stack_file(self.target.engine().project_dir / "Pulumi.prod.yaml"))

    def engine(self, environment: EngineEnvironment | None = None) -> Any:
        return Engine(environment or self.target.engine(), self.log, self.state, self.there, self.answers)

    def outputs(self, *, fresh: bool = False) -> StackOutputs:
        return OUTPUTS

    def announce(self) -> None:
        self.log.append(("announce",))

    def confirm(self, question: str) -> None:
        self.log.append(("confirm", question))
        if self.refuse:
            raise RefusedError("no")

    def offer(self, question: str) -> bool:
        self.log.append(("offer", question))
        return self.accept

    def choose(self, key: str, value: str) -> None:
        self.flags[key] = value

    def confirm_domain(self, given: str | None, doing: str, domain: str) -> None:
        self.confirm(doing)

    def did(self, name: str) -> list[tuple[Any, ...]]:
        """Everything of one name that was done."""
        return [entry for entry in self.log if entry[0] == name]


def names(log: Sequence[tuple[Any, ...]]) -> list[str]:
    return [entry[0] for entry in log]


Call = Callable[..., Any]
