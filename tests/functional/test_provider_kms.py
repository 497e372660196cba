"""KMS keys with the real engine and the emulator, in a region of their own; and backups that the emulator cannot copy there."""

from __future__ import annotations

from pathlib import Path

import pulumi_aws as aws
import pytest

from amianai_infra.errors import EngineError
from tests.functional.conftest import Bench, changed
from tests.functional.test_provider import stack, steps

pytestmark = pytest.mark.filterwarnings("ignore:.* has been deprecated in favor of:DeprecationWarning")


def test_a_key_and_what_cannot_be_done_with_it_here(bench: Bench, tmp_path: Path) -> None:
    kms = bench.client("kms", "us-west-2")
    said = {"rotates": True, "copy": False}

    def program() -> None:
        key = aws.kms.Key("key", region="us-west-2", enable_key_rotation=said["rotates"], description="Backups", tags={"Name": "x"})
        if said["copy"]:
            arn = "arn:aws:rds:us-east-1:000000000000:db:bench"
            aws.rds.InstanceAutomatedBackupsReplication("copy", region="us-west-2", source_db_instance_arn=arn, kms_key_id=key.arn)

    with stack(bench, tmp_path, program) as made:
        made.up()
        (key,) = [one for one in made.resources() if one.type == "aws:kms/key:Key"]
        assert kms.describe_key(KeyId=key.id)["KeyMetadata"]["Description"] == "Backups"
        assert kms.get_key_rotation_status(KeyId=key.id)["KeyRotationEnabled"] is True
        assert changed(made.up()) == {}
        assert changed(made.refresh()) == {}
        said["rotates"] = False
        assert steps(made.up()) == {"key": ("enableKeyRotation",)}
        assert kms.get_key_rotation_status(KeyId=key.id)["KeyRotationEnabled"] is False
        said["copy"] = True
        with pytest.raises(EngineError, match="cannot copy backups to another region; leave database"):
            made.preview()
    assert kms.describe_key(KeyId=key.id)["KeyMetadata"]["KeyState"] == "PendingDeletion"
