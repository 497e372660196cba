"""Databases in the sandbox's real PostgreSQL for tests that need no engine: as the stack's Database component leaves them."""

from __future__ import annotations

import json
import os
import secrets
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from amianai_infra.database.session import connect
from amianai_infra.naming import role_secret_name
from amianai_infra.outputs import AuthOutputs, DatabaseOutputs, DnsOutputs, NetworkOutputs, SiteOutputs, StackOutputs
from amianai_infra.progress import Progress
from amianai_infra.sandbox import SandboxTarget
from amianai_infra.sandbox import postgres as server
from amianai_infra.sandbox.provider.postgres import Postgres
from tests.project import checkout

QUIET = Progress(quiet=True)
DOMAIN = "example.test"


@dataclass
class Database:
    """One database with its owner and three secrets, of which two are still empty.

    Attributes:
        target: the sandbox.
        outputs: what a stack would have published about it.
    """

    target: SandboxTarget
    outputs: StackOutputs

    @property
    def name(self) -> str:
        return self.outputs.database.name

    def connect(self, role: Any = "owner", **options: Any) -> psycopg.Connection[Any]:
        return connect(self.target, self.outputs, role, **options)

    def superuser(self, database: str | None = None) -> psycopg.Connection[Any]:
        """The server's own superuser, over its socket."""
        place, port = server.locate(self.target.local), self.target.sandbox.ports().postgres
        return psycopg.connect(host=str(place.sockets), port=port, user="postgres", dbname=database or self.name, autocommit=True)

    def secret(self, role: str = "owner") -> dict[str, Any]:
        database = self.outputs.database
        arn = database.secret_arn if role == "owner" else getattr(database, f"{role}_secret_arn")
        return dict(json.loads(self.target.client("secretsmanager").get_secret_value(SecretId=arn)["SecretString"]))

    def restart(self, by: signal.Signals = signal.SIGQUIT) -> float:
        """End the server, at once as a crash does (immediate mode), and start it again; gives the time at which it answered."""
        (pid,) = [one.pid for one in self.target.sandbox.status() if one.name == "postgres"]
        assert pid is not None
        os.kill(pid, by)
        deadline = time.monotonic() + 20
        while any(one.name == "postgres" and one.state == "running" for one in self.target.sandbox.status()):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        self.target.ready()
        return time.monotonic()


def running_sandbox(root: Path) -> SandboxTarget:
    """A sandbox of its own, whose server leaves it to the system when to write: what ends it here is never a loss of power.

    It holds a hundred databases in the end, and would write down each of their files after a crash.
    """
    target = SandboxTarget(checkout(root), QUIET)
    target.ready()
    place, port = server.locate(target.local), target.sandbox.ports().postgres
    with psycopg.connect(host=str(place.sockets), port=port, user="postgres", dbname="postgres", autocommit=True) as superuser:
        superuser.execute("ALTER SYSTEM SET fsync = off")
        superuser.execute("SELECT pg_reload_conf()")
    return target


def new_database(target: SandboxTarget, name: str) -> Database:
    """An empty database whose master user is `<name>_admin`."""
    place, port = server.locate(target.local), target.sandbox.ports().postgres
    user, password, identifier = f"{name}_admin", secrets.token_urlsafe(18), f"eeyore-{name.replace('_', '-')}"
    postgres = Postgres(place.sockets, port)
    postgres.create(f"db-{name}", name, user, instances=())
    postgres.set_password(user, password)
    manager = target.client("secretsmanager")
    login = json.dumps({"username": user, "password": password})
    arns = {role: manager.create_secret(Name=role_secret_name("eeyore", identifier, role))["ARN"] for role in ("application", "readonly")}
    owner = manager.create_secret(Name=f"rds!db-{name}", SecretString=login)["ARN"]
    return Database(
        target,
        outputs(
            DatabaseOutputs(
                identifier=identifier,
                host="localhost",
                port=port,
                name=name,
                username=user,
                secret_arn=owner,
                security_group_id="sg-1",
                resource_id=f"db-{name}",
                instance_class="db.t3.micro",
                subnet_ids=["subnet-1", "subnet-2"],
                application_secret_arn=arns["application"],
                readonly_secret_arn=arns["readonly"],
            )
        ),
    )


def external(database: Database) -> Database:
    """The same for a stack with `database.migrations_by = external`: with the secret of the migrator's role, still empty."""
    name = role_secret_name("eeyore", database.outputs.database.identifier, "migrator")
    arn = database.target.client("secretsmanager").create_secret(Name=name)["ARN"]
    chosen = database.outputs.database.model_copy({"migrator_secret_arn": arn})
    return Database(database.target, database.outputs.model_copy({"database": chosen}))


def outputs(database: DatabaseOutputs) -> StackOutputs:
    """A whole stack's outputs around a database."""
    return StackOutputs(
        domain=DOMAIN,
        region="us-east-1",
        account="000000000000",
        prefix="eeyore",
        site=SiteOutputs("bucket", "E1", "d1.cloudfront.net", "arn:aws:cloudfront::000000000000:distribution/E1", f"https://{DOMAIN}/"),
        database=database,
        auth=AuthOutputs("us-east-1_a", "client", "https://issuer", "hosted"),
        dns=DnsOutputs("Z1", ["ns-1.example"], "arn:aws:acm:us-east-1:000000000000:certificate/1"),
        network=NetworkOutputs("vpc-1", "igw-1", ["subnet-3"], ["subnet-1", "subnet-2"], ["rtb-1"]),
    )
