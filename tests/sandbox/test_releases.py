"""Releases in the sandbox: through the emulated CDN, with its viewer function, bucket policy and invalidations."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from amianai_infra.rules.policies import deployer
from amianai_infra.site.manifest import LOCK, manifest_key
from tests.functional.site.visitor import Visitors
from tests.project import CHECKOUT, Deployed
from tests.sandbox.test_life_cycle import get

pytestmark = pytest.mark.sandbox


@pytest.fixture
def out(deployed: Deployed) -> Iterator[Path]:
    """The finished site, as it was afterwards."""
    folder = deployed.project.root / "examples" / "site" / "out"
    page = folder / "about" / "index.html"
    kept = page.read_bytes()
    yield folder
    page.write_bytes(kept)
    deployed.project.run("deploy", "--no-build")


def test_an_edit_a_rollback_and_a_visitor_who_notices_nothing_broken(deployed: Deployed, out: Path) -> None:
    project, url = deployed.project, deployed.site_url
    before = get(url, "/about/")[2]
    first = project.json("releases")[0]["summary"]["number"]
    port = int(url.rstrip("/").rpartition(":")[2])
    host = url.removeprefix("http://").rstrip("/")
    pages = sorted(str(path.relative_to(out)) for path in out.rglob("index.html"))
    with Visitors(port, pages, count=1, host=host) as visitors:
        (out / "about" / "index.html").write_text(before.replace("</body>", "<!-- edited --></body>"))
        release = project.json("deploy", "--no-build")
        assert release["uploaded"] == ["about/index.html"]
        assert set(release["invalidated"]) == {"/about", "/about/", "/about/index.html"}
        assert release["verified"]["pages"] >= 2
        assert "<!-- edited -->" in get(url, "/about/")[2]
        back = project.json("rollback")
        assert (back["kind"], back["origin"]) == ("rollback", first)
        assert get(url, "/about/")[2] == before
    assert visitors.problems == []


def test_headers_of_the_site_pass_the_edge_and_s3_tells_nothing_of_itself(deployed: Deployed, out: Path) -> None:
    """The function and the policy together, as CloudFront applies them; in which order AWS does is open, and does not matter here."""
    project, url = deployed.project, deployed.site_url
    plain = get(url, "/about/")[1]
    assert plain["x-frame-options"] == "DENY"
    assert plain["cross-origin-opener-policy"] == "same-origin-allow-popups"
    assert plain["permissions-policy"].startswith("camera=()")
    scripts = next(part for part in plain["content-security-policy"].split("; ") if part.startswith("script-src"))
    assert "'sha256-" in scripts, "the scripts of Next's own within the page"
    assert "'unsafe-inline'" not in scripts
    assert not [name for name in plain if name.startswith("amianai-")]
    unhashed = get(url, "/no/such/page")[1]["content-security-policy"]
    assert "script-src 'self' 'unsafe-inline'" in unhashed, "no function runs for what is missing"
    rules = out / "_headers"
    rules.write_text("/about\n  X-Frame-Options: SAMEORIGIN\n  X-Robots-Tag: noindex\n  Content-Language: en\n")
    try:
        assert project.json("deploy", "--no-build")["uploaded"] == ["about/index.html"]
        found = get(url, "/about/")[1]
        assert (found["x-frame-options"], found["x-robots-tag"], found["content-language"]) == ("SAMEORIGIN", "noindex", "en")
        assert get(url, "/")[1]["x-frame-options"] == "DENY"
        assert get(url, "/_headers")[0] == 404
        for path in ("/about/", "/", "/no/such/page"):
            names = {name for name in get(url, path)[1] if name.startswith("x-amz-")}
            assert names <= {"x-amz-cf-id", "x-amz-cf-pop"}, "what CloudFront itself says of a request"
    finally:
        rules.unlink()


def test_a_second_deploy_uploads_and_invalidates_nothing(deployed: Deployed) -> None:
    again = deployed.project.json("deploy")
    assert not again["changed"]
    assert again["uploaded"] == []
    assert again["invalidated"] == []
    assert "nothing was uploaded or invalidated" in deployed.project.said("deploy")


def test_records_are_in_the_bucket_and_not_on_the_site(deployed: Deployed) -> None:
    newest = deployed.project.json("releases")[0]["summary"]["number"]
    objects = deployed.project.aws("s3").list_objects_v2(Bucket=deployed.status["site"]["bucket"], Prefix=".amianai/")["Contents"]
    assert {LOCK, manifest_key(newest)} <= {item["Key"] for item in objects}
    for key in (LOCK, manifest_key(newest)):
        assert get(deployed.site_url, f"/{key}")[0] == 404


def test_the_site_says_which_build_it_is(deployed: Deployed) -> None:
    shown = json.loads(get(deployed.site_url, "/version.json")[2])["build"]
    assert shown == deployed.project.json("releases")[0]["summary"]["build"]


SITE = {
    "index.html": '<!doctype html><a href="/about">x</a><a href="/v1.2/">y</a></html>',
    "about.html": "<!doctype html>about</html>",
    "v1.2/index.html": "<!doctype html>old</html>",
    "LICENSE": "MIT",
    "de/404.html": "<!doctype html>nicht da</html>",
    "_redirects": "/moved /about 302\n",
}


def test_a_site_of_another_form_takes_the_place_of_the_example_and_gives_it_back(deployed: Deployed, tmp_path: Path) -> None:
    """Flat pages, dots, no extension, redirects, 404 pages, a page taken down: through the functions and the store of the stack."""
    project, url = deployed.project, deployed.site_url
    example = project.json("releases")[0]["summary"]["origin"]
    out = project.root / "other-site" / "out"
    for path, content in SITE.items():
        (out / path).parent.mkdir(parents=True, exist_ok=True)
        (out / path).write_text(content)
    chosen = ("--set", "site.directory=other-site", "--set", "site.output=out")
    page = get(url, "/about/")
    assert (page[0], get(url, "/about")[0]) == (200, 301)
    try:
        project.json("--yes", "deploy", "--no-build", *chosen)
        expected = {"/about": "about", "/v1.2/": "old", "/LICENSE": "MIT", "/moved": "/about", "/v1.2": "/v1.2/", "/about/": "/about"}
        for path, text in expected.items():
            status, headers, body = get(url, path)
            assert text in (headers.get("location") or body), (path, status)
        assert get(url, "/nowhere")[::2] == (404, (CHECKOUT / "amianai_infra/site/404.html").read_text())
        assert get(url, "/de/nirgends")[::2] == (404, SITE["de/404.html"])
        assert get(url, "/account/")[0] == 404, "a page of the example"
        done = project.json("--yes", "takedown", "/about", "--reason", "a test", *chosen)
        assert {"about.html", "about/index.html"} == set(done["files"])
        assert {get(url, path)[0] for path in ("/about", "/about/", "/about.html")} == {404}
        s3 = project.aws("s3")
        kept = s3.list_object_versions(Bucket=deployed.status["site"]["bucket"], Prefix="about")
        assert not [one["Key"] for one in kept.get("Versions", []) if one["Key"] in done["files"]]
    finally:
        project.json("rollback", str(example))
        project.run("deploy", "--no-build")
    assert get(url, "/moved")[0] == 404
    assert get(url, "/about/")[0] == 404, "taken down in every release"
    source = project.root / "examples" / "site" / "out" / "about" / "index.html"
    source.write_text(source.read_text().replace("</body>", "<!-- another one --></body>"))
    project.run("deploy", "--no-build")
    assert "another one" in get(url, "/about/")[2]


@pytest.fixture
def deploy_key(deployed: Deployed) -> Iterator[dict[str, str]]:
    """Keys of a user with the deploy role's policy: a session of the role itself starts with a token that GitHub signs.

    The emulator speaks plain HTTP, so the bucket's policy goes without its TLS-only statement meanwhile.
    """
    s3, iam, site = deployed.project.aws("s3"), deployed.project.aws("iam"), deployed.status["site"]
    kept = s3.get_bucket_policy(Bucket=site["bucket"])["Policy"]
    statements = [one for one in json.loads(kept)["Statement"] if one["Sid"] != "TlsOnly"]
    s3.put_bucket_policy(Bucket=site["bucket"], Policy=json.dumps({"Version": "2012-10-17", "Statement": statements}))
    parameter = "arn:aws:ssm:us-east-1:000000000000:parameter/eeyore/stack"
    policy = deployer(f"arn:aws:s3:::{site['bucket']}", site["distribution_arn"], parameter, site["routes_arn"])
    iam.create_user(UserName="pipeline")
    iam.put_user_policy(UserName="pipeline", PolicyName="deploy", PolicyDocument=json.dumps(policy))
    key = iam.create_access_key(UserName="pipeline")["AccessKey"]
    yield {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}
    iam.delete_access_key(UserName="pipeline", AccessKeyId=key["AccessKeyId"])
    iam.delete_user_policy(UserName="pipeline", PolicyName="deploy")
    iam.delete_user(UserName="pipeline")
    s3.put_bucket_policy(Bucket=site["bucket"], Policy=kept)


def test_the_deploy_roles_rights_are_enough_and_no_more(deployed: Deployed, out: Path, deploy_key: dict[str, str]) -> None:
    """As a pipeline does it: no sandbox option, the role's rights alone. Verification needs the real domain and is left out."""
    project, known = deployed.project, deployed.project.variables()
    environment = {
        **project.environment(deploy_key),
        **{name: known[name] for name in ("AWS_ENDPOINT_URL", "AWS_REGION", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE")},
        "DOMAIN_NAME": deployed.status["dns"]["facts"]["domain"],
        "AMIANAI_TARGET": "aws",
    }
    amianai = [project.command()[0], "--json"]

    def pipeline(*words: str) -> dict[str, object]:
        done = subprocess.run([*amianai, *words], cwd=project.root, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout))

    page = out / "about" / "index.html"
    page.write_text(page.read_text().replace("</body>", "<!-- by a pipeline --></body>"))
    assert pipeline("deploy", "--no-build", "--no-verify")["uploaded"] == ["about/index.html"]
    assert "<!-- by a pipeline -->" in get(deployed.site_url, "/about/")[2]
    assert pipeline("rollback", "--no-verify")["kind"] == "rollback"
    assert "<!-- by a pipeline -->" not in get(deployed.site_url, "/about/")[2]
    bucket, secret = deployed.status["site"]["bucket"], deployed.status["database"]["secret_arn"]
    s3, secrets = project.aws("s3", deploy_key), project.aws("secretsmanager", deploy_key)
    calls: list[Callable[[], Any]] = [
        lambda: s3.list_object_versions(Bucket=bucket),
        lambda: s3.delete_bucket_policy(Bucket=bucket),
        lambda: secrets.get_secret_value(SecretId=secret),
        lambda: project.aws("iam", deploy_key).list_users(),
        lambda: project.aws("rds", deploy_key).describe_db_instances(),
    ]
    for refused in calls:
        with pytest.raises(ClientError, match=r"AccessDenied|not authorized"):
            refused()
