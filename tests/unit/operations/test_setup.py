from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from amianai_infra import site
from amianai_infra.engine import StateResource
from amianai_infra.errors import ConfigurationError, ForbiddenError, MissingToolError, NotFoundError, RefusedError, VerificationError
from amianai_infra.naming import secret_name
from amianai_infra.operations import change, doctor, setup, state_storage, zones
from amianai_infra.operations.setup import Hands, Options
from amianai_infra.stack import ZONE_TARGETS
from amianai_infra.target import SiteAddress
from tests.unit.operations.fakes import OUTPUTS, Context, Route53, Target, names, resource, summary


class Doings:
    """The hands of a setup, and what they were asked for."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.log = context.log
        self.status = 200
        self.published = True
        self.found = frozenset({"ns-of-z1.test"})

    def hands(self) -> Hands:
        return Hands(
            ensure_engine=lambda progress: self.log.append(("engine",)),  # type: ignore[arg-type,return-value]
            ensure_plugin=lambda progress, binary: self.log.append(("plugin",)),  # type: ignore[arg-type,return-value]
            deploy_site=lambda *_: self.log.append(("deploy",)),
            cache=self.context.root,
            resolver=lambda address, domain: self.found,
            answers=lambda address: self.status,
            ask=lambda *_: [],
        )


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Context:
    monkeypatch.setattr(doctor, "machine", lambda *_: [])
    monkeypatch.setattr(doctor, "provider", lambda *_: doctor.Check("AWS provider", True, "there"))
    (tmp_path / "examples/site").mkdir(parents=True)
    (tmp_path / "examples/site/package.json").touch()
    return Context(tmp_path)


@pytest.fixture
def doings(context: Context, monkeypatch: pytest.MonkeyPatch) -> Doings:
    made = Doings(context)

    def fetch_outputs(target: Any, prefix: str) -> Any:
        if not made.published:
            raise NotFoundError("not set up")
        return OUTPUTS

    monkeypatch.setattr(setup, "fetch_outputs", fetch_outputs)
    monkeypatch.setattr(setup, "cached_outputs", lambda target: None)

    def ensure(*_: Any, **which: bool) -> list[str]:
        made.log.append(("state", which))
        return []

    monkeypatch.setattr(state_storage, "ensure", ensure)
    return made


def on_aws(context: Context) -> Context:
    context.target = Target(context.root, "aws")
    return context


def run(doings: Doings, **options: Any) -> setup.Report:
    return setup.setup(doings.context, Options(**options), doings.hands())


def test_the_phases_of_the_sandbox(doings: Doings) -> None:
    report = run(doings)
    assert names(doings.log) == ["engine", "configure", "up", "deploy"]
    assert doings.context.target.readied == 1
    assert report.url == OUTPUTS.site.url


def test_a_second_run_writes_nothing_and_says_no_changes(doings: Doings) -> None:
    run(doings)
    doings.log.clear()
    report = run(doings)
    assert names(doings.log) == ["engine", "up", "deploy"]
    assert not report.changed
    assert "no changes" in "\n".join(setup.screen(report, doings.context))


def test_on_aws_credentials_and_a_confirmation_come_before_anything_changes(doings: Doings) -> None:
    on_aws(doings.context)
    doings.context.refuse = True
    with pytest.raises(RefusedError):
        run(doings)
    assert names(doings.log) == ["announce", "confirm"]


def test_on_aws_the_zone_comes_first_and_the_stack_after_the_delegation(doings: Doings) -> None:
    on_aws(doings.context)
    doings.published = False
    context = doings.context

    def up(targets: Any = (), **_: Any) -> Any:
        """The targeted `up` makes the zone."""
        context.target.clients["route53"].zones["z1"] = "example.com"
        context.state.append(resource("urn::zone", change.ZONE_TYPE, "z1"))
        doings.published = True
        return summary()

    original = context.engine

    def engine(environment: Any = None) -> Any:
        made = original(environment)
        really = made.up

        def both(targets: Any = (), **more: Any) -> Any:
            really(targets, **more)
            return up(targets)

        made.up = both
        return made

    context.engine = engine  # type: ignore[method-assign]
    run(doings)
    assert names(doings.log) == ["announce", "confirm", "engine", "plugin", "reach", "offer", "state", "configure", "up", "up", "deploy"]
    assert context.did("up")[0][1] == list(ZONE_TARGETS)
    assert context.did("up")[1][1] == []


def test_an_adopted_zone_needs_no_targeted_up(doings: Doings) -> None:
    on_aws(doings.context)
    doings.context.flags["dns.zone_id"] = "Z9"
    doings.context.target.clients["route53"] = Route53({"Z9": "example.com"})
    doings.found = frozenset({"ns-of-z9.test"})
    doings.published = False
    with pytest.raises(NotFoundError):  # this stand-in never publishes
        run(doings)
    assert [entry[1] for entry in doings.context.did("up")] == [[]]


def test_a_domain_that_is_not_delegated_stops_setup_before_the_certificate(doings: Doings) -> None:
    on_aws(doings.context)
    doings.published = False
    doings.found = frozenset({"ns.elsewhere.test"})
    doings.context.state = [resource("urn::zone", change.ZONE_TYPE, "z1")]
    doings.context.target.clients["route53"] = Route53({"z1": "example.com"})
    with pytest.raises(VerificationError, match="not delegated"):
        run(doings, wait=0.001)
    assert doings.context.did("up") == []


def test_the_delegation_is_not_asked_for_again_once_the_stack_is_published(doings: Doings) -> None:
    on_aws(doings.context)
    doings.found = frozenset()
    run(doings)
    assert len(doings.context.did("up")) == 1


def test_only_the_state_storage_that_is_used_is_made(doings: Doings) -> None:
    on_aws(doings.context)
    run(doings)
    assert doings.context.did("state") == [("state", {"bucket": False, "key": False})]


def test_no_deploy_leaves_the_site_alone(doings: Doings) -> None:
    run(doings, deploy=False)
    assert doings.context.did("deploy") == []


def test_a_site_that_does_not_answer_is_an_error(doings: Doings) -> None:
    doings.status = 403
    with pytest.raises(VerificationError, match="answers 403"):
        run(doings)


def test_a_bad_configuration_touches_nothing(doings: Doings) -> None:
    doings.context.flags["network.cidr"] = "10.0.0.0/30"
    with pytest.raises(ConfigurationError):
        run(doings)
    assert doings.log == []
    assert doings.context.target.readied == 0


def test_the_stack_of_another_domain_is_not_turned_into_this_one(doings: Doings) -> None:
    doings.context.state.append(resource("urn::zone", change.ZONE_TYPE, "Z1", {"name": "other.example"}))
    with pytest.raises(RefusedError, match=r"built for other\.example"):
        run(doings)
    assert doings.context.did("configure") == doings.context.did("up") == []


def test_a_missing_site_directory_touches_nothing(doings: Doings) -> None:
    doings.context.flags["site.directory"] = "nowhere"
    with pytest.raises(MissingToolError, match="nowhere does not exist"):
        run(doings)
    assert doings.log == []


def test_tools_are_prepared_side_by_side(doings: Doings) -> None:
    barrier = threading.Barrier(3, timeout=5)
    hands = doings.hands()
    together = Hands(
        ensure_engine=lambda progress: barrier.wait(),  # type: ignore[arg-type,return-value]
        ensure_plugin=hands.ensure_plugin,
        deploy_site=hands.deploy_site,
        cache=hands.cache,
        prepare_site=lambda *_: barrier.wait(),
        answers=hands.answers,
    )
    doings.context.target.ready = barrier.wait
    setup.setup(doings.context, Options(), together)


def test_the_summary_says_what_one_needs_to_know_now(doings: Doings) -> None:
    screen = setup.screen(run(doings), doings.context)
    text = "\n".join(screen)
    for needed in (
        OUTPUTS.site.url,
        OUTPUTS.auth.user_pool_id,
        OUTPUTS.database.host,
        f"login of the owner, for migrations: secret {secret_name(OUTPUTS.database.secret_arn)}",
        f"login of an application: secret {secret_name(OUTPUTS.database.application_secret_arn)}",
        "a month",
        "amianai --sandbox",
    ):
        assert needed in text
    assert max(len(line) for line in screen) <= 100
    data = setup.as_dict(run(doings), doings.context)
    assert data["url"] == OUTPUTS.site.url
    assert data["outputs"]["auth"]["client_id"] == "client"


def test_the_summary_on_aws_recommends_ses_before_strangers_come(doings: Doings) -> None:
    report = run(doings)
    assert "auth.ses_identity_arn" not in "\n".join(setup.screen(report, doings.context)), "the sandbox sends no e-mail"
    screen = setup.screen(report, on_aws(doings.context))
    text = "\n".join(screen)
    assert "! Cognito's own, 50 a day" in text
    assert "auth.ses_identity_arn" in text
    assert max(len(line) for line in screen) <= 100


def test_a_domain_in_use_is_asked_about_before_anything_is_made(doings: Doings) -> None:
    on_aws(doings.context)
    doings.published = False
    hands = replace(doings.hands(), ask=lambda resolver, name, kind: [{"name": name, "type": 15, "data": "10 mx.test."}] * (kind == "MX"))
    with pytest.raises(RefusedError, match="no zone was made"):
        setup.setup(doings.context, Options(), hands)
    assert names(doings.log) == ["announce", "confirm", "engine", "plugin", "reach", "offer"], "not even the state's bucket"
    doings.context.state = [resource("urn::zone", change.ZONE_TYPE, "z1")]
    doings.context.target.clients["route53"] = Route53({"z1": "example.com"})
    doings.published = True
    setup.setup(doings.context, Options(), hands)
    assert len(doings.context.did("offer")) == 1, "a zone that is there carries on what it does"


def test_a_zone_that_exists_stops_setup_before_anything_is_made(doings: Doings) -> None:
    on_aws(doings.context)
    doings.context.target.clients["route53"] = Route53({"Z1": "example.com"})
    with pytest.raises(RefusedError, match="A public hosted zone"):
        run(doings)
    assert names(doings.log) == ["announce", "confirm", "engine", "plugin", "reach", "recover", "offer"], "not even the state's bucket"


def test_a_switch_publishes_at_the_distribution_first_and_once(doings: Doings) -> None:
    context = on_aws(doings.context)
    old = {"Name": "example.com.", "Type": "A", "TTL": 300, "ResourceRecords": [{"Value": "192.0.2.1"}]}
    route53 = Route53({"Z1": "example.com"}, [old])
    context.target.clients["route53"] = route53
    context.target.site_address = lambda outputs: SiteAddress(outputs.site.url, outputs.domain, (outputs.domain, 443), tls=True)
    context.flags["dns.zone_id"] = "Z1"
    context.state = [
        StateResource("urn::cdn", zones.DISTRIBUTION_TYPE, "E1", {}, {"domainName": "d1.cloudfront.net", "hostedZoneId": "ZCDN"})
    ]
    connected: list[Any] = []

    def deploy(target: Any, settings: Any, outputs: Any, progress: Any) -> str:
        connected.append((target.site_address(outputs).connect, target.site_address(outputs).host, len(route53.batches), target.name))
        return "release"

    report = setup.setup(context, Options(switch=True), replace(doings.hands(), deploy_site=deploy, answers=lambda address: 0))
    assert connected == [(("d1.cloudfront.net", 443), "example.com", 0, "aws")]
    assert report.release == "release"
    assert len(route53.batches) == 1


@pytest.mark.parametrize("released", [True, False])
def test_up_switches_only_to_a_site_that_is_published(doings: Doings, monkeypatch: pytest.MonkeyPatch, released: bool) -> None:
    monkeypatch.setattr(site, "releases", lambda *_: [1] if released else [])
    if released:
        setup.require_release(doings.context)
    else:
        with pytest.raises(RefusedError, match="no site is published"):
            setup.require_release(doings.context)


def test_nothing_is_made_where_the_engine_does_not_get_in(doings: Doings) -> None:
    on_aws(doings.context)
    refused = ForbiddenError("Opening the state's backend through the engine failed.", fix="run `aws sso login`")
    made = doings.context.engine

    def engine(environment: Any = None) -> Any:
        one = made(environment)
        one.answers["reach"] = refused
        return one

    doings.context.engine = engine  # type: ignore[method-assign]
    with pytest.raises(ForbiddenError):
        run(doings)
    assert names(doings.log) == ["announce", "confirm", "engine", "plugin", "reach"]
