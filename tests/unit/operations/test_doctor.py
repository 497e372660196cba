from __future__ import annotations

import os
from collections.abc import Sequence
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from amianai_infra.config import AuthSettings, Settings
from amianai_infra.errors import ConfigurationError, ForbiddenError, MissingToolError, RefusedError
from amianai_infra.operations import doctor
from amianai_infra.operations.doctor import Check
from tests.unit.operations.fakes import ACCOUNT, Target

SETTINGS = Settings(domain_name="example.com")


def says(text: str) -> doctor.Run:
    def call(command: Sequence[str]) -> str:
        return text

    return call


@pytest.mark.parametrize(("version", "good"), [("v18.17.0", True), ("v20.1.0", True), ("v18.16.9", False), ("v9.9.9", False), ("", False)])
def test_node_is_new_enough(version: str, good: bool) -> None:
    check = doctor.node(says(version))
    assert check.ok is good
    assert bool(check.fix) is not good


def test_missing_programs_say_how_to_get_them() -> None:
    for check in (doctor.npm(says("")), doctor.git(says(""))):
        assert not check.ok
        assert check.found == "not found"
        assert "install" in check.fix


def test_a_program_that_is_absent_or_fails_says_nothing() -> None:
    assert doctor.run(["no-such-program-anywhere"]) == ""
    assert doctor.run(["false"]) == ""
    assert doctor.run(["echo", "1.2"]) == "1.2"


def test_go_matters_only_while_there_is_no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("amianai_infra.engine.find_engine", lambda environ: Path("/cache/pulumi"))
    assert doctor.healthy(doctor.engine(says("")))
    assert all(check.ok for check in doctor.engine(says("")))
    monkeypatch.setattr("amianai_infra.engine.find_engine", lambda environ: None)
    _, go = doctor.engine(says(""))
    assert not go.ok
    assert "go.dev" in go.fix


def test_an_engine_that_others_may_change_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(environ: Any) -> Path:
        raise RefusedError("everybody may write", fix="chmod it")

    monkeypatch.setattr("amianai_infra.engine.find_engine", refuse)
    assert doctor.engine(says("")) == [doctor.Check("Pulumi engine", False, "everybody may write", "chmod it")]


def test_the_provider_for_aws_or_room_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environ = {"PULUMI_HOME": str(tmp_path / "home"), "AMIANAI_CACHE": str(tmp_path / "cache"), "PATH": str(tmp_path)}
    missing = doctor.provider(environ)
    assert missing.ok
    assert "setup installs it" in missing.found
    monkeypatch.setattr("amianai_infra.engine.NEEDED_BYTES", 1 << 62)
    full = doctor.provider(environ)
    assert not full.ok
    assert "PULUMI_HOME" in full.fix
    own = tmp_path / "pulumi-resource-aws"
    own.touch(mode=0o755)
    assert doctor.provider(environ) == doctor.Check("AWS provider (pulumi-aws)", True, str(own))
    environ |= {"PULUMI_IGNORE_AMBIENT_PLUGINS": "1"}
    (tmp_path / "cache").mkdir(mode=0o700)
    (tmp_path / "cache").chmod(0o777)
    refused = doctor.provider(environ)
    assert not refused.ok
    assert "chmod" in refused.fix


def test_disk_space(tmp_path: Path) -> None:
    assert doctor.disk([tmp_path], least=0.001).ok
    full = doctor.disk([tmp_path / "not" / "there"], least=10**9)
    assert not full.ok
    assert "AMIANAI_CACHE" in full.fix


def test_folders_that_take_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor.writable([tmp_path / "made" / "later"]).ok

    def read_only(dir: Path) -> Any:  # noqa: A002
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("tempfile.TemporaryFile", read_only)
    check = doctor.writable([tmp_path])
    assert not check.ok
    assert "Read-only" in check.found


def test_the_site_directory(tmp_path: Path) -> None:
    assert "does not exist" in doctor.site_directory(tmp_path, SETTINGS).found
    (tmp_path / "examples/site").mkdir(parents=True)
    assert "no package.json" in doctor.site_directory(tmp_path, SETTINGS).found
    plain = Settings.model_validate({"domain_name": "example.com", "site": {"build_command": "make"}})
    assert doctor.site_directory(tmp_path, plain).ok
    (tmp_path / "examples/site/out").mkdir()
    assert doctor.site_directory(tmp_path, SETTINGS).ok, "a site made by hand"
    yarn = Settings.model_validate({"domain_name": "example.com", "site": {"build_command": "yarn build"}})
    assert not doctor.site_directory(tmp_path, yarn).ok
    (tmp_path / "examples/site/package.json").touch()
    assert doctor.site_directory(tmp_path, yarn).ok
    assert doctor.site_directory(tmp_path, SETTINGS).ok


def test_a_configuration_that_is_wrong_is_one_of_the_findings(tmp_path: Path) -> None:
    def broken() -> Settings:
        raise ConfigurationError("domain_name: not set", fix="set it")

    (check,) = doctor.configuration(broken, tmp_path)
    assert not check.ok
    assert check.found == "domain_name: not set"


class Sts:
    def __init__(self, skew: float) -> None:
        self.skew = skew

    def get_caller_identity(self) -> dict[str, Any]:
        import time

        return {"ResponseMetadata": {"HTTPHeaders": {"date": formatdate(time.time() + self.skew, usegmt=True)}}}


@pytest.mark.parametrize(("skew", "good"), [(0, True), (200, True), (-600, False), (3600, False)])
def test_a_clock_that_is_off_is_found(tmp_path: Path, skew: float, good: bool) -> None:
    target: Any = Target(tmp_path, "aws", {"sts": Sts(skew)})
    assert doctor.credentials(target)[1].ok is good


def test_expired_credentials_are_a_finding(tmp_path: Path) -> None:
    target: Any = Target(tmp_path, "aws")

    def identity() -> Any:
        raise ForbiddenError("The AWS credentials have expired.", fix="run `aws sso login`")

    target.identity = identity
    (check,) = doctor.amazon(target, SETTINGS)
    assert not check.ok
    assert "aws sso login" in check.fix


class Iam:
    def __init__(self, denied: Sequence[str] = ()) -> None:
        self.denied = denied
        self.asked: list[dict[str, Any]] = []

    def simulate_principal_policy(self, **question: Any) -> dict[str, Any]:
        self.asked.append(question)
        return {
            "EvaluationResults": [
                {"EvalActionName": action, "EvalDecision": "implicitDeny" if action in self.denied else "allowed"}
                for action in question["ActionNames"]
            ]
        }

    def get_role(self, *, RoleName: str) -> dict[str, Any]:
        return {"Role": {"Arn": f"arn:aws:iam::{ACCOUNT}:role/path/{RoleName}"}}


def permissions(tmp_path: Path, iam: Iam, arn: str = f"arn:aws:iam::{ACCOUNT}:user/operator") -> Check:
    target: Any = Target(tmp_path, "aws", {"iam": iam})
    identity = target.identity()
    target.identity = lambda: type(identity)(ACCOUNT, arn)
    return doctor.permissions(target, SETTINGS)


def test_permissions_that_suffice(tmp_path: Path) -> None:
    iam = Iam()
    assert permissions(tmp_path, iam).ok
    actions = {action for question in iam.asked for action in question["ActionNames"]}
    assert {"rds:CreateDBInstance", "cloudfront:CreateDistribution", "cognito-idp:CreateUserPool"} <= actions
    assert not [action for action in actions if "*" in action]


def test_permissions_that_lack_something_name_it(tmp_path: Path) -> None:
    check = permissions(tmp_path, Iam(["rds:CreateDBInstance"]))
    assert not check.ok
    assert "rds:CreateDBInstance" in check.found
    assert check.required


def test_a_session_is_asked_about_as_its_role(tmp_path: Path) -> None:
    iam = Iam()
    permissions(tmp_path, iam, f"arn:aws:sts::{ACCOUNT}:assumed-role/Admin/me")
    assert {question["PolicySourceArn"] for question in iam.asked} == {f"arn:aws:iam::{ACCOUNT}:role/path/Admin"}


def test_the_root_user_is_not_asked_about(tmp_path: Path) -> None:
    iam = Iam()
    assert "root" in permissions(tmp_path, iam, f"arn:aws:iam::{ACCOUNT}:root").found
    assert iam.asked == []


def test_where_aws_does_not_tell_it_is_no_failure(tmp_path: Path) -> None:
    from botocore.exceptions import ClientError

    class Silent(Iam):
        def simulate_principal_policy(self, **question: Any) -> dict[str, Any]:
            raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "SimulatePrincipalPolicy")

    check = permissions(tmp_path, Silent())
    assert not check.ok
    assert not check.required


def test_everything_missing_is_reported_at_once() -> None:
    checks = [
        Check("A", False, "none", "get A"),
        Check("B", True, "1"),
        Check("C", False, "none", "get C"),
        Check("D", False, "", "", False),
    ]
    with pytest.raises(MissingToolError) as caught:
        doctor.require(checks)
    text = str(caught.value)
    assert "get A" in text
    assert "get C" in text
    assert "D" not in text.split("next:", maxsplit=1)[0].replace("This machine", "")
    assert not doctor.healthy(checks)
    doctor.require([checks[1], checks[3]])


def test_the_table() -> None:
    text = doctor.table([Check("A", True, "1"), Check("BB", False, "none", "get B"), Check("C", False, "none", required=False)])
    assert text == ["✓ A   1", "✗ BB  none", "      -> get B", "! C   none"]


def test_this_machine_is_checked(tmp_path: Path) -> None:
    found = doctor.machine(tmp_path, tmp_path, tmp_path)
    assert [check.name for check in found if "Python" in check.name]
    assert all(isinstance(check.as_dict(), dict) for check in found)
    assert os.path.lexists(tmp_path)


def test_strangers_can_use_up_cognitos_own_e_mail() -> None:
    check = doctor.sign_in_mail(SETTINGS)
    assert (check.ok, check.required) == (False, False), "a recommendation: everything works without it"
    assert "50 a day" in check.found
    assert "auth.ses_identity_arn" in check.fix
    assert "auth.self_sign_up=false" in check.fix
    assert f"! {check.name}" in "\n".join(doctor.table([check]))


@pytest.mark.parametrize("auth", [{"self_sign_up": False}, {"ses_identity_arn": "arn:aws:ses:us-east-1:123456789012:identity/example.com"}])
def test_e_mail_is_safe_with_ses_or_without_sign_up(auth: dict[str, Any]) -> None:
    check = doctor.sign_in_mail(Settings(domain_name="example.com", auth=AuthSettings(**auth)))
    assert check.ok
    assert not check.fix


def test_the_engine_has_to_come_to_the_state_too() -> None:
    def refused() -> None:
        raise ForbiddenError("Opening the state's backend failed.", where="no credentials", fix="run `aws sso login`")

    assert doctor.state_through_engine(lambda: None).ok
    row = doctor.state_through_engine(refused)
    assert (row.ok, row.required) == (False, True)
    assert "no credentials" in row.found
    assert "aws sso login" in row.fix
