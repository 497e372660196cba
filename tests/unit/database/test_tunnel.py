"""The tunnel with stand-ins for EC2, Session Manager and the plugin: there is no sandbox for those.

What this cannot show: that a bastion comes up and that the plugin forwards; the calls are checked against botocore's models.
"""

from __future__ import annotations

import base64
import json
import subprocess
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.stub import ANY, Stubber

from amianai_infra.database import tunnel
from amianai_infra.database.tunnel import Forwarding, Tools, Tunnel, free_port, plugin_command, plugin_environment, require_plugin
from amianai_infra.errors import ForbiddenError, MissingToolError, NotFoundError, UnreachableError
from amianai_infra.outputs import AccessOutputs, StackOutputs
from amianai_infra.progress import Progress
from tests.hostile import faults
from tests.unit.operations.fakes import OUTPUTS

START = datetime(2026, 11, 23, 20, 0, tzinfo=UTC)
ACCESS = AccessOutputs(
    "eeyore-access", "arn:aws:iam::123456789012:role/closer", "arn:aws:sqs:us-east-1:123456789012:failed", "", "lt-1", "sg-9"
)
STACK: StackOutputs = OUTPUTS.model_copy({"access": ACCESS})
TOKEN = "a-token-that-nobody-may-see"
SESSION = {"SessionId": "alice-1", "TokenValue": TOKEN, "StreamUrl": "wss://ssmmessages.us-east-1.amazonaws.com/v1/data-channel/alice-1"}


@dataclass
class Plugin:
    """A process of the plugin's."""

    command: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    code: int | None = None
    ended: list[str] = field(default_factory=list)
    stderr: list[bytes] = field(default_factory=list)

    def poll(self) -> int | None:
        return self.code

    def terminate(self) -> None:
        self.ended.append("terminate")
        self.code = 0

    def wait(self, timeout: float | None = None) -> int:
        return 0


class Bench:
    """A tunnel whose AWS answers what it is told to."""

    def __init__(self) -> None:
        options = {"region_name": "us-east-1", "aws_access_key_id": "x", "aws_secret_access_key": "x", "config": Config()}
        self.clients = {name: boto3.client(name, **options) for name in ("ec2", "ssm", "scheduler")}  # type: ignore[call-overload]
        self.stubs = {name: Stubber(client) for name, client in self.clients.items()}
        for stub in self.stubs.values():
            stub.activate()
        self.now = START
        self.plugin = Plugin()
        self.asked: list[Any] = []
        self.interrupt_at: datetime | None = None

    def client(self, service: str, region: str | None = None) -> Any:
        return self.clients[service]

    region = "us-east-1"

    def sleep(self, seconds: float) -> None:
        self.now += timedelta(seconds=max(seconds, 60))
        if self.interrupt_at and self.now >= self.interrupt_at:
            raise KeyboardInterrupt

    def popen(self, command: list[str], env: dict[str, str], **options: Any) -> Any:
        assert options["start_new_session"]
        self.plugin.command, self.plugin.environment = command, env
        return self.plugin

    @property
    def tools(self) -> Tools:
        version = subprocess.CompletedProcess([], 0, "1.2.707.0\n", "")
        return Tools(lambda: self.now, self.sleep, lambda _: "/bin/plugin", lambda *_, **__: version, self.popen)

    def expect(self, *, nat: bool = False, online: int = 1, session: bool = True) -> None:
        """Everything that a tunnel calls, in order, with the parameters that matter."""
        ec2, ssm, scheduler = (self.stubs[name] for name in ("ec2", "ssm", "scheduler"))
        routes = [{"DestinationCidrBlock": "0.0.0.0/0", "NatGatewayId": "nat-1"}] if nat else []
        ec2.add_response("describe_route_tables", {"RouteTables": [{"RouteTableId": "rtb-1", "Routes": routes}]})
        ec2.add_response(
            "run_instances",
            {"Instances": [{"InstanceId": "i-1"}]},
            {
                "LaunchTemplate": {"LaunchTemplateId": "lt-1", "Version": "$Default"},
                "MinCount": 1,
                "MaxCount": 1,
                "UserData": base64.b64encode(b"#!/bin/sh\nshutdown -h +65\n").decode(),
                "InstanceInitiatedShutdownBehavior": "terminate",
                "NetworkInterfaces": [
                    {
                        "DeviceIndex": 0,
                        "SubnetId": "subnet-1" if nat else "subnet-3",
                        "Groups": ["sg-9"],
                        "AssociatePublicIpAddress": not nat,
                        "DeleteOnTermination": True,
                    }
                ],
                "TagSpecifications": ANY,
            },
        )
        scheduler.add_client_error("update_schedule", "ResourceNotFoundException")
        scheduler.add_response("create_schedule", {"ScheduleArn": "arn:aws:scheduler:us-east-1:123456789012:schedule/g/bastion-i-1"})
        for number in range(online):
            found = [{"InstanceId": "i-1", "PingStatus": "Online"}] if number == online - 1 else []
            ssm.add_response("describe_instance_information", {"InstanceInformationList": found})
        if session:
            ssm.add_response(
                "start_session",
                SESSION,
                {
                    "Target": "i-1",
                    "DocumentName": "AWS-StartPortForwardingSessionToRemoteHost",
                    "Parameters": {"host": ["db.example.internal"], "portNumber": ["5432"], "localPortNumber": ANY},
                },
            )
            ssm.add_response("terminate_session", {"SessionId": "alice-1"}, {"SessionId": "alice-1"})
        self.expect_end()

    def expect_end(self) -> None:
        self.stubs["ec2"].add_response("terminate_instances", {}, {"InstanceIds": ["i-1"]})
        self.stubs["scheduler"].add_response("delete_schedule", {}, {"Name": "bastion-i-1", "GroupName": "eeyore-access"})

    def run(self, hours: float = 1) -> tuple[str, list[Forwarding]]:
        ready: list[Forwarding] = []
        made = Tunnel(self, STACK, {"PATH": "/bin"}, Progress(quiet=True), self.tools)  # type: ignore[arg-type]
        why = made.run(timedelta(hours=hours), 0, ready.append)
        for stub in self.stubs.values():
            stub.assert_no_pending_responses()
        return why, ready


def test_until_the_time_is_over() -> None:
    bench = Bench()
    bench.expect(online=3)
    why, (forwarding,) = bench.run()
    assert why == "the time is over"
    assert (forwarding.host, forwarding.port, forwarding.until) == ("db.example.internal", 5432, START + timedelta(hours=1))
    assert bench.now >= forwarding.until
    assert bench.plugin.ended == ["terminate"]


def test_until_ctrl_c() -> None:
    bench = Bench()
    bench.expect()
    bench.interrupt_at = START + timedelta(minutes=10)
    assert bench.run()[0] == "closed"
    assert bench.plugin.ended == ["terminate"]


def test_until_the_plugin_ends() -> None:
    bench = Bench()
    bench.plugin.code = 255
    bench.expect()
    assert bench.run()[0] == "the plugin ended (exit 255)"
    assert bench.plugin.ended == []


def test_what_the_plugin_complains_about_is_passed_on_harmlessly(capsys: pytest.CaptureFixture[str]) -> None:
    bench = Bench()
    bench.plugin.stderr = [b"\x1b]52;c;eA==\x07 refused\n", b"::add-mask::x\xff\n"]
    bench.expect()
    bench.run()
    for reader in (one for one in threading.enumerate() if one.name == "plugin"):
        reader.join()
    shown = capsys.readouterr().err
    assert r"session-manager-plugin: \x1b]52;c;eA==\x07 refused" in shown
    assert faults(shown) == []


def test_the_plugin_is_called_as_the_aws_cli_calls_it_and_the_token_is_in_no_argument() -> None:
    bench = Bench()
    bench.expect()
    _, (forwarding,) = bench.run()
    command = bench.plugin.command
    assert command[:5] == ["/bin/plugin", "AWS_SSM_START_SESSION_RESPONSE", "us-east-1", "StartSession", ""]
    assert json.loads(command[5])["Parameters"]["localPortNumber"] == [str(forwarding.local_port)]
    assert command[6] == "https://ssm.us-east-1.amazonaws.com"
    assert TOKEN not in " ".join(command)
    assert json.loads(bench.plugin.environment["AWS_SSM_START_SESSION_RESPONSE"]) == SESSION
    assert bench.plugin.environment["PATH"] == "/bin"


def test_where_a_nat_gateway_leads_out_it_needs_no_public_address() -> None:
    bench = Bench()
    bench.expect(nat=True)
    bench.run()


def test_a_bastion_that_does_not_report_is_ended() -> None:
    bench = Bench()
    bench.expect(online=0, session=False)
    for _ in range(5):
        bench.stubs["ssm"].add_response("describe_instance_information", {"InstanceInformationList": []})
    with pytest.raises(UnreachableError, match="Session Manager in time"):
        bench.run()
    bench.stubs["ec2"].assert_no_pending_responses()
    bench.stubs["scheduler"].assert_no_pending_responses()


def test_a_refused_session_ends_the_bastion() -> None:
    bench = Bench()
    bench.expect(session=False)
    bench.stubs["ssm"].add_client_error("start_session", "AccessDeniedException")
    with pytest.raises(ForbiddenError):
        bench.run()
    bench.stubs["ec2"].assert_no_pending_responses()


def test_a_schedule_that_cannot_be_made_ends_the_bastion() -> None:
    bench = Bench()
    ec2, scheduler = bench.stubs["ec2"], bench.stubs["scheduler"]
    ec2.add_response("describe_route_tables", {"RouteTables": []})
    ec2.add_response("run_instances", {"Instances": [{"InstanceId": "i-1"}]})
    scheduler.add_client_error("update_schedule", "AccessDeniedException")
    bench.expect_end()
    with pytest.raises(ForbiddenError):
        bench.run()
    ec2.assert_no_pending_responses()


def test_the_tags_that_policies_ask_for() -> None:
    bench = Bench()
    sent: list[Any] = []
    bench.clients["ec2"].meta.events.register("before-parameter-build.ec2.RunInstances", lambda params, **_: sent.append(params))
    bench.expect()
    bench.run()
    specifications = {one["ResourceType"]: {tag["Key"]: tag["Value"] for tag in one["Tags"]} for one in sent[0]["TagSpecifications"]}
    assert set(specifications) == {"instance", "volume", "network-interface"}
    assert specifications["instance"] == {"Name": "eeyore-bastion", "amianai:access": "bastion", "amianai:stack": "amianai-infra/prod"}


@pytest.mark.parametrize("said", ["1.2.497.0", "1.2.295.0", "1.1.0.0", "", "nonsense"])
def test_a_plugin_that_would_show_the_token_is_too_old(said: str) -> None:
    answer = subprocess.CompletedProcess([], 0, said, "")
    with pytest.raises(MissingToolError, match="too old") as caught:
        require_plugin(Tools(which=lambda _: "/bin/plugin", run=lambda *_, **__: answer))
    assert "session-manager-working-with-install-plugin" in caught.value.fix


def test_a_plugin_that_is_missing() -> None:
    with pytest.raises(MissingToolError, match="not installed") as caught:
        require_plugin(Tools(which=lambda _: None))
    assert "brew install" in caught.value.fix


def test_a_stack_of_before() -> None:
    with pytest.raises(NotFoundError, match="no template"):
        Tunnel(Bench(), OUTPUTS, {}, Progress(quiet=True))  # type: ignore[arg-type]


def test_a_taken_port_is_replaced() -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert free_port(port) != port
    assert free_port(0) > 0


def test_only_what_the_plugin_needs_of_the_answer() -> None:
    found = plugin_environment({}, {**SESSION, "ResponseMetadata": {"RequestId": "1"}})
    assert json.loads(found[tunnel.RESPONSE]) == SESSION
    assert plugin_command("p", "r", {}, "e") == ["p", tunnel.RESPONSE, "r", "StartSession", "", "{}", "e"]
