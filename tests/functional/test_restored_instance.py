"""The engine's state follows a restored database: another instance, id and secret under the same name, and nothing left to change.

Real engine, emulator and PostgreSQL. The emulator cannot restore or rename, so the instance is made again under its name by hand.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from amianai_infra.database.backups import TAG_RESTORE_OF
from amianai_infra.database.instances import tag_list
from amianai_infra.database.recipe import Recipe
from amianai_infra.sandbox import postgres as place
from amianai_infra.sandbox.provider.postgres import Postgres
from tests.functional.conftest import Bench, Stack, changed
from tests.functional.test_provider import stack
from tests.functional.test_provider_rds import DATABASE, IDENTIFIER, USER, Settings, connect, database, one

pytestmark = pytest.mark.filterwarnings("ignore:.* has been deprecated in favor of:DeprecationWarning")


def instance(made: Stack) -> Any:
    (found,) = [each for each in made.resources() if each.type == "aws:rds/instance:Instance"]
    return found


def restore_by_hand(bench: Bench, recipe: Recipe, old: str) -> str:
    """Another instance under the name, with the stack's settings and a restore's tags; gives its resource id."""
    rds, server = bench.client("rds"), Postgres(place.locate(bench.sandbox.local).sockets, bench.sandbox.ports().postgres)
    server.remove(old, DATABASE, USER, snapshot=None)
    rds.modify_db_instance(DBInstanceIdentifier=IDENTIFIER, DeletionProtection=False, ApplyImmediately=True)
    rds.delete_db_instance(DBInstanceIdentifier=IDENTIFIER, SkipFinalSnapshot=True)
    made = rds.create_db_instance(
        DBInstanceIdentifier=IDENTIFIER,
        Engine="postgres",
        EngineVersion="16",
        AllocatedStorage=20,
        StorageEncrypted=True,
        DBName=DATABASE,
        MasterUsername=USER,
        **{**recipe.at_restore("time"), "Port": int(bench.variables["PGPORT"])},
        Tags=tag_list({**recipe.tags, TAG_RESTORE_OF: IDENTIFIER}),
    )["DBInstance"]
    rds.modify_db_instance(
        DBInstanceIdentifier=IDENTIFIER, PreferredBackupWindow="02:00-03:00", PreferredMaintenanceWindow="sun:04:00-sun:05:00"
    )
    return str(made["DbiResourceId"])


def test_the_state_follows_a_restored_instance(bench: Bench, tmp_path: Path) -> None:
    settings = Settings()
    with stack(bench, tmp_path, database(settings)) as made:
        made.up()
        before, secret = instance(made), made.outputs()["secret"]
        new = restore_by_hand(bench, Recipe.of(before.inputs), before.id)
        assert new != before.id

        made.stand_for(before.urn, new)
        made.stand_for(before.urn, new)  # as after a kill
        assert instance(made).id == new
        assert instance(made).outputs["resourceId"] == new
        made.up()
        assert changed(made.preview()) == {}
        assert changed(made.refresh()) == {}, "and the state says what is there"
        assert made.outputs()["secret"] != secret, "whoever reads the outputs finds the new secret"
        held = json.loads(bench.client("secretsmanager").get_secret_value(SecretId=made.outputs()["secret"])["SecretString"])
        assert held["password"] not in made.state()
        with connect(bench, made) as connection:
            assert one(connection, "SELECT current_user") == USER
        tags = bench.client("rds").describe_db_instances(DBInstanceIdentifier=IDENTIFIER)["DBInstances"][0]["TagList"]
        assert TAG_RESTORE_OF not in {tag["Key"] for tag in tags}, "`up` takes the restore's own tags away"
        settings.protected = False
        made.up()
