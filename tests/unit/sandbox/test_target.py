"""The sandbox as a target: whatever the environment says, nothing leads to AWS."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import pytest

from amianai_infra.config import load_settings
from amianai_infra.outputs import SiteOutputs, StackOutputs
from amianai_infra.sandbox import SandboxTarget
from amianai_infra.target import Target
from tests.project import checkout

SERVICES = ("s3", "ec2", "rds", "cognito-idp", "cloudfront", "route53", "sts", "ssm", "secretsmanager", "iam", "acm")
AMBIENT = {
    "AWS_ACCESS_KEY_ID": "AKIAREAL",
    "AWS_SECRET_ACCESS_KEY": "real",
    "AWS_SESSION_TOKEN": "real",
    "AWS_PROFILE": "production",
    "AWS_DEFAULT_PROFILE": "production",
    "AWS_REGION": "eu-central-1",
    "AWS_DEFAULT_REGION": "eu-central-1",
    "AWS_CA_BUNDLE": "/nowhere/ca.pem",
    "AWS_ENDPOINT_URL": "https://real.example",
    "AWS_ENDPOINT_URL_S3": "https://real.example",
    "AWS_USE_FIPS_ENDPOINT": "true",
    "AWS_USE_DUALSTACK_ENDPOINT": "true",
    "AWS_MAX_ATTEMPTS": "many",
    "AWS_RETRY_MODE": "bogus",
    "AWS_DEFAULTS_MODE": "bogus",
    "AWS_ROLE_ARN": "arn:aws:iam::111122223333:role/real",
    "AWS_WEB_IDENTITY_TOKEN_FILE": "/nowhere/token",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:1/credentials",
    "HTTP_PROXY": "http://127.0.0.1:9",
    "HTTPS_PROXY": "http://127.0.0.1:9",
    "PULUMI_BACKEND_URL": "s3://real",
    "PULUMI_CONFIG_PASSPHRASE": "real",
    "PULUMI_ACCESS_TOKEN": "real",
}


@pytest.fixture
def hostile(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine on which everything leads to a real account; gives a checkout."""
    config = tmp_path / "aws-config"
    config.write_text("[default]\nendpoint_url = https://real.example\nregion = eu-central-1\n[profile production]\nrole_arn = x\n")
    for name, value in {**AMBIENT, "AWS_CONFIG_FILE": str(config), "AWS_SHARED_CREDENTIALS_FILE": str(config)}.items():
        monkeypatch.setenv(name, value)
    return checkout(tmp_path / "checkout")


def test_is_a_target(tmp_path: Path) -> None:
    target: Target = SandboxTarget(checkout(tmp_path))
    assert (target.name, target.region, target.local) == ("sandbox", "us-east-1", tmp_path / ".sandbox")


@pytest.mark.parametrize("service", SERVICES)
def test_every_client_goes_to_this_machine(hostile: Path, service: str) -> None:
    target = SandboxTarget(hostile)
    client = target.client(service)
    assert client.meta.endpoint_url == f"http://127.0.0.1:{target.sandbox.ports().emulator}"
    assert client.meta.region_name == "us-east-1"
    credentials = client._request_signer._credentials
    assert (credentials.access_key, credentials.token) == (target.sandbox.key().access_key, None)
    assert client._endpoint.http_session._proxy_config.proxy_url_for(client.meta.endpoint_url) is None


def test_clients_are_made_once_a_service_and_region(tmp_path: Path) -> None:
    target = SandboxTarget(checkout(tmp_path))
    assert target.client("s3") is target.client("s3", "us-east-1")
    assert target.client("acm", "eu-west-1").meta.region_name == "eu-west-1"


def test_the_engine_gets_its_own_state_and_nothing_of_the_surroundings(hostile: Path) -> None:
    target = SandboxTarget(hostile)
    engine = target.engine()
    assert engine.backend_url == f"file://{hostile}/.sandbox/state"
    assert engine.secrets_provider == "passphrase"
    assert engine.project_dir.is_relative_to(hostile / ".sandbox")
    assert set(AMBIENT) - {"HTTP_PROXY", "HTTPS_PROXY"} <= set(engine.variables) | engine.drop
    assert not set(engine.variables) & engine.drop
    assert not [value for value in engine.variables.values() if "real" in value]
    secret = target.sandbox.key().secret_key
    assert secret not in repr(engine)
    assert secret not in engine.variables.values(), "the key stays in its file"


def test_its_defaults_are_valid_settings_of_its_own_addresses(tmp_path: Path) -> None:
    target = SandboxTarget(checkout(tmp_path))
    settings = load_settings({}, {}, {}, target.default_settings())
    assert settings.domain_name == "example.test"
    assert settings.database.port == 5432, "rules and parameters are those of production; only the endpoint has the real port"
    assert target.endpoint("cognito-idp") in settings.site.connect_src


def test_the_site_is_reached_without_a_name_server(tmp_path: Path) -> None:
    outputs = mock.create_autospec(StackOutputs, instance=True)
    outputs.site = mock.Mock(spec=SiteOutputs, distribution_domain="d111.cloudfront.net")
    target = SandboxTarget(checkout(tmp_path))
    port = target.sandbox.ports().emulator
    address = target.site_address(outputs)
    assert address.url == f"http://d111.cloudfront.localhost:{port}/"
    assert (address.host, address.connect, address.tls) == ("d111.cloudfront.localhost", ("127.0.0.1", port), False)


def test_without_a_stack_there_is_no_password_to_keep(tmp_path: Path) -> None:
    assert SandboxTarget(checkout(tmp_path)).password_file() is None
