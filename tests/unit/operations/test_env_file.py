from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amianai_infra.database.credentials import Role
from amianai_infra.errors import ConfigurationError, NotFoundError
from amianai_infra.operations.env_file import HEADING, database_values, lead, local_database_values, merge, write
from amianai_infra.outputs import StackOutputs
from tests.unit.operations.fakes import OUTPUTS

VALUES = {"NEXT_PUBLIC_SITE_URL": "https://example.com/", "DATABASE_HOST": "db"}


def test_a_new_file() -> None:
    text, added, changed = merge("", VALUES)
    assert text == f"{HEADING}\nNEXT_PUBLIC_SITE_URL=https://example.com/\nDATABASE_HOST=db\n"
    assert added == list(VALUES)
    assert changed == []


def test_foreign_keys_comments_blank_lines_and_order_stay() -> None:
    before = "# mine\nAPI_KEY='a b'\n\nexport DATABASE_HOST=old\nOTHER=1 # note\nNEXT_PUBLIC_SITE_URL = x\n"
    text, added, changed = merge(before, VALUES)
    assert text == "# mine\nAPI_KEY='a b'\n\nexport DATABASE_HOST=db\nOTHER=1 # note\nNEXT_PUBLIC_SITE_URL=https://example.com/\n"
    assert added == []
    assert changed == ["DATABASE_HOST", "NEXT_PUBLIC_SITE_URL"]


def test_a_commented_out_key_stays_commented_out() -> None:
    text, added, _ = merge("# DATABASE_HOST=other\n", VALUES)
    assert text.startswith("# DATABASE_HOST=other\n\n" + HEADING)
    assert "DATABASE_HOST" in added


def test_a_key_that_merely_begins_like_ours_is_foreign() -> None:
    assert "DATABASE_HOST_OLD=1\n" in merge("DATABASE_HOST_OLD=1\n", VALUES)[0]


def test_values_that_a_shell_would_read_otherwise_are_quoted() -> None:
    assert "A='x y#z'" in merge("", {"A": "x y#z"})[0]


LINE = st.one_of(
    st.sampled_from(["", "# comment", "FOREIGN=1", "DATABASE_HOST=old", "export NEXT_PUBLIC_SITE_URL=", "not an assignment"]),
    st.text(st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp")), max_size=20),
)


@given(st.lists(LINE, max_size=8))
def test_merging_again_changes_nothing_and_foreign_lines_survive_in_order(lines: list[str]) -> None:
    before = "\n".join(lines)
    after, _, _ = merge(before, VALUES)
    assert merge(after, VALUES) == (after, [], [])

    def foreign(text: str) -> list[str]:
        ours = ("DATABASE_HOST", "NEXT_PUBLIC_SITE_URL", HEADING)
        return [line for line in text.splitlines() if line.strip() and not any(name in line for name in ours)]

    assert foreign(after) == foreign(before)


def test_the_file_is_private_and_untouched_when_nothing_changes(tmp_path: Path) -> None:
    file = tmp_path / ".env.local"
    assert not write(file, VALUES).same
    assert file.stat().st_mode & 0o777 == 0o600
    inode = file.stat().st_ino
    assert write(file, VALUES).same
    assert file.stat().st_ino == inode


SDK = {"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_REGION": "us-east-1", "AWS_CONFIG_FILE": "/a b/config"}


def test_sdks_are_led_elsewhere_and_back_again(tmp_path: Path) -> None:
    file = tmp_path / ".env.local"
    own = "AWS_PROFILE=mine\nAWS_REGION=eu-west-1"
    file.write_text(own)
    assert write(file, VALUES, SDK).added == [*VALUES, *SDK]
    assert [line for line in file.read_text().splitlines() if line.startswith("AWS_")] == [
        "AWS_PROFILE=mine",
        "AWS_REGION=eu-west-1",
        "AWS_ENDPOINT_URL=http://127.0.0.1:1",
        "AWS_REGION=us-east-1",
        "AWS_CONFIG_FILE='/a b/config'",
    ]
    assert write(file, VALUES, SDK).same
    with file.open("a") as more:
        more.write("AWS_PROFILE=later\n")
    assert write(file, VALUES, {**SDK, "AWS_ENDPOINT_URL": "http://127.0.0.1:2"}).changed == ["AWS_ENDPOINT_URL"]
    assert file.read_text().count("AWS_ENDPOINT_URL=http://127.0.0.1:2\n") == 1
    assert write(file, VALUES).removed == list(SDK)
    assert file.read_text() == merge(own, VALUES)[0] + "AWS_PROFILE=later\n"
    assert write(file, VALUES).same


@given(st.lists(LINE, max_size=8))
def test_what_leads_sdks_leaves_no_trace(lines: list[str]) -> None:
    before, _, _ = merge("\n".join(lines), VALUES)
    there, nothing = lead(before, SDK)
    assert nothing == {}
    assert lead(there, SDK) == (there, SDK)
    assert lead(there, {}) == (before, SDK)


def test_what_was_written_is_told_in_a_hundred_columns(tmp_path: Path) -> None:
    names = [f"NEXT_PUBLIC_NAME_{number}" for number in range(20)]
    text = write(tmp_path / ".env", dict.fromkeys(names, "x")).text()
    assert all(name in " ".join(text) for name in names)
    assert max(len(line) for line in text[1:]) <= 100
    assert write(tmp_path / ".env", dict.fromkeys(names, "x")).text() == [f"{tmp_path / '.env'}: no changes"]


def test_the_mode_of_an_existing_file_stays(tmp_path: Path) -> None:
    file = tmp_path / ".env.local"
    file.write_text("A=1\n")
    file.chmod(0o640)
    write(file, VALUES)
    assert file.stat().st_mode & 0o777 == 0o640
    assert [path.name for path in tmp_path.iterdir()] == [".env.local"]


def test_a_missing_site_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="does not exist"):
        write(tmp_path / "absent" / ".env.local", VALUES)


SECRETS = {"application_secret_arn": "arn:of:the:application", "readonly_secret_arn": "arn:of:the:readonly"}
MADE = OUTPUTS.model_copy({"database": OUTPUTS.database.model_copy({**SECRETS, "replica_hosts": ["one", "two"]})})
CA = Path("/ca.pem")


def all_values(outputs: StackOutputs, role: Role) -> list[dict[str, str]]:
    """What is written for each place a program may run at."""
    here = (local_database_values(outputs, CA, role, tunnel_port=port) for port in (None, 15432))
    return [database_values(outputs, role), *here, local_database_values(outputs, CA, role, replicas=True)]


@pytest.mark.parametrize("role", ["application", "readonly"])
def test_no_program_is_handed_the_owner_or_a_password(role: Role) -> None:
    for values in all_values(MADE, role):
        assert values["DATABASE_SECRET_ARN"] == f"arn:of:the:{role}"
        assert not [name for name in values if "PASSWORD" in name]
    with pytest.raises(NotFoundError, match=f"no secret for the {role} role yet"):  # a stack that is older than the role's secret
        all_values(OUTPUTS.model_copy({"database": OUTPUTS.database.model_copy({f"{role}_secret_arn": ""})}), role)


def test_replicas_are_named_where_they_can_be_reached() -> None:
    assert database_values(MADE, "application")["DATABASE_REPLICA_HOSTS"] == "one,two"
    opened, tunnelled, sandbox = all_values(MADE, "application")[1:]
    assert sandbox["DATABASE_REPLICA_HOSTS"] == "one,two"
    assert not {"DATABASE_REPLICA_HOSTS"} & (opened.keys() | tunnelled.keys()), "they are open to nobody outside"


def test_a_program_on_this_machine_is_told_where_and_with_which_authorities() -> None:
    assert local_database_values(MADE, CA, "application") == {
        "DATABASE_HOST": "db.example.internal",
        "DATABASE_PORT": "5432",
        "DATABASE_NAME": "amianai",
        "DATABASE_SERVER_NAME": "db.example.internal",
        "DATABASE_CA": "/ca.pem",
        "DATABASE_REGION": "us-east-1",
        "DATABASE_SECRET_ARN": "arn:of:the:application",
    }
    tunnel = local_database_values(MADE, CA, "application", tunnel_port=15432)
    assert (tunnel["DATABASE_HOST"], tunnel["DATABASE_PORT"]) == ("127.0.0.1", "15432")
    assert tunnel["DATABASE_SERVER_NAME"] == "db.example.internal", "which the certificate names"


def test_what_was_written_for_another_place_does_not_stay(tmp_path: Path) -> None:
    """The authorities of the sandbox sign for no server on AWS, and replicas that are gone answer nobody."""
    file = tmp_path / ".env.local"
    file.write_text("MINE=1\nDATABASE_URL=postgresql://mine\n")
    write(file, local_database_values(MADE, CA, "application", replicas=True))
    written = write(file, database_values(OUTPUTS.model_copy({"database": replace(MADE.database, replica_hosts=[])}), "application"))
    assert written.removed == ["DATABASE_REPLICA_HOSTS", "DATABASE_SERVER_NAME", "DATABASE_CA", "DATABASE_REGION"]
    names = [line.partition("=")[0] for line in file.read_text().splitlines() if "=" in line]
    assert names == ["MINE", "DATABASE_URL", "DATABASE_HOST", "DATABASE_PORT", "DATABASE_NAME", "DATABASE_SECRET_ARN"]
