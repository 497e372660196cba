"""The running emulator, attacked: by a program without the key, by another user of the machine, with junk for a signature."""

from __future__ import annotations

import gzip
import http.client
import json
import os
import pwd
import select
import shutil
import socket
import stat
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import boto3
import pytest
from botocore.auth import S3SigV4QueryAuth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError

from amianai_infra.progress import Progress
from amianai_infra.sandbox import Sandbox
from tests.project import checkout

QUIET = Progress(quiet=True)
FORM_TYPE = {"content_type": "application/x-www-form-urlencoded"}


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    made = Sandbox(checkout(tmp_path_factory.mktemp("attacked") / "checkout"))
    made.start(QUIET)
    yield made
    made.reset(QUIET)


def client(sandbox: Sandbox, service: str, access_key: str = "", secret: str = "", **config: Any) -> Any:
    key = sandbox.key()
    session = boto3.Session(access_key or key.access_key, secret or key.secret_key, region_name="us-east-1")
    settings = Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}, **config)
    address = f"http://127.0.0.1:{sandbox.ports().emulator}"
    return session.client(service, endpoint_url=address, config=settings)  # type: ignore[call-overload]


def ask(sandbox: Sandbox, method: str, path: str, body: str = "", **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", sandbox.ports().emulator, timeout=20)
    connection.putrequest(method, path, skip_host="host" in headers)
    for name, value in {**headers, "content-length": str(len(body.encode()))}.items():
        connection.putheader(name.replace("_", "-"), value)
    connection.endheaders(body.encode())
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    return answer.status, text


def old_signature(key: str) -> str:
    return f"AWS4-HMAC-SHA256 Credential={key}/20260101/us-east-1/sts/aws4_request, SignedHeaders=host, Signature={'0' * 64}"


# ---- the key


def test_the_key_is_drawn_for_each_checkout_and_lies_in_a_file_of_its_own(sandbox: Sandbox, tmp_path: Path) -> None:
    other = Sandbox(checkout(tmp_path / "other"))
    assert sandbox.key() != other.key() == Sandbox(other.root).key()
    file = sandbox.project.credentials_file
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert sandbox.key().secret_key not in json.dumps(sandbox.environment())
    assert sandbox.key().secret_key not in repr(sandbox.key())


def test_an_sdk_finds_the_key_by_the_printed_environment(sandbox: Sandbox, tmp_path: Path) -> None:
    program = "import boto3; print(boto3.client('sts').get_caller_identity()['Account'])"
    environment = {"PATH": os.defpath, "HOME": str(tmp_path), **sandbox.environment()}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "000000000000"


# ---- what is refused


@pytest.mark.parametrize("key", ["test", "000000000000", "123456789012", "AKIAIOSFODNN7EXAMPLE"])
@pytest.mark.parametrize("secret", ["test", "x"])
def test_no_known_key_opens_anything(sandbox: Sandbox, key: str, secret: str) -> None:
    calls: dict[str, Any] = {
        "sts": lambda c: c.get_caller_identity(),
        "iam": lambda c: c.list_roles(),
        "s3": lambda c: c.list_buckets(),
        "secretsmanager": lambda c: c.list_secrets(),
        "ec2": lambda c: c.describe_vpcs(),
    }
    for service, call in calls.items():
        with pytest.raises(ClientError) as raised:
            call(client(sandbox, service, key, secret))
        assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403, service


def test_the_right_key_id_with_another_secret_opens_nothing(sandbox: Sandbox) -> None:
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        client(sandbox, "sts", sandbox.key().access_key, "x" * 40).get_caller_identity()


JUNK: list[dict[str, str]] = [
    {},
    {"x_amz_target": "x"},
    {"authorization": "x"},
    {"authorization": ""},
    {"authorization": "AWS4-HMAC-SHA256"},
    {"authorization": old_signature("test")},
    {"authorization": old_signature("000000000000")},
    {"authorization": "AWS test:x"},
    {"authorization": "Bearer x", "x_amz_date": "20260101T000000Z"},
]


@pytest.mark.parametrize("headers", JUNK)
def test_junk_is_no_credential_for_any_call(sandbox: Sandbox, headers: dict[str, str]) -> None:
    for method, path, body in [
        ("GET", "/", ""),
        ("GET", "/?X-Amz-Credential=", ""),
        ("GET", "/?X-Amz-Credential=test%2F&X-Amz-Signature=0", ""),
        ("GET", "/?AWSAccessKeyId=test&Signature=x&Expires=9999999999", ""),
        ("PUT", "/made-by-nobody", ""),
        ("DELETE", "/made-by-nobody", ""),
        ("POST", "/", "Action=ListRoles&Version=2010-05-08"),
        ("POST", "/", "Action=CreateStack&StackName=x&Version=2010-05-15"),
        ("GET", "/?Action=CreateStack&StackName=x&Version=2010-05-15", ""),
        ("POST", "/2015-03-31/functions/x/invocations", "{}"),
        ("GET", "/_ministack/health", ""),
        ("POST", "/_ministack/config", '{"lambda_svc.LAMBDA_EXECUTOR": "local"}'),
        ("POST", "/_ministack/reset", ""),
    ]:
        status, text = ask(sandbox, method, path, body, **headers)
        assert status == 403, (method, path, text)
        assert b"Traceback" not in text
    assert "made-by-nobody" not in [bucket["Name"] for bucket in client(sandbox, "s3").list_buckets()["Buckets"]]


@pytest.mark.parametrize("host", ["[::1", "localhost:x", "localhost:999999", "evil.example", "a@localhost", "127.0.0.1.nip.io", "\xff"])
def test_a_host_that_is_none_is_refused_in_one_line(sandbox: Sandbox, host: str) -> None:
    log = sandbox.log_files()["emulator"]
    before = len(log.read_bytes().splitlines())
    assert ask(sandbox, "GET", "/", host=host)[0] in (400, 403)
    assert ask(sandbox, "POST", "/", host="localhost", origin=f"http://{host}")[0] == 403
    written = log.read_bytes().splitlines()[before:]
    assert len(written) <= 2, "one line for each refusal"


def test_even_a_signed_request_runs_no_action_from_its_address(sandbox: Sandbox) -> None:
    url = client(sandbox, "sts").generate_presigned_url("get_caller_identity")
    parts = urlsplit(url)
    assert ask(sandbox, "GET", f"{parts.path}?{parts.query}")[0] == 403


def test_no_address_of_sign_in_leads_to_another_service(sandbox: Sandbox) -> None:
    secret = client(sandbox, "secretsmanager").create_secret(Name="behind", SecretString="do not tell")["ARN"]
    wanted = json.dumps({"SecretId": secret})
    target = {"x_amz_target": "secretsmanager.GetSecretValue", "content_type": "application/x-amz-json-1.1"}
    for method in ("GET", "POST", "HEAD", "PUT"):
        for path in (
            "/us-east-1_x/.well-known/jwks.json",
            "/login",
            "/logout",
            "/oauth2/token",
            "/oauth2/userInfo",
            "/oauth2/authorize",
            "/",
        ):
            for query in ("", "?X-Amz-Credential=test/20260101/us-east-1/secretsmanager/aws4_request"):
                status, text = ask(sandbox, method, path + query, wanted, **target)
                assert (status, b"do not tell" in text) == (403, False), (method, path, query)
    sign_in = {"x_amz_target": "AWSCognitoIdentityProviderService.SignUp"}
    for service, form in (
        ("iam", "Action=CreateUser&UserName=mallory&Version=2010-05-08"),
        ("sqs", "Action=CreateQueue&QueueName=mallory"),
    ):
        query = f"/?X-Amz-Credential=test/20260101/us-east-1/{service}/aws4_request"
        assert ask(sandbox, "POST", query, form, **sign_in, **FORM_TYPE)[0] == 403
        ask(sandbox, "POST", "/", form, **sign_in, **FORM_TYPE)
    assert "mallory" not in str(client(sandbox, "iam").list_users()["Users"])
    assert "mallory" not in str(client(sandbox, "sqs").list_queues().get("QueueUrls"))


# ---- services and code


def test_only_the_services_of_the_stack_are_on(sandbox: Sandbox) -> None:
    calls: dict[str, Any] = {
        "cloudformation": lambda c: c.list_stacks(),
        "stepfunctions": lambda c: c.list_state_machines(),
        "codebuild": lambda c: c.list_projects(),
        "ecs": lambda c: c.list_clusters(),
        "dynamodb": lambda c: c.list_tables(),
    }
    for service, call in calls.items():
        with pytest.raises((ClientError, ResponseParserError), match=r"Unsupported service|\(400\)"):
            call(client(sandbox, service))


def test_no_function_is_executed(sandbox: Sandbox, tmp_path: Path) -> None:
    import io
    import zipfile

    proof = tmp_path / "ran"
    tmp_path.chmod(0o777)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("index.py", f"open({str(proof)!r}, 'w').write('x')\ndef handler(event, context): return 1\n")
    trust = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}],
    }
    role = client(sandbox, "iam").create_role(RoleName="r", AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    functions = client(sandbox, "lambda")
    functions.create_function(
        FunctionName="f", Runtime="python3.12", Role=role, Handler="index.handler", Code={"ZipFile": archive.getvalue()}
    )
    answer = functions.invoke(FunctionName="f")
    assert answer.get("FunctionError"), answer["Payload"].read()
    assert not proof.exists()


# ---- another user


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user takes root")
def test_another_user_of_the_machine_reads_no_secret_and_runs_nothing(sandbox: Sandbox) -> None:
    secret = client(sandbox, "secretsmanager").create_secret(Name="theirs", SecretString="do not tell")["ARN"]
    nobody = pwd.getpwnam("nobody")
    curl = shutil.which("curl") or pytest.skip("there is no curl")
    port = sandbox.ports().emulator

    def as_nobody(*command: str) -> str:
        done = subprocess.run(
            command, user=nobody.pw_uid, group=nobody.pw_gid, extra_groups=[], cwd="/", env={"PATH": os.defpath},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        return done.stdout + done.stderr

    for key in ("test", "000000000000"):
        read = as_nobody(
            curl, "-s", "-X", "POST", f"http://127.0.0.1:{port}/", "-H", "x-amz-target: secretsmanager.GetSecretValue",
            "-H", "content-type: application/x-amz-json-1.1", "-H", f"authorization: {old_signature(key)}", "-d",
            json.dumps({"SecretId": secret}),
        )  # fmt: skip
        assert "do not tell" not in read
        assert "InvalidClientTokenId" in read or "RequestTimeTooSkewed" in read or "IncompleteSignature" in read
    for file in (sandbox.project.credentials_file, sandbox.local / "passphrase", sandbox.local / "run"):
        assert "Permission denied" in as_nobody("cat", str(file)), file
    assert sandbox.key().secret_key not in as_nobody("sh", "-c", "cat /proc/[0-9]*/environ 2>/dev/null; ps axeww")


# ---- requests that look like another one


def test_keys_of_a_pool_that_does_not_exist_are_no_way_to_another_service(sandbox: Sandbox) -> None:
    for action in ("ListRoles", "DescribeInstances", "ListQueues", "ConfirmSubscription", "AssumeRoleWithWebIdentity"):
        for path in ("/us-east-1_x/.well-known/jwks.json", "/us-east-1_x/.well-known/openid-configuration"):
            _, text = ask(sandbox, "GET", path, f"Action={action}&Version=2010-05-08", **FORM_TYPE)
            assert (b"ErrorResponse" in text, b"Response><Errors" in text) == (False, False), (action, text)


@pytest.mark.parametrize("host", ["x.alb.localhost", "localhost", f"{'a' * 32}.lambda-url.us-east-1.localhost"])
@pytest.mark.parametrize("path", ["/", "/restapis/a/b/_user_request_/c"])
def test_no_preflight_is_another_request(sandbox: Sandbox, host: str, path: str) -> None:
    name = f"asked-{abs(hash((host, path)))}"
    client(sandbox, "secretsmanager").create_secret(Name=name, SecretString="do not tell")
    scope = {"X-Amz-Algorithm": "AWS4-HMAC-SHA256", "X-Amz-Credential": "test/20260101/us-east-1/iam/aws4_request", "X-Amz-Signature": "0"}
    for more in ({}, {"origin": "http://localhost:3000", "access_control_request_method": "GET"}):
        target = {"host": host, "x_amz_target": "secretsmanager.GetSecretValue", "content_type": "application/x-amz-json-1.1"}
        _, text = ask(sandbox, "OPTIONS", f"{path}?{urlencode(scope)}", json.dumps({"SecretId": name}), **target, **more)
        assert b"do not tell" not in text


def presigned(sandbox: Sandbox, operation: str, bucket: str, version: str = "s3v4", **more: Any) -> tuple[str, str]:
    parameters = {"Bucket": bucket, "Key": "k", **more}
    parts = urlsplit(client(sandbox, "s3", signature_version=version).generate_presigned_url(operation, Params=parameters, ExpiresIn=600))
    return parts.path, parts.query


@pytest.fixture(scope="module")
def buckets(sandbox: Sandbox) -> tuple[str, str]:
    s3 = client(sandbox, "s3")
    for bucket, key in (("shared", "k"), ("shared", "k#x"), ("hidden", "k"), ("hidden", "shared/k")):
        s3.create_bucket(Bucket=bucket)
        s3.put_object(Bucket=bucket, Key=key, Body=f"{bucket} {key}".encode())
    return "shared", "hidden"


def test_a_presigned_address_is_a_request_to_s3_whatever_its_body_says(sandbox: Sandbox, buckets: tuple[str, str]) -> None:
    form = "Action=CreateUser&UserName=made-by-a-form&Version=2010-05-08"
    for operation, method in (("create_multipart_upload", "POST"), ("put_object", "PUT"), ("get_object", "GET")):
        path, query = presigned(sandbox, operation, buckets[0])
        status, _ = ask(sandbox, method, f"{path}?{query}", form, **FORM_TYPE)
        assert status == 200, operation
    assert "made-by-a-form" not in [user["UserName"] for user in client(sandbox, "iam").list_users()["Users"]]
    assert client(sandbox, "s3").get_object(Bucket=buckets[0], Key="k")["Body"].read() == form.encode()


@pytest.mark.parametrize("version", ["s3v4", "s3"])
def test_a_presigned_address_opens_one_object(sandbox: Sandbox, buckets: tuple[str, str], version: str) -> None:
    path, query = presigned(sandbox, "get_object", buckets[0], version)
    addresses = [f"{path}#x?{query}", f"hidden{path}?{query}", f"]{path}?{query}", f"http://localhost{path}?{query}", f"{path}?{query}#"]
    for address in addresses:
        assert ask(sandbox, "GET", address)[0] == 403, address
    for host in ("hidden.localhost", "hidden.s3.localhost", "hidden.s3.us-east-1.localhost"):
        assert ask(sandbox, "GET", f"{path}?{query}", host=host)[0] == 403, host


@pytest.mark.parametrize("version", ["s3v4", "s3"])
def test_nothing_is_added_to_a_presigned_address(sandbox: Sandbox, buckets: tuple[str, str], version: str) -> None:
    path, query = presigned(sandbox, "put_object", buckets[0], version)
    key = sandbox.key().access_key
    for added in (
        "x-amz-copy-source=/hidden/k", "X-Amz-Copy-Source=%2Fhidden%2Fk", "%74agging", "tagging", "retention", "x-amz-meta-a=b",
        f"X-Amz-Credential={key}/20260101/us-east-1/s3/aws4_request", "x-amz-credential=000000000000/20260101/us-east-1/s3/aws4_request",
        "AWSAccessKeyId=test", "prefix=%23&tagging",
    ):  # fmt: skip
        assert ask(sandbox, "PUT", f"{path}?{query}&{added}", "x")[0] == 403, added
        assert ask(sandbox, "PUT", f"{path}?{added}&{query}", "x")[0] == 403, added


def test_a_listing_presigned_with_version_2_works(sandbox: Sandbox, buckets: tuple[str, str]) -> None:
    parameters = {"Bucket": buckets[0], "Prefix": "k#", "MaxKeys": 5}
    url = client(sandbox, "s3", signature_version="s3").generate_presigned_url("list_objects_v2", Params=parameters)
    with urllib.request.urlopen(url) as answer:
        assert b"<Key>k%23x</Key>" in answer.read()


def test_a_user_signs_as_nobody_else(sandbox: Sandbox, buckets: tuple[str, str]) -> None:
    iam, own = client(sandbox, "iam"), sandbox.key().access_key
    iam.create_user(UserName="climber")
    made = iam.create_access_key(UserName="climber")["AccessKey"]
    user = Credentials(made["AccessKeyId"], made["SecretAccessKey"])
    form = {"Content-Type": FORM_TYPE["content_type"]}
    body, address = "Action=ListRoles&Version=2010-05-08", f"http://127.0.0.1:{sandbox.ports().emulator}"
    for hidden in ("Credential={own}, ", "SignedHeaders=credential;Credential={own}, ", "Credential={own},SignedHeaders=host, "):
        asked = AWSRequest("POST", f"{address}/", form, data=body)
        SigV4Auth(user, "iam", "us-east-1").add_auth(asked)
        first = hidden.format(own=f"{own}/{asked.context['timestamp'][:8]}/us-east-1/iam/aws4_request")
        sent = {name.replace("-", "_").lower(): value for name, value in asked.headers.items()}
        sent["authorization"] = sent["authorization"].replace("AWS4-HMAC-SHA256 ", f"AWS4-HMAC-SHA256 {first}")
        status, text = ask(sandbox, "POST", "/", body, **sent)
        assert (status, b"<Roles" in text) == (403, False), hidden
    scope = quote(f"{own}/20260101/us-east-1/s3/aws4_request", safe="")
    for name in ("X-Amz-Credential", "x-amz-credential"):
        asked = AWSRequest("GET", f"{address}/hidden/k?{name}={scope}")
        S3SigV4QueryAuth(user, "s3", "us-east-1").add_auth(asked)
        parts = urlsplit(str(asked.url))
        status, text = ask(sandbox, "GET", f"{parts.path}?{parts.query}")
        assert (status, b"hidden" in text) == (403, False), name


# ---- what a stranger's request may cost


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": old_signature("AKIAIOSFODNN7EXAMPLE")},
        {"authorization": "x"},
        {},
        {"x_amz_target": "AWSCognitoIdentityProviderService.SignUp"},
    ],
)
def test_a_strangers_body_is_not_kept(sandbox: Sandbox, headers: dict[str, str]) -> None:
    """It never ends; the answer comes all the same."""
    with socket.create_connection(("127.0.0.1", sandbox.ports().emulator), timeout=20) as connection:
        lines = [f"{name.replace('_', '-')}: {value}" for name, value in {"host": "localhost", **headers}.items()]
        head = "\r\n".join(["POST / HTTP/1.1", *lines, "transfer-encoding: chunked", "", ""])
        connection.sendall(head.encode())
        connection.setblocking(False)
        chunk, sent, answer = b"10000\r\n" + b"x" * 0x10000 + b"\r\n", 0, b""
        while not answer and sent < 64 * 2**20:
            readable, writable, _ = select.select([connection], [connection], [], 20)
            assert readable or writable, "neither read nor answered"
            if readable:
                answer = connection.recv(100)
            else:
                sent += connection.send(chunk[sent % len(chunk) :])
    assert answer.split()[1] in (b"403", b"413")


def test_a_small_body_stands_for_no_large_one(sandbox: Sandbox) -> None:
    target = {"x-amz-target": "AWSCognitoIdentityProviderService.SignUp", "content-type": "application/x-amz-json-1.1"}
    body = gzip.compress(b" " * 2**20)
    for encoded in ({"content-encoding": "gzip"}, {"content-encoding": "GZIP, gzip"}, {"x-amz-decoded-content-length": "1"}):
        connection = http.client.HTTPConnection("127.0.0.1", sandbox.ports().emulator, timeout=20)
        connection.request("POST", "/", body, {**target, **encoded})
        assert connection.getresponse().status == 403, encoded
        connection.close()


# ---- what AWS leaves unsigned


@pytest.fixture(scope="module")
def pool(sandbox: Sandbox) -> dict[str, str]:
    cognito = client(sandbox, "cognito-idp")
    made = cognito.create_user_pool(PoolName="p", UsernameAttributes=["email"], UsernameConfiguration={"CaseSensitive": False})["UserPool"][
        "Id"
    ]
    made_client = cognito.create_user_pool_client(
        UserPoolId=made, ClientName="web", ExplicitAuthFlows=["ALLOW_USER_SRP_AUTH"], CallbackURLs=["http://localhost:3000/"],
        AllowedOAuthFlows=["code"], AllowedOAuthScopes=["openid"], AllowedOAuthFlowsUserPoolClient=True,
        SupportedIdentityProviders=["COGNITO"],
    )  # fmt: skip
    return {"pool": made, "client": made_client["UserPoolClient"]["ClientId"]}


def sign_up(sandbox: Sandbox, pool: dict[str, str], name: str, **headers: str) -> int:
    body = json.dumps({"ClientId": pool["client"], "Username": name, "Password": "Correct-Horse-1-battery"})
    target = {"x_amz_target": "AWSCognitoIdentityProviderService.SignUp", "content_type": "application/x-amz-json-1.1"}
    return ask(sandbox, "POST", "/", body, **target, **headers)[0]


def test_sign_up_keys_and_pages_are_open_to_programs_and_to_the_addresses_of_return(sandbox: Sandbox, pool: dict[str, str]) -> None:
    assert sign_up(sandbox, pool, "a@example.test") == 200
    ours = {"origin": "http://localhost:3000", "sec_fetch_site": "cross-site"}
    assert sign_up(sandbox, pool, "b@example.test", **ours) == 200
    assert sign_up(sandbox, pool, "c@example.test", **{**ours, "origin": "http://localhost:8000"}) == 403
    status, keys = ask(sandbox, "GET", f"/{pool['pool']}/.well-known/jwks.json")
    assert status == 200
    assert json.loads(keys)["keys"]
    query = f"client_id={pool['client']}&response_type=code&scope=openid&redirect_uri=http://localhost:3000/"
    assert ask(sandbox, "GET", f"/oauth2/authorize?{query}")[0] == 200


def test_cognito_refuses_what_it_refuses_on_aws(sandbox: Sandbox, pool: dict[str, str]) -> None:
    assert sign_up(sandbox, pool, "once@example.test") == 200
    target = {"x_amz_target": "AWSCognitoIdentityProviderService.SignUp", "content_type": "application/x-amz-json-1.1"}
    body = {"ClientId": pool["client"], "Username": "twice@example.test", "Password": "Correct-Horse-1-battery"}
    verified = {**body, "UserAttributes": [{"Name": "email_verified", "Value": "true"}]}
    status, text = ask(sandbox, "POST", "/", json.dumps(verified), **target)
    assert (status, b"NotAuthorizedException" in text) == (400, True)
    sensitive = sign_up(sandbox, pool, "Once@Example.test")
    described = client(sandbox, "cognito-idp").describe_user_pool(UserPoolId=pool["pool"])["UserPool"]
    assert described.get("UsernameConfiguration", {}).get("CaseSensitive", True) is False
    assert sensitive == 400


@pytest.mark.parametrize("body", ["{", "[]", "5", "[" * 200_000, '{"a":' * 100_000, '{"ClientId":' + "9" * 5000 + "}", "\xff\xfe"])
def test_what_is_no_request_is_refused_without_a_word_in_the_log(sandbox: Sandbox, body: str) -> None:
    log = sandbox.log_files()["emulator"]
    before = log.stat().st_size
    target = {"x_amz_target": "AWSCognitoIdentityProviderService.InitiateAuth", "content_type": "application/x-amz-json-1.1"}
    status, text = ask(sandbox, "POST", "/", body, **target)
    assert (status, b"SerializationException" in text) == (400, True)
    assert b"Traceback" not in log.read_bytes()[before:]


def test_actions_that_aws_signs_stay_closed_for_cognito_too(sandbox: Sandbox, pool: dict[str, str]) -> None:
    target = {"x_amz_target": "AWSCognitoIdentityProviderService.AdminCreateUser", "content_type": "application/x-amz-json-1.1"}
    status, text = ask(sandbox, "POST", "/", json.dumps({"UserPoolId": pool["pool"], "Username": "x@example.test"}), **target)
    assert (status, b"MissingAuthenticationToken" in text) == (403, True)


@pytest.mark.parametrize("version", ["s3v4", "s3"])
def test_a_page_that_signs_in_uploads_to_a_presigned_address(
    sandbox: Sandbox, pool: dict[str, str], buckets: tuple[str, str], version: str
) -> None:
    ours = "http://localhost:3000"
    rule = {"AllowedOrigins": [ours], "AllowedMethods": ["PUT"], "AllowedHeaders": ["content-type"]}
    client(sandbox, "s3").put_bucket_cors(Bucket=buckets[0], CORSConfiguration={"CORSRules": [rule]})
    address = "?".join(presigned(sandbox, "put_object", buckets[0], version))
    asked = {"access_control_request_method": "PUT", "sec_fetch_site": "cross-site", "sec_fetch_mode": "cors"}
    assert ask(sandbox, "OPTIONS", address, origin=ours, **asked)[0] == 200
    assert ask(sandbox, "OPTIONS", address, origin="http://localhost:8000", **asked)[0] == 403
    assert ask(sandbox, "OPTIONS", address, origin=ours, **{**asked, "access_control_request_method": "DELETE"})[0] == 403
    assert ask(sandbox, "PUT", address, "from a page", origin=ours, sec_fetch_site="cross-site")[0] == 200


@pytest.mark.parametrize("version", ["s3v4", "s3"])
def test_presigned_addresses_work(sandbox: Sandbox, version: str) -> None:
    s3 = client(sandbox, "s3", signature_version=version)
    client(sandbox, "s3").create_bucket(Bucket="presigned")
    put = s3.generate_presigned_url("put_object", Params={"Bucket": "presigned", "Key": "a b/ü.txt"}, ExpiresIn=60)
    assert ask(sandbox, "PUT", put.partition(str(sandbox.ports().emulator))[2], "content")[0] == 200
    got = s3.generate_presigned_url("get_object", Params={"Bucket": "presigned", "Key": "a b/ü.txt"}, ExpiresIn=60)
    with urllib.request.urlopen(got) as answer:
        assert answer.read() == b"content"


def test_keys_of_users_and_sessions_sign_as_on_aws(sandbox: Sandbox) -> None:
    iam = client(sandbox, "iam")
    iam.create_user(UserName="reader")
    key = iam.create_access_key(UserName="reader")["AccessKey"]
    assert client(sandbox, "sts", key["AccessKeyId"], key["SecretAccessKey"]).get_caller_identity()["Arn"].endswith("user/reader")
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        client(sandbox, "sts", key["AccessKeyId"], "x").get_caller_identity()
    with pytest.raises(ClientError, match="AccessDenied"):
        client(sandbox, "iam", key["AccessKeyId"], key["SecretAccessKey"]).list_roles()
