"""`Target`: which AWS, which engine environment, which addresses. The one seam between production and the sandbox."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol
from urllib.parse import urlsplit

from amianai_infra.errors import AmianaiError, ClockError, ConfigurationError, ForbiddenError, NotFoundError, UnreachableError
from amianai_infra.folders import require_ours
from amianai_infra.naming import PROJECT, STACK, stack_parameter, state_bucket_name
from amianai_infra.outputs import StackOutputs
from amianai_infra.progress import duration

if TYPE_CHECKING:
    from datetime import datetime

    from boto3.session import Session


def is_project(folder: Path) -> bool:
    """Whether the folder holds a Pulumi.yaml of ours."""
    try:
        text = (folder / "Pulumi.yaml").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False
    return re.search(rf"^name:\s*(['\"]?){PROJECT}\1\s*(#.*)?$", text, re.MULTILINE) is not None


def require_project(folder: Path, where: str = "") -> Path:
    """The folder, if it is a project: nothing is written, and nothing started, in any other.

    Args:
        folder: the folder.
        where: who named it; the folder itself where nobody did.

    Raises:
        ConfigurationError: it holds no Pulumi.yaml, or one of another project.
    """
    if not is_project(folder):
        raise ConfigurationError(
            f"This is not an {PROJECT} project: it has no Pulumi.yaml that says `name: {PROJECT}`.",
            where=where or str(folder),
            fix="run the command in the folder that holds it, or name that folder in AMIANAI_ROOT",
        )
    return folder


@dataclass(frozen=True)
class Identity:
    """Who is calling: what STS answers."""

    account: str
    arn: str


@dataclass(frozen=True)
class Credentials:
    """AWS credentials for clients other than boto3. Never printed: the repr shows the key id alone.

    Attributes:
        access_key: the key's id.
        secret_key: the key.
        token: of a session.
        expires: when they end; None where they do not, or nobody here could renew them.
        renew: gives the present ones, where they end.
    """

    access_key: str
    secret_key: str = field(repr=False)
    token: str | None = field(default=None, repr=False)
    expires: datetime | None = None
    renew: Callable[[], Credentials] | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True)
class EngineEnvironment:
    """What the Pulumi engine needs for one target.

    Attributes:
        project_dir: folder with Pulumi.yaml and Pulumi.prod.yaml that the engine may write to.
        backend_url: state backend, `s3://...` or `file://...`.
        secrets_provider: `awskms://...` or `passphrase`.
        variables: environment variables of the engine (credentials, PULUMI_DEBUG_PROVIDERS, passphrase file).
        drop: names of ambient variables that must not reach the engine.
    """

    project_dir: Path
    backend_url: str
    secrets_provider: str
    variables: Mapping[str, str] = field(repr=False)
    drop: frozenset[str] = frozenset()
    stack: str = STACK
    project: str = PROJECT

    def in_folder(self, folder: Path) -> EngineEnvironment:
        """The same with copies of Pulumi.yaml and the stack file, which may be changed without a trace."""
        import shutil

        for file in self.project_dir.glob("Pulumi*.yaml"):
            shutil.copy2(file, folder)
        return replace(self, project_dir=folder)


@dataclass(frozen=True)
class SiteAddress:
    """How our own clients reach the site people see at `url`.

    Attributes:
        url: what a person opens, with trailing slash.
        host: value of the Host header (and of TLS SNI).
        connect: host and port to open a connection to.
        tls: whether the connection is TLS.
    """

    url: str
    host: str
    connect: tuple[str, int]
    tls: bool


class Target(Protocol):
    """The environment a command acts on."""

    @property
    def name(self) -> Literal["aws", "sandbox"]:
        """Which of the two this is."""
        ...

    @property
    def root(self) -> Path:
        """The project: the folder that holds Pulumi.yaml."""
        ...

    @property
    def local(self) -> Path:
        """Our git-ignored folder for caches and local state (`.amianai/` or `.sandbox/`)."""
        ...

    @property
    def region(self) -> str:
        """The stack's region."""
        ...

    def ready(self) -> None:
        """Make sure calls can be made: credentials answer, or the sandbox runs. Raises with the fix otherwise."""
        ...

    def client(self, service: str, region: str | None = None) -> Any:
        """A boto3 client for this target."""
        ...

    def credentials(self) -> Credentials:
        """Credentials for clients other than boto3."""
        ...

    def endpoint(self, service: str) -> str | None:
        """The service's endpoint URL where it is not AWS's own."""
        ...

    def sdk_variables(self) -> Mapping[str, str]:
        """What an application's environment must say for an AWS SDK to end here; nothing where every SDK does anyway."""
        ...

    def identity(self) -> Identity:
        """Who is calling."""
        ...

    def engine(self) -> EngineEnvironment:
        """The engine's environment."""
        ...

    def default_settings(self) -> Mapping[str, str]:
        """Dotted settings this target provides below flag, environment and stack file."""
        ...

    def site_address(self, outputs: StackOutputs) -> SiteAddress:
        """Where the site answers."""
        ...

    def preview_address(self, outputs: StackOutputs, label: str) -> SiteAddress:
        """Where one preview answers."""
        ...

    def database_ca(self) -> Path:
        """PEM file of the authorities that may sign the database's certificate."""
        ...

    def password_file(self) -> Path | None:
        """libpq's password file for the database's roles, as their secrets are now; None where passwords are kept in no file."""
        ...

    def client_programs(self) -> Path | None:
        """The folder with psql, pg_dump and pg_restore of the server's version, where this target brings them."""
        ...


def aws_error(error: Exception, doing: str) -> AmianaiError:
    """Translate a botocore error: absent, forbidden and unreachable stay three different errors.

    Args:
        error: what botocore raised.
        doing: what was attempted, as a noun phrase ("reading /eeyore/stack").
    """
    from botocore import exceptions as aws

    if isinstance(error, aws.ClientError):
        return _client_error(error, doing)
    if isinstance(error, (aws.NoCredentialsError, aws.PartialCredentialsError, aws.CredentialRetrievalError, *_sso_errors())):
        return ForbiddenError(
            f"No usable AWS credentials for {doing}.",
            where=f"{error}; {_place()}",
            fix="run `aws configure` or `aws sso login`, or set AWS_PROFILE",
        )
    if isinstance(error, aws.RefreshWithMFAUnsupportedError):
        return ForbiddenError(
            "The session that the MFA code gave has ended.", where=_place(), fix="run the command again: what was done stays done"
        )
    return _configuration_error(error) or _connection_error(error, doing) or AmianaiError(f"AWS refused {doing}.", where=str(error))


def _sso_errors() -> tuple[type[Exception], ...]:
    from botocore import exceptions as aws

    return (aws.TokenRetrievalError, aws.SSOTokenLoadError, aws.UnauthorizedSSOTokenError)


def _configuration_error(error: Exception) -> ConfigurationError | None:
    """What a file or variable of the AWS SDKs has wrong. Of a file only the line's number is told: keys are in it."""
    from botocore import exceptions as aws

    if isinstance(error, aws.ProfileNotFound):
        return ConfigurationError(
            f"There is no AWS profile {error.kwargs['profile']!r}.",
            where=_place(),
            fix="set AWS_PROFILE to one that `aws configure list-profiles` shows, or make it with `aws configure`",
        )
    if isinstance(error, aws.ConfigParseError):
        cause: Any = error.kwargs.get("error")
        line = getattr(cause, "lineno", None) or next(iter(getattr(cause, "errors", ())), (0,))[0]
        place = f"{error.kwargs['path']}{f', line {line}' if line else ''}"
        return ConfigurationError("The AWS configuration file cannot be understood.", where=place, fix="correct that file")
    if isinstance(error, (aws.InvalidConfigError, aws.InfiniteLoopConfigError)):
        return ConfigurationError("The AWS profile does not hang together.", where=f"{error}; {_place()}", fix="correct that file")
    found = re.match("Invalid endpoint: (.*)", str(error)) if isinstance(error, ValueError) else None
    if found:
        names = [name for name, value in os.environ.items() if name.startswith("AWS_ENDPOINT_URL") and value and value in found[1]]
        return ConfigurationError(
            "The address that AWS is to be reached at is none.",
            where=f"{', '.join(names) or f'endpoint_url of {_place()}'}: {found[1]}",
            fix="begin it with https:// (or http://), or unset it to reach AWS itself",
        )
    return None


def _place() -> str:
    from amianai_infra.credentials import place_of

    return place_of()[0]


_PROXIES = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy")


def _connection_error(error: Exception, doing: str) -> AmianaiError | None:
    """No answer: the proxy's fault, the certificates', or the network's."""
    from botocore import exceptions as aws

    if isinstance(error, aws.ProxyConnectionError):
        chosen = ", ".join(name for name in _PROXIES if os.environ.get(name)) or "proxy of this machine"
        return UnreachableError(
            f"The proxy does not lead to AWS ({doing}).",
            where=f"{chosen}: {_without_password(str(error))}",
            fix="correct that variable (http://user:password@host:port), or unset it where no proxy is needed",
        )
    if isinstance(error, aws.SSLError):
        chosen = next((f"{name}={os.environ[name]}" for name in ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE") if os.environ.get(name)), "")
        return UnreachableError(
            f"The TLS connection to AWS cannot be trusted ({doing}).",
            where=f"{chosen}: {error}" if chosen else str(error),
            fix="AWS_CA_BUNDLE has to name a readable PEM file with the authorities, that of a proxy that signs for AWS among them;"
            " unset it where there is no such proxy. A wrong clock makes certificates invalid, too",
        )
    if isinstance(error, (aws.ConnectionError, aws.HTTPClientError)):
        return UnreachableError(f"AWS did not answer while {doing}.", where=str(error), fix="check the network and run the command again")
    return None


def _without_password(text: str) -> str:
    return re.sub(r"//[^/@\s]*@", "//", text)


_EXPIRED = {
    "ExpiredToken",
    "ExpiredTokenException",
    "RequestExpired",
    "InvalidClientTokenId",
    "UnrecognizedClientException",
    "SignatureDoesNotMatch",
    "AuthFailure",
    "InvalidAccessKeyId",
}
_FORBIDDEN = {
    "AccessDenied",
    "AccessDeniedException",
    "UnauthorizedOperation",
    "NotAuthorizedException",
    "AuthorizationError",
    "Forbidden",
    "403",
}
_SKEWED = {"RequestTimeTooSkewed", "RequestInTheFuture", "InvalidSignatureException"}
SKEW_MOST_SECONDS = 240
"""AWS refuses signatures that are five minutes off."""


def clock_skew(answer: Mapping[str, Any]) -> float | None:
    """How many seconds this machine's clock is ahead of AWS's, by the Date of an answer; None where it has none."""
    from email.utils import parsedate_to_datetime  # here, because a release imports this module and needs none of that package

    said = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
    try:
        return time.time() - parsedate_to_datetime(said).timestamp() if said else None
    except ValueError:
        return None


def _clock_error(error: Any, code: str, where: str) -> ClockError | None:
    """A wrong clock, which services call an expired request, a wrong signature or an invalid key."""
    skew = clock_skew(error.response) or 0.0
    off = abs(skew) >= SKEW_MOST_SECONDS
    if code not in _EXPIRED | _SKEWED or not (off or re.search("(?i)signature (expired|not yet current)", where)):
        return None
    direction = f"{duration(abs(skew))} {'ahead of' if skew > 0 else 'behind'}" if off else "off from"
    return ClockError(
        f"This machine's clock is {direction} AWS's, which therefore takes no request.",
        where=where,
        fix="set the clock (`timedatectl set-ntp true`, or the system's settings), then run the command again",
    )


_BUSY = ("Throttl", "TooManyRequests", "RequestLimitExceeded", "SlowDown", "PriorRequestNotComplete")


def _forbidden(code: str, message: str, doing: str, where: str) -> ForbiddenError:
    if "MultiFactorAuthentication failed" in message:
        return ForbiddenError(
            "AWS does not take the MFA code.", where=where, fix="run the command again with the next code: each is good once, for 30 s"
        )
    if code in _EXPIRED | _SKEWED:
        return ForbiddenError(
            f"The AWS credentials have expired or are not valid ({doing}).",
            where=where,
            fix="run `aws sso login` or renew the access key, then run the command again",
        )
    return ForbiddenError(
        f"These credentials may not do this ({doing}).",
        where=where,
        fix="`amianai doctor` compares them with the operator policy in docs/aws.md",
    )


def _client_error(error: Any, doing: str) -> AmianaiError:
    code = error.response.get("Error", {}).get("Code", "")
    message = error.response.get("Error", {}).get("Message", "")
    where = f"{error.operation_name}: {code}: {message}"
    if clock := _clock_error(error, code, where):
        return clock
    if code in _FORBIDDEN | _EXPIRED | _SKEWED or "MultiFactorAuthentication failed" in message:
        return _forbidden(code, message, doing, where)
    if "NotFound" in code or code.startswith("NoSuch") or code in ("404", "ResourceNotFoundException"):
        return NotFoundError(f"Not found while {doing}.", where=where)
    if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0) >= 500 or any(part in code for part in _BUSY):
        return AmianaiError(
            f"AWS is throttling or failing ({doing}), also after several attempts.", where=where, fix="run the command again: it goes on"
        )
    return AmianaiError(f"AWS refused {doing}.", where=where)


def expect_owner(s3: Any, account: Callable[[], str], others: str | None = None) -> Any:
    """Have S3 refuse every request of this client to a bucket of another account: names of buckets are the world's, not ours.

    Args:
        s3: a boto3 client.
        account: gives our account number; asked at the first request.
        others: a bucket that may be somebody else's, because a person chose it.

    Source: Amazon S3 User Guide, "Verifying bucket ownership with bucket owner condition".
    """

    def add(params: dict[str, Any], model: Any, **_: Any) -> dict[str, Any] | None:
        takes_it = model.input_shape is not None and "ExpectedBucketOwner" in model.input_shape.members
        if not takes_it or "ExpectedBucketOwner" in params or params.get("Bucket") == others:
            return None
        return {**params, "ExpectedBucketOwner": account()}

    s3.meta.events.register("provide-client-params.s3", add)
    return s3


def own_bucket_exists(s3: Any, name: str) -> bool:
    """Whether a bucket of ours is there; the client is one that expects us as its owner.

    Raises:
        ForbiddenError: it is another account's, or these credentials may not use it; S3 does not say which.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        s3.head_bucket(Bucket=name)
    except (BotoCoreError, ClientError) as error:
        translated = aws_error(error, f"looking for the bucket {name}")
        if isinstance(translated, NotFoundError):
            return False
        if isinstance(translated, ForbiddenError) and isinstance(error, ClientError):
            raise ForbiddenError(
                f"The bucket {name} belongs to another account, or these credentials may not use it. Nothing was written.",
                where=translated.where,
                fix="`amianai doctor` compares the credentials; if the name is taken, choose another with --set prefix=...",
            ) from error
        raise translated from error
    return True


class AwsTarget:
    """Real AWS, with the ambient credentials chain.

    Raises:
        RefusedError: somebody else could have written what is kept on this machine about it.
    """

    name: Literal["aws"] = "aws"

    def __init__(self, root: Path, region: str, prefix: str, environ: Mapping[str, str] = os.environ) -> None:
        self.root = root
        self.region = region
        self.local = root / ".amianai"
        require_ours(self.local)
        self._prefix = prefix
        self._environ = environ

    @cached_property
    def _session(self) -> Session:
        from amianai_infra.credentials import open_session

        return open_session(self.region, lambda error: aws_error(error, "taking up the AWS credentials"))

    def ready(self) -> None:
        """Ask STS who we are; raises when the credentials are absent, expired or AWS is unreachable."""
        self.identity()

    def client(self, service: str, region: str | None = None) -> Any:
        """A boto3 client with the ambient credentials; one for S3 takes buckets of this account alone."""
        from botocore.exceptions import BotoCoreError

        from amianai_infra.credentials import QUICK

        config = QUICK if service == "sts" else None
        try:
            client = self._session.client(service, region_name=region or self.region, config=config)  # type: ignore[call-overload]
        except (BotoCoreError, ValueError) as error:
            raise aws_error(error, f"making ready for {service}") from error
        if service != "s3":
            return client
        backend = urlsplit(self._environ.get("PULUMI_BACKEND_URL", ""))
        return expect_owner(client, lambda: self.identity().account, backend.netloc if backend.scheme == "s3" else None)

    def credentials(self) -> Credentials:
        """The ambient credentials: from the environment without loading boto3 where they are there."""
        key, secret = self._environ.get("AWS_ACCESS_KEY_ID"), self._environ.get("AWS_SECRET_ACCESS_KEY")
        if key and secret:
            return Credentials(key, secret, self._environ.get("AWS_SESSION_TOKEN"))
        found: Any = self._session.get_credentials()
        if found is None:
            raise ForbiddenError("No AWS credentials were found.", fix="run `aws configure` or `aws sso login`, or set AWS_PROFILE")
        frozen = found.get_frozen_credentials()
        renewed: dict[str, Any] = {"expires": found.expires, "renew": self.credentials} if found.ends else {}
        return Credentials(str(frozen.access_key), str(frozen.secret_key), frozen.token, **renewed)

    def endpoint(self, service: str) -> str | None:
        """AWS's own, unless `AWS_ENDPOINT_URL_<SERVICE>` or `AWS_ENDPOINT_URL` names another, as in every SDK."""
        return self._environ.get(f"AWS_ENDPOINT_URL_{service.upper()}") or self._environ.get("AWS_ENDPOINT_URL")

    def sdk_variables(self) -> Mapping[str, str]:
        """None: what an SDK finds by itself is AWS, as whoever runs the application."""
        return {}

    @cached_property
    def _identity(self) -> Identity:
        from botocore.exceptions import BotoCoreError, ClientError
        from botocore.parsers import ResponseParserError

        try:
            answer = self.client("sts").get_caller_identity()
        except (BotoCoreError, ClientError) as error:
            raise aws_error(error, "asking STS who is calling") from error
        except (ResponseParserError, KeyError) as error:
            raise UnreachableError(
                "Something else than AWS answered.",
                where="sts GetCallerIdentity",
                fix="look at the network, HTTPS_PROXY and AWS_ENDPOINT_URL",
            ) from error
        return Identity(answer["Account"], answer["Arn"])

    def identity(self) -> Identity:
        """Who is calling, asked once."""
        return self._identity

    def engine(self) -> EngineEnvironment:
        """State in our S3 bucket with our KMS key, unless PULUMI_BACKEND_URL says otherwise.

        Raises:
            ForbiddenError: the state bucket is not ours; the engine itself would use whoever's it is.
        """
        chosen = self._environ.get("PULUMI_BACKEND_URL")
        if not chosen:
            _ = self._state_is_ours
        from amianai_infra.credentials import SEARCHED

        secrets = self._environ.get("PULUMI_SECRETS_PROVIDER") or f"awskms://alias/{self._prefix}-state?region={self.region}"
        return EngineEnvironment(
            project_dir=self.root,
            backend_url=chosen or f"s3://{self.state_bucket}?region={self.region}&awssdk=v2",
            secrets_provider=secrets,
            variables={**self._handed_over, "AWS_REGION": self.region},
            drop=SEARCHED,
        )

    @cached_property
    def _handed_over(self) -> Mapping[str, str]:
        """What we hold, for the engine and its provider."""
        from amianai_infra.credentials import handed_over

        return handed_over(self._session)

    @cached_property
    def _state_is_ours(self) -> bool:
        """Asked once: whether the state bucket is there, and not another account's."""
        return own_bucket_exists(self.client("s3"), self.state_bucket)

    @property
    def state_bucket(self) -> str:
        """Name of the bucket that `setup` creates for the state."""
        return state_bucket_name(self._prefix, self.identity().account, self.region)

    def default_settings(self) -> Mapping[str, str]:
        """None: AWS has no defaults of its own."""
        return {}

    def site_address(self, outputs: StackOutputs) -> SiteAddress:
        """The domain itself, over TLS."""
        return SiteAddress(f"https://{outputs.domain}/", outputs.domain, (outputs.domain, 443), tls=True)

    def preview_address(self, outputs: StackOutputs, label: str) -> SiteAddress:
        """A name below that of the previews, over TLS."""
        host = f"{label}.{outputs.previews.domain}"
        return SiteAddress(f"https://{host}/", host, (host, 443), tls=True)

    def database_ca(self) -> Path:
        """The RDS root certificates that come with the package."""
        return Path(__file__).parent / "database" / "rds-ca.pem"

    def password_file(self) -> None:
        """None: on AWS a password leaves its secret only for as long as a program runs."""

    def client_programs(self) -> None:
        """None: what is installed on this machine is used."""


OUTPUTS_CACHE = "stack.json"


def cached_outputs(target: Target) -> StackOutputs | None:
    """The published outputs as last seen, without any call; None when they were never seen."""
    path = target.local / OUTPUTS_CACHE
    try:
        return StackOutputs.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValueError, RecursionError):
        return None


def fetch_outputs(target: Target, prefix: str) -> StackOutputs:
    """Read the published outputs from SSM and cache them.

    Raises:
        NotFoundError: the stack was not set up yet.
        ForbiddenError, UnreachableError: as the names say.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    name = stack_parameter(prefix)
    try:
        text = target.client("ssm").get_parameter(Name=name)["Parameter"]["Value"]
    except (BotoCoreError, ClientError) as error:
        translated = aws_error(error, f"reading the published stack outputs ({name})")
        if isinstance(translated, NotFoundError):
            hint = "amianai --sandbox setup" if target.name == "sandbox" else "amianai setup"
            raise NotFoundError("The stack is not set up.", where=f"SSM parameter {name}", fix=f"run `{hint}`") from error
        raise translated from error
    try:
        outputs = StackOutputs.model_validate_json(text)
    except (ValueError, RecursionError) as error:
        raise AmianaiError(
            "What the stack published about itself cannot be read.",
            where=f"SSM parameter {name}: {error}",
            fix="run `amianai up`, which publishes it again",
        ) from error
    target.local.mkdir(parents=True, exist_ok=True)
    (target.local / OUTPUTS_CACHE).write_text(outputs.model_dump_json(indent=2))
    return outputs


def forget_outputs(target: Target) -> None:
    """Drop the cached outputs: the stack is gone or changed."""
    (target.local / OUTPUTS_CACHE).unlink(missing_ok=True)
