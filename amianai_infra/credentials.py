"""Getting in: the credentials that boto3 finds, every wait for them bounded, and the same ones for the engine and its provider.

Those two are programs in Go that would look for credentials by themselves: they ask for no MFA code, know no bound, and could come to
others than ours. So they are given what we hold, in environment variables. Credentials that end are renewed here and fetched from a
port of 127.0.0.1, as containers do: nothing of them is on a disk, in the state or in a log.

Source: AWS SDKs and Tools Reference Guide, "Container credential provider"; AWS SDK for Go v2, `config` (resolve_credentials.go).
"""

from __future__ import annotations

import hmac
import json
import os
import re
import secrets
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from botocore.config import Config
from botocore.credentials import (
    AssumeRoleCredentialFetcher,
    CredentialProvider,
    CredentialResolver,
    Credentials,
    DeferredRefreshableCredentials,
    ProcessProvider,
    ProfileProviderBuilder,
    RefreshableCredentials,
    create_mfa_serial_refresher,
)
from botocore.exceptions import InvalidConfigError
from botocore.session import Session as Core

from amianai_infra import printing
from amianai_infra.errors import AmianaiError, ConfigurationError, ForbiddenError, UnreachableError

if TYPE_CHECKING:
    from boto3.session import Session

CONNECT_SECONDS, READ_SECONDS = 5, 10
QUICK = Config(connect_timeout=CONNECT_SECONDS, read_timeout=READ_SECONDS, retries={"mode": "standard", "total_max_attempts": 2})
"""For STS and whoever else gives out credentials: they answer at once, or not at all."""

PROCESS_SECONDS = 120.0
"""How long a credential_process may take: a person may be signing in in a browser."""

SILENCE_SECONDS = 3.0
"""After this long without an answer it is said what is waited for."""

_PAGE = re.compile(rb"\s*<(!doctype html|html)", re.IGNORECASE)
_TRIES = 3

# Where SDKs look for credentials, region and files. The engine is to look nowhere but where we say.
SEARCHED = frozenset(
    {
        *("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_SDK_LOAD_CONFIG"),
        *("AWS_ACCESS_KEY_ID", "AWS_ACCESS_KEY", "AWS_SECRET_ACCESS_KEY", "AWS_SECRET_KEY", "AWS_SESSION_TOKEN"),
        *("AWS_ROLE_ARN", "AWS_ROLE_SESSION_NAME", "AWS_WEB_IDENTITY_TOKEN_FILE"),
        *("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI"),
        *("AWS_CONTAINER_AUTHORIZATION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"),
    }
)

Translate = Callable[[Exception], AmianaiError]


def _word(text: str) -> threading.Timer:
    """Says what is waited for when it takes long; cancelled when it ends."""
    timer = threading.Timer(SILENCE_SECONDS, printing.show, (text,), {"err": True})
    timer.daemon = True
    timer.start()
    return timer


def open_session(region: str, translate: Translate) -> Session:
    """A boto3 session with the ambient credentials. What goes wrong with them is an error of ours, wherever it shows.

    Args:
        region: the stack's.
        translate: an error of botocore's as one of ours.

    Raises:
        AmianaiError: the profile or its files cannot be read.
    """
    import boto3

    core, searching = Core(), Core()
    searching.set_config_variable("region", region)
    searching.set_default_client_config(QUICK)
    for one in (core, searching):
        _watch(one)
    chain = _Chain(searching, region, translate)
    core.register_component("credential_provider", chain)
    with chain.explained():
        return boto3.Session(botocore_session=core, region_name=region)


def _watch(core: Core) -> None:
    """Tell a web page from an answer, and say that STS is waited for."""
    waiting = threading.local()

    def sending(**_: Any) -> None:
        waiting.word = _word("AWS STS does not answer; waiting for half a minute at most ...")

    def ended(**_: Any) -> None:
        waiting.word.cancel()

    core.register("before-send.sts", sending)
    for event in ("before-parse.sts", "response-received.sts"):  # the latter alone where no answer came
        core.register(event, ended)
    core.register("before-parse", _refuse_pages)


def _refuse_pages(**event: Any) -> None:
    """A service answers with XML or JSON; a page is from a hotel's network or a proxy. Overloaded services send pages with 5xx."""
    response_dict, operation_model = event["response_dict"], event["operation_model"]
    body, status = response_dict.get("body"), response_dict["status_code"]
    if status >= 500 and status != 511:
        return
    elsewhere = status in (301, 302, 303, 307, 308) and not body and "x-amzn-requestid" not in response_dict["headers"]
    page = not operation_model.has_streaming_output and isinstance(body, bytes) and _PAGE.match(body)
    if status in (407, 511) or page or (elsewhere and operation_model.service_model.service_name != "s3"):
        service = operation_model.service_model.service_name
        raise UnreachableError(
            "Something between this machine and AWS answered in its place, with a web page.",
            where=f"{service} {operation_model.name}: HTTP {status}",
            fix="sign in to this network in a browser, or set HTTPS_PROXY to its proxy with user and password; then run the command again",
        )


class _Chain(CredentialResolver):
    """botocore's order of places, with our roles and a bound on credential_process."""

    def __init__(self, core: Core, region: str, translate: Translate) -> None:
        super().__init__(providers=[])
        self._core = core
        self._region = region
        self._translate = translate

    def load_credentials(self) -> Any:
        """What is found; None where nothing is."""
        with self.explained():
            chain: CredentialResolver = self._core.get_component("credential_provider")
            name = self._core.get_config_variable("profile") or "default"
            chain.insert_before("assume-role", _Role(self._core, self._region, name))
            chain.insert_before("custom-process", _process(self._core, name))
            found = chain.load_credentials()
        return None if found is None else Held(found, self)

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Whatever goes wrong meanwhile is told with where the credentials should come from."""
        try:
            yield
        except AmianaiError:
            raise
        except Exception as error:
            raise self._explain(error) from error

    def _explain(self, error: Exception) -> AmianaiError:
        from botocore.exceptions import BotoCoreError, ClientError

        if isinstance(error, (BotoCoreError, ClientError)):
            return self._translate(error)
        place, program = place_of(self._core)
        if isinstance(error, OSError):
            return ConfigurationError(
                "The AWS credentials cannot be read: a file or program that should give them cannot be used.",
                where=f"{error.filename or program}: {error.strerror}; {place}",
                fix="correct the path, or make the file readable (a program executable)",
            )
        if isinstance(error, RuntimeError):  # botocore's word for it
            return ForbiddenError(
                "The AWS credentials that came have expired already.",
                where=place,
                fix=f"sign in again where {program or 'that profile'} gets them from, and look at this machine's clock",
            )
        if program:
            return ForbiddenError(
                f"What credential_process prints are no credentials ({type(error).__name__}).",
                where=f"{program}; {place}",
                fix="run it by hand: it has to print JSON with Version 1, AccessKeyId and SecretAccessKey, and nothing besides",
            )
        return ForbiddenError(f"The AWS credentials cannot be read ({type(error).__name__}).", where=place, fix="correct what gives them")


def place_of(core: Core | None = None) -> tuple[str, str]:
    """Where credentials are looked for, for a person; and the program of a credential_process, without its arguments."""
    core = core or Core()
    variable = next((one for one in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE") if os.environ.get(one)), "")
    name = os.environ.get(variable) or "default"
    try:
        profile = core.full_config["profiles"].get(name, {})
    except Exception:  # the file is what is wrong: it is told by itself
        profile = {}
    files = " and ".join(str(core.get_config_variable(one)) for one in ("config_file", "credentials_file"))
    program = str(profile.get("credential_process", "")).partition(" ")[0]
    return f"profile {name}{f' ({variable})' if variable else ''} in {files}", program


class Held:
    """botocore's credentials, which say what is wrong when they cannot be renewed."""

    def __init__(self, found: Any, chain: _Chain) -> None:
        self._found = found
        self._chain = chain

    def __getattr__(self, name: str) -> Any:
        return getattr(self._found, name)

    def get_frozen_credentials(self) -> Any:
        """The present ones, renewed where they are about to end."""
        with self._chain.explained():
            frozen = self._found.get_frozen_credentials()
        for title, text in zip(("access key", "secret key", "session token"), frozen[:3], strict=True):
            if text and not (text.isascii() and text.isprintable() and " " not in text):
                raise ConfigurationError(
                    f"The AWS {title} holds a space, a line break or another sign that no key has.",
                    where="environment: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN"
                    if self._found.method == "env"
                    else place_of()[0],
                    fix="copy it again, whole and on one line",
                )
        return frozen

    @property
    def ends(self) -> bool:
        """Whether they end and are renewed."""
        return isinstance(self._found, RefreshableCredentials)

    @property
    def expires(self) -> datetime:
        """When those that were given out last end."""
        end: datetime = self._found._expiry_time  # the AWS CLI reads it there, too
        return end.astimezone(UTC)

    def as_json(self) -> bytes:
        """As a container's endpoint answers."""
        frozen = self.get_frozen_credentials()
        fields = {"AccessKeyId": frozen.access_key, "SecretAccessKey": frozen.secret_key, "Token": frozen.token}
        return json.dumps({**fields, "Expiration": f"{self.expires:%Y-%m-%dT%H:%M:%SZ}"}).encode()


class _Waited:
    """A process as `subprocess.Popen` gives it, with a bound and a word."""

    def __init__(self, command: list[str], **options: Any) -> None:
        self._process: subprocess.Popen[bytes] = subprocess.Popen(command, **options)
        self._program = command[0]

    @property
    def returncode(self) -> int | None:
        return self._process.returncode

    def communicate(self) -> tuple[bytes, bytes]:
        said = f"Waiting for credential_process {self._program}, {PROCESS_SECONDS:.0f} s at most ..."
        word = _word(said)
        try:
            return self._process.communicate(timeout=PROCESS_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            for pipe in filter(None, (self._process.stdout, self._process.stderr)):  # what it started may hold the other ends
                pipe.close()
            raise UnreachableError(
                f"credential_process gave no credentials within {PROCESS_SECONDS:.0f} s.",
                where=f"{self._program}; {place_of()[0]}",
                fix="run it by hand: it may wait for a sign-in that nobody sees",
            ) from None
        finally:
            word.cancel()


def _process(core: Core, name: str) -> ProcessProvider:
    return ProcessProvider(profile_name=name, load_config=lambda: core.full_config, popen=_Waited)


class _Role(CredentialProvider):
    """A profile with role_arn and source_profile, and mfa_serial where the role wants a code.

    A long-lived key and a code give a session of 12 hours first (GetSessionToken), and with that the role is assumed, again and again:
    the code is asked for once, also where work lasts longer than a session of the role.

    Source: AWS STS API Reference, GetSessionToken and AssumeRole; IAM User Guide, "Secure API access with MFA".
    """

    METHOD = "role-of-profile"

    def __init__(self, core: Core, region: str, name: str, visited: tuple[str, ...] = ()) -> None:
        super().__init__()
        self._core = core
        self._region = region
        self._name = name
        self._visited = (*visited, name)

    def load(self) -> Any:
        """None for a profile of another kind, or one that does not hang together: botocore's own provider says how."""
        profiles = self._core.full_config["profiles"]
        profile = profiles.get(self._name, {})
        source, others = profile.get("source_profile"), {"credential_source", "web_identity_token_file"} & set(profile)
        if "role_arn" not in profile or source not in profiles or others or source in self._visited[:-1]:
            return None
        credentials = self._keys(profile) if source == self._name else self._chain(source).load_credentials()
        if credentials is None:
            raise InvalidConfigError(error_msg=f'The source_profile "{source}" of the profile "{self._name}" has no credentials.')
        return self._assuming(profile, credentials)

    def _keys(self, profile: Mapping[str, str]) -> Credentials | None:
        key, secret = profile.get("aws_access_key_id"), profile.get("aws_secret_access_key")
        return Credentials(key, secret, profile.get("aws_session_token")) if key and secret else None

    def _chain(self, name: str) -> CredentialResolver:
        builder = ProfileProviderBuilder(self._core, region_name=self._region)
        rest = [one for one in builder.providers(name, disable_env_vars=True) if one.METHOD != ProcessProvider.METHOD]
        own = [_Role(self._core, self._region, name, self._visited), _process(self._core, name)]
        return CredentialResolver(providers=[*own, *rest])

    def _assuming(self, profile: Mapping[str, str], source: Any) -> DeferredRefreshableCredentials:
        serial, once = profile.get("mfa_serial"), False
        names = {"role_session_name": "RoleSessionName", "external_id": "ExternalId"}
        more: dict[str, Any] = {parameter: profile[key] for key, parameter in names.items() if key in profile}
        if str(profile.get("duration_seconds", "")).isdecimal():
            more["DurationSeconds"] = int(profile["duration_seconds"])
        if serial and source.get_frozen_credentials().token is None:
            source = self._session(source, serial)
        elif serial:
            more["SerialNumber"], once = serial, True
        fetcher = AssumeRoleCredentialFetcher(
            self._client, source, profile["role_arn"], extra_args=more, mfa_prompter=lambda _: ask_code(self._name, str(serial))
        )
        refresh = create_mfa_serial_refresher(fetcher.fetch_credentials) if once else fetcher.fetch_credentials
        return DeferredRefreshableCredentials(refresh_using=refresh, method=self.METHOD)

    def _session(self, keys: Any, serial: str) -> DeferredRefreshableCredentials:
        def fetch() -> dict[str, str]:
            frozen = keys.get_frozen_credentials()
            code = ask_code(self._name, serial)
            sts = self._client("sts", aws_access_key_id=frozen.access_key, aws_secret_access_key=frozen.secret_key)
            made = sts.get_session_token(SerialNumber=serial, TokenCode=code)["Credentials"]
            fields = {"access_key": "AccessKeyId", "secret_key": "SecretAccessKey", "token": "SessionToken"}
            return {**{name: made[key] for name, key in fields.items()}, "expiry_time": made["Expiration"].isoformat()}

        refresh = create_mfa_serial_refresher(fetch)
        return DeferredRefreshableCredentials(refresh_using=refresh, method=self.METHOD)

    def _client(self, service: str, **keys: Any) -> Any:
        return self._core.create_client(service, region_name=self._region, **keys)


def ask_code(profile: str, serial: str) -> str:
    """The six digits that a person types.

    Raises:
        ForbiddenError: nobody is at a terminal, or what was typed is no code.
    """
    for _ in range(_TRIES):
        typed = printing.hidden_answer(f"MFA code of {serial} for the AWS profile {profile}")
        if typed is None:
            raise ForbiddenError(
                f"The AWS profile {profile} asks for an MFA code, and there is no terminal to type one.",
                where=f"mfa_serial {serial}",
                fix="run the command in a terminal; give a job credentials of its own, for example a role that it assumes by OIDC",
            )
        if re.fullmatch(r"\d{6}", typed.strip(), re.ASCII):
            return typed.strip()
    raise ForbiddenError("That is no MFA code: it has six digits.", where=f"mfa_serial {serial}", fix="run the command again")


class Endpoint:
    """Gives out what is held, renewed, to processes that know a token, on a port of 127.0.0.1, until this process ends."""

    def __init__(self, held: Held) -> None:
        self._token = secrets.token_urlsafe(32)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(held, self._token))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, name="credentials", daemon=True).start()

    def variables(self) -> dict[str, str]:
        """What leads an SDK there."""
        return {
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"http://127.0.0.1:{self._server.server_port}/",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN": self._token,
        }


def _handler(held: Held, token: str) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            said = self.headers.get("Authorization", "")
            if not hmac.compare_digest(said.encode("utf-8", "replace"), token.encode()):
                self._answer(403, json.dumps({"code": "AccessDenied", "message": "not for you"}).encode())
                return
            try:
                self._answer(200, held.as_json())
            except Exception as error:
                told = error.what if isinstance(error, AmianaiError) else type(error).__name__
                self._answer(400, json.dumps({"code": "CredentialsUnavailable", "message": told}).encode())

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            """Nothing is logged."""

    return Handler


def handed_over(session: Session) -> dict[str, str]:
    """The environment that gives another program what this session holds, and nowhere else to look."""
    core: Any = session._session  # what a profile says besides credentials is only here
    held: Any = session.get_credentials()
    files = {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}
    return {**_of_profile(core), **(_keys(held) if held else {}), **files}


def _keys(held: Held) -> Mapping[str, str]:
    """Keys that end are fetched; others are given, so that the engine can end its work also when this process was killed."""
    if held.ends:
        return Endpoint(held).variables()
    frozen = held.get_frozen_credentials()
    named = {"AWS_ACCESS_KEY_ID": frozen.access_key, "AWS_SECRET_ACCESS_KEY": frozen.secret_key, "AWS_SESSION_TOKEN": frozen.token}
    return {name: value for name, value in named.items() if value}


_OPTIONS = {
    "ca_bundle": "AWS_CA_BUNDLE",
    "use_fips_endpoint": "AWS_USE_FIPS_ENDPOINT",
    "use_dualstack_endpoint": "AWS_USE_DUALSTACK_ENDPOINT",
    "retry_mode": "AWS_RETRY_MODE",
    "max_attempts": "AWS_MAX_ATTEMPTS",
    "endpoint_url": "AWS_ENDPOINT_URL",
    "ignore_configured_endpoint_urls": "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
}


def _of_profile(core: Any) -> dict[str, str]:
    """What the profile says besides credentials, as variables; those of the environment itself count more."""
    profile = core.get_scoped_config()
    services = core.full_config.get("services", {}).get(profile.get("services"), {})
    found = {variable: profile[key] for key, variable in _OPTIONS.items() if isinstance(profile.get(key), str)}
    found |= {f"AWS_ENDPOINT_URL_{name.upper()}": one["endpoint_url"] for name, one in services.items() if "endpoint_url" in one}
    if "REQUESTS_CA_BUNDLE" in os.environ:  # botocore takes it, too
        found.setdefault("AWS_CA_BUNDLE", os.environ["REQUESTS_CA_BUNDLE"])
    return {name: value for name, value in found.items() if not os.environ.get(name)}
