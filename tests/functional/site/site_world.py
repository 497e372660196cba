"""What the tests of a release share: a target that points at the small S3, and sites to release."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from amianai_infra.outputs import StackOutputs
from amianai_infra.progress import Progress
from amianai_infra.site import Release
from amianai_infra.site.history import Listed
from amianai_infra.site.release import Publisher, releases
from amianai_infra.site.settings import ReleaseSettings
from amianai_infra.target import Credentials, SiteAddress
from tests.functional.site.edge import Edge
from tests.functional.site.key_values import Store
from tests.functional.site.s3_server import World

BUCKET = "site"
ROUTES = "arn:aws:cloudfront::123456789012:key-value-store/01234567-89ab-cdef-0123-456789abcdef"


def outputs() -> StackOutputs:
    """Outputs of a stack with a bucket and a distribution."""
    return StackOutputs.model_validate(
        {
            "domain": "example.com",
            "region": "us-east-1",
            "account": "123456789012",
            "prefix": "eeyore",
            "site": {
                "bucket": BUCKET,
                "distribution_id": "E1",
                "distribution_domain": "d1.cloudfront.net",
                "distribution_arn": "arn:aws:cloudfront::123456789012:distribution/E1",
                "url": "https://example.com/",
            },
            "database": {
                **dict.fromkeys(("identifier", "host", "name", "username", "secret_arn", "security_group_id"), "x"),
                **dict.fromkeys(("resource_id", "instance_class"), "x"),
                "port": 5432,
                "subnet_ids": [],
            },
            "auth": dict.fromkeys(("user_pool_id", "client_id", "issuer", "hosted_domain"), "x"),
            "dns": {"zone_id": "Z1", "name_servers": [], "certificate_arn": "x"},
            "network": {
                "vpc_id": "x",
                "internet_gateway_id": "x",
                "public_subnet_ids": [],
                "private_subnet_ids": [],
                "private_route_table_ids": [],
            },
        }
    )


def release_settings(**changes: Any) -> ReleaseSettings:
    """Settings of a release."""
    values: dict[str, Any] = {
        "domain": "example.com",
        "region": "us-east-1",
        "prefix": "eeyore",
        "directory": "site",
        "build_command": "true",
        "output": "out",
        "inputs": [],
        "empty_output": True,
        "old_asset_days": 30,
        "old_version_days": 30,
        "cache_rules": {},
        "headers": [],
        "allow": [],
        "environment": {},
        "pass_environment": [],
        "hsts": True,
    }
    return ReleaseSettings(**{**values, **changes})


class FakeTarget:
    """A target whose S3, CloudFront and site are the small servers."""

    name = "sandbox"
    region = "us-east-1"

    def __init__(self, root: Path, s3: int, cdn: int) -> None:
        self.root = root
        self.local = root / ".amianai"
        self._s3 = s3
        self._cdn = cdn
        self.routes = Store()

    def credentials(self) -> Credentials:
        return Credentials("test", "test")

    def endpoint(self, service: str) -> str:
        return f"http://127.0.0.1:{self._s3}"

    def client(self, service: str, region: str | None = None) -> Any:
        import boto3

        if service == "cloudfront-keyvaluestore":
            return self.routes
        return boto3.client(
            service,  # type: ignore[call-overload]
            region_name=self.region,
            endpoint_url=self.endpoint(service),
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )

    def site_address(self, outputs: StackOutputs) -> SiteAddress:
        return SiteAddress(f"http://site.localhost:{self._cdn}/", "site.localhost", ("127.0.0.1", self._cdn), tls=False)

    def preview_address(self, outputs: StackOutputs, label: str) -> SiteAddress:
        host = f"{label}.{outputs.previews.domain}"
        return SiteAddress(f"http://{host}:{self._cdn}/", host, ("127.0.0.1", self._cdn), tls=False)


@dataclass
class Stage:
    """One project with one site, and the world it is released into."""

    world: World
    target: FakeTarget
    s3: int
    cdn: int
    outputs: StackOutputs = field(default_factory=outputs)

    @property
    def out(self) -> Path:
        return self.target.root / "site" / "out"

    def write(self, files: Mapping[str, str | bytes], clear: bool = True) -> None:
        """Make the finished site."""
        if clear:
            shutil.rmtree(self.out, ignore_errors=True)
        for path, content in files.items():
            where = self.out / path
            where.parent.mkdir(parents=True, exist_ok=True)
            where.write_bytes(content.encode() if isinstance(content, str) else content)

    def publisher(
        self, *, verify: bool = True, later: float = 0.0, wait: float = 0.0, over_budget: bool = False, **settings: Any
    ) -> Publisher:
        """A publisher whose clock is `later` seconds ahead and that does not sleep."""
        return Publisher(
            self.target,  # type: ignore[arg-type]
            release_settings(**settings),
            self.outputs,
            Progress(quiet=True),
            verify=verify,
            wait=wait,
            over_budget=over_budget,
            clock=lambda: time.time() + later,
            sleep=lambda seconds: time.sleep(min(seconds, 0.05)),
        )

    def deploy(self, *, build: bool = False, dry_run: bool = False, everything: bool = False, **options: Any) -> Release:
        return self.publisher(**options).deploy(build=build, dry_run=dry_run, everything=everything)

    def rollback(self, number: int | None = None, **options: Any) -> Release:
        return self.publisher(**options).rollback(number)

    def releases(self) -> list[Listed]:
        return releases(self.target, release_settings(), self.outputs, Progress(quiet=True))  # type: ignore[arg-type]

    def with_addresses(self) -> Edge:
        """Have a key-value store at the edge and the viewer function that reads it, as a stack has after `up`."""
        self.outputs = replace(self.outputs, site=replace(self.outputs.site, routes_arn=ROUTES))
        self.world.routes = self.target.routes
        self.world.edge = Edge()
        return self.world.edge

    def prepare_command(self) -> None:
        """Make the project one that the `amianai` command works in."""
        root = self.target.root
        (root / "Pulumi.yaml").write_text("name: amianai-infra\nruntime: python\n")
        self.target.local.mkdir(exist_ok=True)
        (self.target.local / "stack.json").write_text(self.outputs.model_dump_json())

    def environment(self) -> dict[str, str]:
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.s3}",
            "DOMAIN_NAME": "example.com",
            "AMIANAI_SITE_DIRECTORY": "site",
            "AMIANAI_ROOT": str(self.target.root),
        }

    def command(self, *words: str) -> subprocess.Popen[str]:
        """Start `amianai` as a process of its own."""
        program = "from amianai_infra.cli.main import main; main()"
        return subprocess.Popen(
            [sys.executable, "-c", program, *words],
            cwd=self.target.root,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


def next_site(version: str, pages: int = 6, *, same: int = 4) -> dict[str, str]:
    """A site as Next.js exports it: pages that name hashed chunks, payloads, a few files without a hash.

    Args:
        version: two versions share no changed chunk.
        pages: how many.
        same: chunks that all versions share.
    """
    draw = random.Random(version)
    files: dict[str, str] = {}
    shared = [f"_next/static/chunks/{number:08x}a1.js" for number in range(same)]
    own = [f"_next/static/chunks/app-{draw.getrandbits(64):016x}.js" for _ in range(3)]
    files |= {path: f"// shared {path}" for path in shared}
    files |= {path: f"// {version} {path}" for path in own}
    style = f"_next/static/css/{draw.getrandbits(64):016x}.css"
    files[style] = f"/* {version} */"
    files["logo.svg"] = "<svg xmlns='http://www.w3.org/2000/svg'/>"
    files["version.json"] = json.dumps({"build": version})
    for number in range(pages):
        folder = f"page-{number}/" if number else ""
        scripts = "".join(f'<script src="/{path}" async=""></script>' for path in (*shared, *own))
        flight = f'<script>self.__next_f.push([1,"{own[0].removeprefix("_next/")}"])</script>'
        files[f"{folder}index.html"] = (
            f'<!DOCTYPE html><html><head><link rel="stylesheet" href="/{style}"/>{scripts}</head>'
            f'<body><img src="/logo.svg"/><a href="/page-1/">{version} {number}</a>{flight}</body></html>'
        )
        files[f"{folder}index.txt"] = f"payload {version} {number}"
    files["404.html"] = f"<!DOCTYPE html><title>not found {version}</title>"
    return files
