"""Reaching the database without opening anything: a bastion that exists only while it is used, and Session Manager through it.

The bastion has no inbound rule and no key. It ends three ways: when the tunnel is closed, by its own `shutdown` (given at launch, so that
it holds from the first moment), and by a schedule inside AWS.

Source: AWS Systems Manager User Guide, "Start a session": port forwarding to a remote host; and the AWS CLI, whose way of calling the
plugin this is: the session's token goes through the environment, never through the arguments.
"""

from __future__ import annotations

import base64
import json
import math
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from amianai_infra.database.schedules import Schedules
from amianai_infra.errors import MissingToolError, NotFoundError, UnreachableError
from amianai_infra.outputs import StackOutputs
from amianai_infra.progress import Progress
from amianai_infra.rules.access import bastion_tags, termination, user_data
from amianai_infra.target import Target, aws_error

PLUGIN: Final = "session-manager-plugin"
DOCUMENT: Final = "AWS-StartPortForwardingSessionToRemoteHost"
RESPONSE: Final = "AWS_SSM_START_SESSION_RESPONSE"
LOCAL_PORT: Final = 15432

# Versions up to this one take the session's token as an argument, where everybody on the machine can read it.
_TOO_OLD = (1, 2, 497, 0)
_GRACE = timedelta(minutes=5)
_ONLINE_SECONDS = 300.0
INSTALL: Final = """install AWS's Session Manager plugin, then run the command again:
  macOS          brew install --cask session-manager-plugin
  Debian/Ubuntu  curl -fsSO https://s3.amazonaws.com/session-manager-downloads/plugin/latest/ubuntu_64bit/session-manager-plugin.deb
                 sudo dpkg -i session-manager-plugin.deb
  others         https://docs.aws.amazon.com/systems-manager/latest/userguide/session-manager-working-with-install-plugin.html"""


@dataclass(frozen=True)
class Tools:
    """What tests bring themselves."""

    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    sleep: Callable[[float], None] = time.sleep
    which: Callable[[str], str | None] = shutil.which
    run: Callable[..., subprocess.CompletedProcess[str]] = subprocess.run
    popen: Callable[..., subprocess.Popen[bytes]] = subprocess.Popen


@dataclass(frozen=True)
class Forwarding:
    """One tunnel: what leads where."""

    local_port: int
    host: str
    port: int
    until: datetime


def require_plugin(tools: Tools) -> str:
    """Path of the plugin.

    Raises:
        MissingToolError: it is not installed, or so old that it would show the session's token to others.
    """
    path = tools.which(PLUGIN)
    if path is None:
        raise MissingToolError("The Session Manager plugin is not installed.", where=f"{PLUGIN} on PATH", fix=INSTALL)
    said = tools.run([path, "--version"], capture_output=True, text=True, errors="replace", check=False, timeout=20).stdout.strip()
    numbers = tuple(int(part) for part in re.findall(r"\d+", said)[:4])
    if numbers <= _TOO_OLD:
        raise MissingToolError("The Session Manager plugin is too old.", where=f"{path} --version: {said}", fix=INSTALL)
    return path


def free_port(wanted: int) -> int:
    """A port of this machine: the wanted one where it is free, else any."""
    for port in (wanted, 0):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)) as listener:
            return int(listener.getsockname()[1])
    raise UnreachableError("No port of this machine is free.", where="127.0.0.1")


def plugin_command(path: str, region: str, request: Mapping[str, Any], endpoint: str) -> list[str]:
    """The plugin's arguments, as the AWS CLI gives them; no profile, because the session is started already."""
    return [path, RESPONSE, region, "StartSession", "", json.dumps(request), endpoint]


def plugin_environment(environ: Mapping[str, str], response: Mapping[str, Any]) -> dict[str, str]:
    """The plugin's environment, with the session in it."""
    kept = {name: response[name] for name in ("SessionId", "TokenValue", "StreamUrl")}
    return {**environ, RESPONSE: json.dumps(kept)}


@dataclass
class Tunnel:
    """Tunnels to one stack's database.

    Args:
        target: where.
        outputs: of which stack.
        environ: the process environment, for the plugin.
        progress: where to report.
        tools: clock, sleep and processes.

    Raises:
        NotFoundError: the stack was built before there was such a thing.
    """

    target: Target
    outputs: StackOutputs
    environ: Mapping[str, str] = field(repr=False)
    progress: Progress
    tools: Tools = field(default_factory=Tools)

    def __post_init__(self) -> None:
        if not self.outputs.access.launch_template_id:
            raise NotFoundError("The stack has no template for a bastion yet.", fix="run `amianai up`, which makes it")
        self._ec2, self._ssm = self.target.client("ec2"), self.target.client("ssm")
        self._schedules = Schedules(self.target.client("scheduler"), self.outputs.access)

    def run(self, length: timedelta, local_port: int, ready: Callable[[Forwarding], None]) -> str:
        """Forward a port of this machine to the database until the time is over, the plugin ends or Ctrl-C; gives why it ended.

        Args:
            length: how long at most.
            local_port: which port is wanted.
            ready: called once the port leads to the database.
        """
        path = require_plugin(self.tools)
        until = self.tools.now() + length
        with _translated("making the tunnel"), self._bastion(until) as instance:
            self._wait_online(instance)
            forwarding = Forwarding(free_port(local_port), self.outputs.database.host, self.outputs.database.port, until)
            return self._forward(path, instance, forwarding, ready)

    @contextmanager
    def _bastion(self, until: datetime) -> Iterator[str]:
        instance = self._launch(until)
        try:
            self._schedules.put(termination(instance, until.replace(microsecond=0) + _GRACE))
            yield instance
        finally:
            with self.progress.task("Ending the bastion") as task:
                self._ec2.terminate_instances(InstanceIds=[instance])
                self._schedules.delete(termination(instance, until).name)
                task.say(instance)

    def _launch(self, until: datetime) -> str:
        minutes = math.ceil((until + _GRACE - self.tools.now()).total_seconds() / 60)
        subnet, public = self._place()
        interface = {
            "DeviceIndex": 0,
            "SubnetId": subnet,
            "Groups": [self.outputs.access.bastion_security_group_id],
            "AssociatePublicIpAddress": public,
            "DeleteOnTermination": True,
        }
        tags = [{"Key": key, "Value": value} for key, value in bastion_tags(self.outputs.prefix).items()]
        with self.progress.task("Starting a bastion") as task:
            answer = self._ec2.run_instances(
                LaunchTemplate={"LaunchTemplateId": self.outputs.access.launch_template_id, "Version": "$Default"},
                MinCount=1,
                MaxCount=1,
                UserData=base64.b64encode(user_data(minutes).encode()).decode(),
                InstanceInitiatedShutdownBehavior="terminate",
                NetworkInterfaces=[interface],
                TagSpecifications=[{"ResourceType": kind, "Tags": tags} for kind in ("instance", "volume", "network-interface")],
            )
            instance = str(answer["Instances"][0]["InstanceId"])
            task.say(f"{instance}, which ends itself in {minutes} min")
        return instance

    def _place(self) -> tuple[str, bool]:
        """The subnet, and whether a public address is needed there: only where no NAT gateway leads out of the private subnets."""
        network = self.outputs.network
        tables = self._ec2.describe_route_tables(RouteTableIds=network.private_route_table_ids[:1])["RouteTables"]
        if any(route.get("NatGatewayId") for table in tables for route in table.get("Routes", [])):
            return network.private_subnet_ids[0], False
        return network.public_subnet_ids[0], True

    def _wait_online(self, instance: str) -> None:
        deadline = self.tools.now() + timedelta(seconds=_ONLINE_SECONDS)
        filters = [{"Key": "InstanceIds", "Values": [instance]}]
        with self.progress.task("Waiting for Session Manager") as task:
            while self.tools.now() < deadline:
                found = self._ssm.describe_instance_information(Filters=filters)["InstanceInformationList"]
                if any(one.get("PingStatus") == "Online" for one in found):
                    task.say("online")
                    return
                self.tools.sleep(5)
        raise UnreachableError("The bastion has not reported to Session Manager in time.", where=instance, fix="run the command again")

    def _forward(self, path: str, instance: str, forwarding: Forwarding, ready: Callable[[Forwarding], None]) -> str:
        request = {
            "Target": instance,
            "DocumentName": DOCUMENT,
            "Parameters": {
                "host": [forwarding.host],
                "portNumber": [str(forwarding.port)],
                "localPortNumber": [str(forwarding.local_port)],
            },
        }
        response = self._ssm.start_session(**request)
        endpoint = str(self._ssm.meta.endpoint_url)
        process = self.tools.popen(
            plugin_command(path, self.target.region, request, endpoint),
            env=plugin_environment(self.environ, response),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is ours to hear; the plugin is ended afterwards
        )
        threading.Thread(target=self._pass_on, args=(process.stderr or (),), name="plugin", daemon=True).start()
        try:
            ready(forwarding)
            return self._wait(process, forwarding.until)
        finally:
            _end(process)
            with suppress(Exception):  # the session ends with the bastion in any case
                self._ssm.terminate_session(SessionId=response["SessionId"])

    def _pass_on(self, complaints: Iterable[bytes]) -> None:
        for line in complaints:
            self.progress.note(f"{PLUGIN}: {line.decode(errors='replace').rstrip()}")

    def _wait(self, process: subprocess.Popen[bytes], until: datetime) -> str:
        try:
            while self.tools.now() < until:
                code = process.poll()
                if code is not None:
                    return f"the plugin ended (exit {code})"
                self.tools.sleep(1)
        except KeyboardInterrupt:
            return "closed"
        return "the time is over"


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def _translated(doing: str) -> Iterator[None]:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise aws_error(error, doing) from error
