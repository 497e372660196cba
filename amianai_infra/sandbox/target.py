"""`SandboxTarget`: the sandbox in the place of AWS. Whatever the environment says about AWS, nothing here listens to it."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from amianai_infra.outputs import StackOutputs
from amianai_infra.progress import Progress
from amianai_infra.sandbox import emulator as aws
from amianai_infra.sandbox.install import install_clients
from amianai_infra.sandbox.project import foreign
from amianai_infra.sandbox.sandbox import Sandbox
from amianai_infra.target import Credentials, EngineEnvironment, Identity, SiteAddress, aws_error, cached_outputs, expect_owner

if TYPE_CHECKING:
    from boto3.session import Session

    from amianai_infra.database.credentials import Login

DOMAIN = "example.test"


class SandboxTarget:
    """The sandbox of one checkout as a target.

    Args:
        root: the checkout.
        progress: where starting it is shown.
        environ: the process environment; what it says about AWS and the engine is ignored.
    """

    name: Literal["sandbox"] = "sandbox"
    region = aws.REGION

    def __init__(self, root: Path, progress: Progress | None = None, environ: Mapping[str, str] = os.environ) -> None:
        self.sandbox = Sandbox(root, environ, progress)
        self.root = self.sandbox.root
        self.local = self.sandbox.local
        self._progress = progress or Progress()
        self._environ = environ
        self._clients: dict[tuple[str, str], Any] = {}
        self._lock = threading.Lock()

    def ready(self) -> None:
        """Start the sandbox where it does not run."""
        self.sandbox.start(self._progress)

    @cached_property
    def _session(self) -> Session:
        """A session in which no variable, profile or file of the surroundings counts."""
        import boto3
        from botocore.session import Session as Core

        key = self.sandbox.key()
        known = Core().session_var_map
        core = Core(session_vars={name: (None, None, default, convert) for name, (_, _, default, convert) in known.items()})
        return boto3.Session(
            botocore_session=core,
            aws_access_key_id=key.access_key,
            aws_secret_access_key=key.secret_key,
            region_name=self.region,
        )

    def client(self, service: str, region: str | None = None) -> Any:
        """A boto3 client for the emulator, made once for each service and region."""
        from botocore.config import Config

        key = (service, region or self.region)
        with self._lock:
            if key not in self._clients:
                client = self._session.client(  # type: ignore[call-overload]
                    service,
                    region_name=key[1],
                    endpoint_url=self.endpoint(service),
                    verify=True,
                    config=Config(
                        proxies={},
                        s3={"addressing_style": "path"},
                        use_fips_endpoint=False,
                        use_dualstack_endpoint=False,
                        retries={"mode": "standard", "total_max_attempts": 5},
                        max_pool_connections=50,
                        signature_version="v4" if service == "cloudfront-keyvaluestore" else None,
                    ),
                )
                client.meta.events.register("before-sign.cloudfront-keyvaluestore", _without_account)
                self._clients[key] = expect_owner(client, lambda: self.identity().account) if service == "s3" else client
            return self._clients[key]

    def credentials(self) -> Credentials:
        """This sandbox's key."""
        key = self.sandbox.key()
        return Credentials(key.access_key, key.secret_key)

    def endpoint(self, service: str) -> str | None:
        """The emulator, for every service."""
        return aws.endpoint(self.sandbox.ports().emulator)

    def sdk_variables(self) -> Mapping[str, str]:
        """The emulator's address, and the file that holds its key, which opens nothing else."""
        return self.sandbox.project.aws_variables(self.sandbox.ports())

    @cached_property
    def _identity(self) -> Identity:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            answer = self.client("sts").get_caller_identity()
        except (BotoCoreError, ClientError) as error:
            raise aws_error(error, "asking the sandbox who is calling") from error
        return Identity(answer["Account"], answer["Arn"])

    def identity(self) -> Identity:
        """Who the emulator takes us for."""
        return self._identity

    def engine(self) -> EngineEnvironment:
        """State in a local folder, a random passphrase, the running provider; nothing of the surroundings."""
        project, ports = self.sandbox.project, self.sandbox.ports()
        project.prepare()
        variables = {**project.aws_variables(ports), **project.engine_variables(ports)}
        return EngineEnvironment(
            project_dir=project.folder,
            backend_url=project.backend_url,
            secrets_provider="passphrase",
            variables=variables,
            drop=frozenset(foreign(self._environ, variables)),
        )

    def default_settings(self) -> Mapping[str, str]:
        """A domain of our own, and the origins that pages call for sign-in."""
        port = self.sandbox.ports().emulator
        return {"domain_name": DOMAIN, "site.connect_src": f"{aws.endpoint(port)},http://localhost:{port}"}

    def site_address(self, outputs: StackOutputs) -> SiteAddress:
        """The emulated CDN: browsers resolve `*.localhost` themselves, our own clients connect to 127.0.0.1."""
        port = self.sandbox.ports().emulator
        host = aws.site_host(outputs.site.distribution_domain)
        return SiteAddress(f"http://{host}:{port}/", host, ("127.0.0.1", port), tls=False)

    def preview_address(self, outputs: StackOutputs, label: str) -> SiteAddress:
        """A name below that of the emulated CDN."""
        port = self.sandbox.ports().emulator
        host = f"{label}.{aws.site_host(outputs.previews.distribution_domain)}"
        return SiteAddress(f"http://{host}:{port}/", host, ("127.0.0.1", port), tls=False)

    def database_ca(self) -> Path:
        """The sandbox's own authority."""
        return self.sandbox.certificates.ca

    def password_file(self) -> Path | None:
        """The checkout's own, written from the database's secrets; None while there is no database.

        The application comes first, as who a plain psql is: the owner only where it was asked for, and before `db migrate` made the others.
        """
        outputs = cached_outputs(self)
        if outputs is None:
            return None
        database = outputs.database
        arns = (database.application_secret_arn, database.readonly_secret_arn, database.secret_arn)
        logins = {login.user: login.password for arn in arns if arn and (login := self._login(arn))}
        if not logins:
            return None
        self.sandbox.project.keep_passwords(database.port, database.name, logins)
        return self.sandbox.project.password_file

    def client_programs(self) -> Path | None:
        """Those of the sandbox's server, installed into the cache when they are first needed."""
        return install_clients(self._environ, self._progress)

    def _login(self, arn: str) -> Login | None:
        """User and password in a secret; None where there is none yet."""
        from botocore.exceptions import BotoCoreError, ClientError

        from amianai_infra.database.credentials import parse_secret

        try:
            text = self.client("secretsmanager").get_secret_value(SecretId=arn).get("SecretString")
        except (BotoCoreError, ClientError):
            return None
        return parse_secret(text, arn) if text else None  # a role's secret is made before its role


def _without_account(request: Any, **_: Any) -> None:
    """Key-value stores have a host name for each account; the emulator has one address for everything."""
    request.url = request.url.replace(f"//{aws.ACCOUNT}.", "//", 1)
