"""On AWS the zone comes first, with what it carries over and nothing else, so that the registrar can delegate to it: the engine takes that
targeted update.

Proved with the sandbox's services, because the targets are the same; who answers for the domain on the internet cannot be.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from amianai_infra.cli.options import App
from amianai_infra.operations import change, setup, zones
from tests.project import copy_project

pytestmark = pytest.mark.sandbox


KEY = "v=DKIM1; p=" + "k" * 400
CARRIED = ["@ 300 MX 10 mail.test.", f"s1._domainkey 300 TXT {KEY}", '@ 300 TXT "v=spf1 -all"']


@pytest.mark.parametrize(
    "carried", [pytest.param([], id="alone", marks=pytest.mark.soak), pytest.param(CARRIED, id="with what it carries over")]
)
def test_the_zone_is_made_first(tmp_path: Path, carried: list[str]) -> None:
    project = copy_project(tmp_path / "checkout")
    flags = {"dns.records": json.dumps(carried)}
    app = App(sandbox=True, flags=flags, environ=project.environment({"AMIANAI_ROOT": str(project.root)}))
    app.target.ready()
    try:
        engine = app.engine()
        change.configure(app, engine)
        zone = setup._zone(app, engine)
        assert zone.servers
        made = [one.type for one in engine.resources() if one.type.startswith("aws:")]
        assert sorted(made) == sorted([change.ZONE_TYPE, *(zones.RECORD_TYPE for _ in carried)])
        found = {
            (one["Name"], one["Type"]): [value["Value"] for value in one["ResourceRecords"]]
            for one in zones.records_of(app.target, zone.id)
            if one["Type"] in ("MX", "TXT")
        }
        long = f'"{KEY[:255]}""{KEY[255:]}"'
        assert found == (
            {
                ("example.test.", "MX"): ["10 mail.test."],
                ("example.test.", "TXT"): ['"v=spf1 -all"'],
                ("s1._domainkey.example.test.", "TXT"): [long],
            }
            if carried
            else {}
        )
        assert not engine.refresh().changed, "what was made is what is read"
    finally:
        project.run("sandbox", "reset", "--confirm", "sandbox")
