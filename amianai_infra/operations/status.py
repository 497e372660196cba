"""One screen about the running stack, from the published outputs and a few calls made side by side. Needs no engine."""

from __future__ import annotations

import http.client
import ssl
import textwrap
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from amianai_infra.database.access import Access, describe
from amianai_infra.errors import AmianaiError
from amianai_infra.naming import secret_name
from amianai_infra.outputs import StackOutputs
from amianai_infra.printing import printable, under
from amianai_infra.rules.access import warnings
from amianai_infra.target import SiteAddress, Target, aws_error


@dataclass(frozen=True)
class Part:
    """One part of the stack.

    Attributes:
        name: which part.
        ok: whether it works as far as can be seen from here.
        state: one or two words.
        facts: what is worth knowing, in order.
        published: the part's outputs.
    """

    name: str
    ok: bool
    state: str
    facts: Mapping[str, str] = field(default_factory=dict)
    published: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """For `--json`: what the stack published about the part, and how it is."""
        return {**self.published, "ok": self.ok, "state": self.state, "facts": dict(self.facts)}


def look(target: Target, outputs: StackOutputs) -> list[Part]:
    """Ask every part how it is."""
    # Clients are made here: boto3 sessions are not for several threads, clients are.
    clients = {name: target.client(name) for name in ("rds", "cloudfront", "cognito-idp", "route53")}
    doors = Access(target, outputs) if outputs.access.schedule_group else None
    address = target.site_address(outputs)
    questions: dict[str, Callable[[], Part]] = {
        "site": lambda: _site(address, clients["cloudfront"], outputs),
        "database": lambda: _database(clients["rds"], outputs),
        "auth": lambda: _auth(clients["cognito-idp"], outputs),
        "dns": lambda: _dns(clients["route53"], outputs),
    }
    if doors is not None:
        questions["access"] = lambda: _access(doors)
    with ThreadPoolExecutor() as pool:
        parts = list(pool.map(lambda name: _guarded(name, questions[name]), questions))
    published = outputs.model_dump()
    site = {**published["site"], "url": address.url}
    return [replace(part, published=site if part.name == "site" else published[part.name]) for part in parts]


def _guarded(name: str, ask: Callable[[], Part]) -> Part:
    """One part that cannot be asked does not hide the others."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        return ask()
    except (BotoCoreError, ClientError) as error:
        translated = aws_error(error, f"asking about the {name}")
        return Part(name, False, type(translated).__name__.removesuffix("Error").lower(), {"problem": translated.where or translated.what})
    except AmianaiError as error:
        return Part(name, False, "failed", {"problem": error.what})


def _site(address: SiteAddress, cloudfront: Any, outputs: StackOutputs) -> Part:
    status = answers(address)
    distribution = cloudfront.get_distribution(Id=outputs.site.distribution_id)["Distribution"]
    facts = {
        "url": address.url,
        "distribution": f"{outputs.site.distribution_id}, {distribution['Status']}",
        "bucket": outputs.site.bucket,
    }
    return Part("site", status == 200, f"answers {status}" if status else "does not answer", facts)


def answers(address: SiteAddress, path: str = "/", timeout: float = 10) -> int:
    """The status the site answers with; 0 when it does not answer."""
    host, port = address.connect
    connection: http.client.HTTPConnection
    if address.tls:
        connection = http.client.HTTPSConnection(host, port, timeout=timeout, context=ssl.create_default_context())
    else:
        connection = http.client.HTTPConnection(host, port, timeout=timeout)
    try:
        connection.request("GET", path, headers={"Host": address.host, "User-Agent": "amianai"})
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


def _database(rds: Any, outputs: StackOutputs) -> Part:
    wanted = outputs.database
    found = rds.describe_db_instances(DBInstanceIdentifier=wanted.identifier)["DBInstances"][0]
    state, application = str(found["DBInstanceStatus"]), secret_name(wanted.application_secret_arn)
    facts = {
        "identifier": wanted.identifier,
        "address": f"{wanted.host}:{wanted.port}/{wanted.name}",
        "class": f"{found['DBInstanceClass']}, {found.get('AllocatedStorage')} GiB, PostgreSQL {found.get('EngineVersion')}",
        "protected": "yes" if found.get("DeletionProtection") else "NO: deletion protection is off",
        "backups": f"{found.get('BackupRetentionPeriod')} days",
        **({"login": f"of an application: secret {application}"} if application else {}),
        "owner's login": f"for {'administration' if wanted.external else 'migrations'}: secret {secret_name(wanted.secret_arn)}",
        **({"migrator's login": "while `amianai db run` runs"} if wanted.external else {}),
        **({"replicas": ", ".join(wanted.replica_hosts)} if wanted.replica_hosts else {}),
    }
    return Part("database", state == "available", state, facts)


def _auth(cognito: Any, outputs: StackOutputs) -> Part:
    pool = cognito.describe_user_pool(UserPoolId=outputs.auth.user_pool_id)["UserPool"]
    facts = {
        "pool": outputs.auth.user_pool_id,
        "client": outputs.auth.client_id,
        **({"development": outputs.auth.development_client_id} if outputs.auth.development_client_id else {}),
        "users": f"about {pool.get('EstimatedNumberOfUsers', 0)}",
        "hosted": outputs.auth.hosted_domain,
    }
    return Part("auth", True, "ready", facts)


def _dns(route53: Any, outputs: StackOutputs) -> Part:
    zone = route53.get_hosted_zone(Id=outputs.dns.zone_id)
    facts = {
        "domain": outputs.domain,
        "zone": outputs.dns.zone_id,
        "records": str(zone["HostedZone"].get("ResourceRecordSetCount", "?")),
        "name servers": " ".join(outputs.dns.name_servers),
        **({"DS record": outputs.dns.ds_record} if outputs.dns.ds_record else {}),
    }
    return Part("dns", True, "served", facts)


def _access(doors: Access) -> Part:
    """Whom the database is open to; something that does not close by itself makes the part fail."""
    now = datetime.now(UTC)
    found = doors.find()
    people = sorted({who for door in found.doors.values() if door.rule for who in door.holders})
    state = f"open to {', '.join(people) or 'somebody'}" if found.public or people else "closed"
    facts = dict(line.split(": ", 1) for line in describe(found, now) if not line.startswith("WARNING"))
    problems = warnings(found, now)
    if problems:
        facts["problem"] = f"{'; '.join(problems)} (`db close --all` closes it)"
    return Part("access", not problems, state, facts)


def open_access(target: Target, read: Callable[[], StackOutputs]) -> list[str]:
    """Whom the database is open to, for a command that changed the stack; nothing where that cannot be found out."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        outputs = read()
        if not outputs.access.schedule_group:
            return []
        return describe(Access(target, outputs).find(), datetime.now(UTC))
    except (AmianaiError, BotoCoreError, ClientError):
        return []


def screen(title: str, parts: list[Part]) -> list[str]:
    """The parts as lines for a person."""
    lines = [title]
    for part in parts:
        lines.append(f"{'✓' if part.ok else '✗'} {part.name:<9} {part.state}")
        lines += [line for name, text in part.facts.items() for line in _fact(name, text)]
    return lines


def _fact(name: str, text: str) -> list[str]:
    wrapped = textwrap.wrap(printable(text), 82, break_long_words=False, break_on_hyphens=False)
    return under(f"    {name:<13} ", "\n".join(wrapped))
