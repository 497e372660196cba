"""Every component has the shape that Pulumi's component analyzer reads, so that other languages can use it too."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib

import pulumi
import pytest
from pulumi.provider.experimental.analyzer import Analyzer

from amianai_infra.components.access import Access
from amianai_infra.components.audit import AuditLog
from amianai_infra.components.auth import Auth
from amianai_infra.components.database import Database
from amianai_infra.components.database_proxy import DatabaseProxy
from amianai_infra.components.delivery import Delivery
from amianai_infra.components.dns import Dns, SiteRecords
from amianai_infra.components.network import Network
from amianai_infra.components.rotated_secret import RotatedSecret
from amianai_infra.components.static_site import StaticSite
from tests.project import CHECKOUT

COMPONENTS: list[type[pulumi.ComponentResource]] = [
    Access,
    AuditLog,
    Auth,
    Database,
    DatabaseProxy,
    Delivery,
    Dns,
    Network,
    RotatedSecret,
    SiteRecords,
    StaticSite,
]


@pytest.mark.parametrize("component", COMPONENTS, ids=lambda component: component.__name__)
def test_the_analyzer_reads_it(component: type[pulumi.ComponentResource]) -> None:
    definition = Analyzer("amianai").analyze([component])["component_definitions"][component.__name__]
    assert definition.inputs
    assert definition.outputs
    undocumented = [name for name, one in {**definition.inputs, **definition.outputs}.items() if not one.description]
    assert not undocumented


@pytest.mark.parametrize("component", COMPONENTS, ids=lambda component: component.__name__)
def test_it_says_what_it_creates_and_costs(component: type[pulumi.ComponentResource]) -> None:
    text = component.__doc__ or ""
    assert "Creates:" in text
    assert "Cost:" in text
    assert "Source:" in text


def test_only_the_modules_in_use_are_loaded() -> None:
    """What `leaf_imports` is for, in a fresh interpreter; and what it must not break."""
    program = """
import sys
import amianai_infra.stack
loaded = {name for name in sys.modules if name.startswith("pulumi_aws.ec2.")}
assert "pulumi_aws.ec2.vpc" in loaded and "pulumi_aws.ec2.instance" not in loaded, len(loaded)
import pulumi_aws
from pulumi_aws.ec2.vpc import Vpc
assert pulumi_aws.ec2.Instance.__name__ == "Instance"
assert pulumi_aws.ec2.Vpc is Vpc
import pulumi_aws.ec2 as ec2
assert ec2 is pulumi_aws.ec2 and ec2.SecurityGroup
try:
    ec2.Nothing
except AttributeError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Nothing" in done.stdout


def test_mypy_reads_every_service_that_is_used() -> None:
    """The import of another one is an error of mypy's own; `aws.batch.Job` would be taken for anything."""
    overrides = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["tool"]["mypy"]["overrides"]
    (read,) = [one["module"] for one in overrides if one["follow_imports"] == "normal"]
    texts = [path.read_text() for folder in ("amianai_infra", "tests") for path in (CHECKOUT / folder).rglob("*.py")]
    used = {name for text in texts if "import pulumi_aws as aws\n" in text for name in re.findall(r"\baws\.([a-z]\w*)\.[A-Z]", text)}
    assert {"ec2", "rds"} < used
    assert {f"pulumi_aws.{name}.*" for name in used} <= set(read)
