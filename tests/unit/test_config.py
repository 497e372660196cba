from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amianai_infra.config import (
    NOT_SETTINGS,
    AuthSettings,
    DatabaseSettings,
    DnsSettings,
    NetworkSettings,
    Setting,
    Settings,
    SiteSettings,
    agreed_lines,
    every_setting,
    load_settings,
    read_stack_file,
    to_pulumi,
)
from amianai_infra.errors import ConfigurationError
from amianai_infra.naming import TAGS_AT_MOST, default_tags, tag_problems

DOMAIN = {"DOMAIN_NAME": "example.com"}


def problem(flags: dict[str, str] | None = None, environ: dict[str, str] | None = None, stack: dict[str, object] | None = None) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load_settings(flags or {}, DOMAIN if environ is None else environ, stack or {})
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_the_spellings_of_a_setting() -> None:
    spelled = {one.key: (one.environment, one.pulumi) for one in every_setting()}
    assert spelled["domain_name"] == ("DOMAIN_NAME", "amianai-infra:domainName")
    assert spelled["github_username"] == ("GITHUB_USERNAME", "amianai-infra:githubUsername")
    assert spelled["database.instance_class"] == ("AMIANAI_DATABASE_INSTANCE_CLASS", "amianai-infra:databaseInstanceClass")


def test_no_two_settings_share_a_spelling_and_none_is_a_switch_of_the_command() -> None:
    settings = list(every_setting())
    for spelling in ("key", "environment", "pulumi"):
        assert len({getattr(one, spelling) for one in settings}) == len(settings)
    assert not NOT_SETTINGS & {one.environment for one in settings}


def test_every_setting_is_described() -> None:
    assert [one.key for one in every_setting() if not one.field.description] == []


def test_precedence_is_flag_environment_stack_file_target_default() -> None:
    flags: dict[str, str] = {}
    environ = dict(DOMAIN)
    stack: dict[str, str] = {}
    defaults: dict[str, str] = {}

    def storage() -> int:
        return load_settings(flags, environ, stack, defaults).database.storage_gib

    assert storage() == 20
    defaults["database.storage_gib"] = "21"
    assert storage() == 21
    stack["amianai-infra:databaseStorageGib"] = "22"
    assert storage() == 22
    environ["AMIANAI_DATABASE_STORAGE_GIB"] = "23"
    assert storage() == 23
    flags["database.storage_gib"] = "24"
    assert storage() == 24


def test_a_variable_that_is_set_but_empty_is_not_set() -> None:
    stack = {"amianai-infra:domainName": "example.org"}
    assert load_settings({}, {"DOMAIN_NAME": "", "AMIANAI_NETWORK_NAT": ""}, stack).domain_name == "example.org"


def test_no_domain_names_every_way_to_set_it() -> None:
    text = problem(environ={})
    assert "domain_name: not set" in text
    assert "DOMAIN_NAME" in text
    assert "--set domain_name=" in text


@pytest.mark.parametrize(
    "domain",
    [
        "https://example.com",
        "exa mple.com",
        " example.com",
        "example.com/",
        "example.com:443",
        "example.com.",
        "Example.com",
        "example",
        "www.example.com",
        "-example.com",
        "a" * 64 + ".com",
        "exa_mple.com",
        "10.0.0.1",
        "example.com\n",
        "exämple.com",
    ],
)
def test_a_domain_that_is_not_a_bare_domain_is_refused(domain: str) -> None:
    text = problem(environ={"DOMAIN_NAME": domain})
    assert domain.strip() in text
    assert "environment DOMAIN_NAME" in text


@pytest.mark.parametrize("domain", ["example.com", "a.b.c.example.co.uk", "xn--exmple-cua.com", "1and1.com"])
def test_real_domains_are_accepted(domain: str) -> None:
    assert load_settings({}, {"DOMAIN_NAME": domain}, {}).domain_name == domain


@pytest.mark.parametrize(
    ("cidr", "says"),
    [
        *[("10.0.0.0/24", "/16 to /20"), ("10.0.0.0/8", "/16 to /20"), ("10.0.0.1/16", "host bits"), ("ten", "IPv4")],
        *[(other, "private") for other in ("8.8.0.0/16", "127.0.0.0/16", "169.254.0.0/16", "198.18.0.0/16", "240.0.0.0/16")],
    ],
)
def test_a_range_that_is_too_small_large_public_or_none_is_refused(cidr: str, says: str) -> None:
    text = problem({"network.cidr": cidr})
    assert f"network.cidr = {cidr}" in text
    assert says in text


@pytest.mark.parametrize(
    ("flags", "environ", "stack", "says"),
    [
        ({"database.size": "1"}, {}, {}, "database.size: unknown key (flag)"),
        ({"database.storage_gb": "1"}, {}, {}, "did you mean database.storage_gib?"),
        ({}, {"AMIANAI_DATABASE_STORAGE": "1"}, {}, "AMIANAI_DATABASE_STORAGE: unknown key (environment)"),
        ({}, {}, {"amianai-infra:domain": "x"}, "amianai-infra:domain: unknown key (stack file)"),
    ],
)
def test_unknown_keys_are_refused_in_flag_environment_and_file(
    flags: dict[str, str], environ: dict[str, str], stack: dict[str, object], says: str
) -> None:
    assert says in problem(flags, {**DOMAIN, **environ}, stack)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("config:\n  aws:region: a\n  x:y: 1\n  aws:region: b\n", "aws:region (lines 2 and 4)"),
        ("encryptionsalt: a\nconfig: {}\nencryptionsalt: a\n", "encryptionsalt (lines 1 and 3)"),
    ],
)
def test_a_stack_file_that_says_something_twice_is_refused_as_the_engine_would(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "Pulumi.prod.yaml"
    file.write_text(text)
    with pytest.raises(ConfigurationError, match="twice") as caught:
        read_stack_file(file)
    assert caught.value.where == f"{file}: {says}"


def test_what_belongs_to_others_is_left_alone() -> None:
    environ = {**DOMAIN, "PATH": "/bin", "AMIANAI_TARGET": "sandbox", "AWS_REGION": "eu-west-1"}
    settings = load_settings({}, environ, {"aws:profile": "me", "other:thing": "x"})
    assert settings == Settings(domain_name="example.com")


def test_all_problems_are_reported_at_once_with_key_value_place_unit_and_range() -> None:
    text = problem(
        {"database.storage_gib": "5", "nonsense": "1"},
        {"DOMAIN_NAME": "http://x", "AMIANAI_DATABASE_MULTI_AZ": "perhaps"},
        {"amianai-infra:networkAvailabilityZones": "4", "amianai-infra:databaseBackupDays": "many"},
    )
    assert "database.storage_gib = 5 GiB (flag database.storage_gib)" in text
    assert "allowed: 20 to 65536 GiB" in text
    assert "nonsense: unknown key" in text
    assert "domain_name = http://x" in text
    assert "database.multi_az = perhaps (environment AMIANAI_DATABASE_MULTI_AZ)" in text
    assert "network.availability_zones = 4 zones (stack file amianai-infra:networkAvailabilityZones)" in text
    assert "database.backup_days = many days" in text
    assert text.count("\n  - ") == 6


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("network.nat", "two", "'none', 'single' or 'per-az'"),
        ("database.log_days", "31", "30, 60"),
        ("database.instance_class", "t3.micro", "such as db.t3.micro"),
        ("database.backup_window", "3-4", "such as 03:00-04:00"),
        ("database.backup_window", "03:00-03:10", "30 minutes to 24 hours"),
        ("database.maintenance_window", "sun:03:30-sun:04:30", "must not overlap"),
        ("database.max_storage_gib", "20", None),
        ("database.storage_gib", "200", "must not be below"),
        ("database.engine_version", "12", "such as 16"),
        ("database.username", "postgres", "keeps for itself"),
        ("database.username", "admin", "keeps for itself"),
        ("database.username", "amianai_application", "keeps for itself"),
        ("database.username", "amianai_readonly", "keeps for itself"),
        ("auth.callback_urls", "https://a.example/" + "x" * 1024, "longer than 1024 characters"),
        ("database.username", "rdsadmin", "keeps for itself"),
        ("database.username", "pg_boss", "keeps for itself"),
        ("database.name", "template1", "keeps for itself"),
        ("database.name", "order", "reserved word of PostgreSQL"),
        ("database.name", "authorization", "reserved word of PostgreSQL"),
        ("database.username", "select", "reserved word of PostgreSQL"),
        ("auth.hosted_domain", "-x-", "right form"),
        ("auth.hosted_domain", "x-", "right form"),
        ("auth.hosted_domain", "a-w-s", None),
        ("auth.hosted_domain", "laws", "must not contain aws"),
        ("auth.hosted_domain", "my-cognito", "must not contain cognito"),
        ("auth.hosted_domain", "amazonas", "must not contain amazon"),
        ("auth.callback_urls", "http://localhost:99999/", "http://localhost:99999/: the host or its port is none"),
        ("auth.callback_urls", "https://a.example:0/", "a port is 1 to 65535"),
        ("auth.development_urls", "http://localhost:3000/,http://localhost:x/", "http://localhost:x/: the host or its port"),
        ("site.output", "..", "a folder that the site lies in"),
        ("site.output", "../../..", "a folder that the site lies in"),
        ("site.output", "dist/../..", "a folder that the site lies in"),
        ("site.output", " ", "must name a folder"),
        ("site.output", "../dist", None),
        ("site.output", ".", None),
        ("auth.callback_urls", "ftp://x", "ftp://x: must be https://, http://localhost"),
        ("auth.callback_urls", "http://example.com/", "http://example.com/: must be"),
        ("auth.callback_urls", "javascript:alert(1)", "must be https://"),
        ("auth.callback_urls", "https://a.example/#x", "without a fragment"),
        ("auth.development_urls", "http://localhost.example.com/", "must be https://"),
        ("site.pass_environment", "NPM_TOKEN=hunter2", "such as NPM_TOKEN"),
        ("site.pass_environment", "*", "such as NPM_TOKEN"),
        ("database.port", "80", "1150 to 65535"),
        ("prefix", "Eeyore", "such as eeyore"),
        ("prefix", "a" * 21, "at most 20"),
        ("tags", "Team", "name=value"),
        ("tags", "{Team", "not valid JSON"),
        ("site.connect_src", "[1,", "not valid JSON"),
        ("site.connect_src", "[" * 100_000, "not valid JSON"),
        ("site.inputs", "src,/elsewhere", "must be relative"),
        ("site.output", "/elsewhere", "must be relative"),
        ("auth.user_pool_id", "pool", "right form"),
        ("dns.zone_id", "example.com", "right form"),
        ("iam.permissions_boundary", "boundary", "right form"),
        ("iam.permissions_boundary", "arn:aws:iam::123456789012:role/boundary", "right form"),
        ("region", "virginia", "such as us-east-1"),
    ],
)
def test_bad_values(key: str, value: str, says: str | None) -> None:
    if says is None:
        load_settings({key: value}, DOMAIN, {})
    else:
        assert says in problem({key: value})


@pytest.mark.parametrize(
    "key", [*default_tags(), "Name", "name", "ENVIRONMENT", "amianai:access", "Amianai:anything", "aws:x", "AWS:cloudformation"]
)
def test_tags_that_the_stack_or_aws_sets_are_refused_by_name(key: str) -> None:
    text = problem({"tags": json.dumps({"Team": "web", key: "mine"})})
    assert f"tags.{key}: is set by" in text
    assert "tags.Team" not in text


@pytest.mark.parametrize(
    ("tags", "says"),
    [
        ({"": "x"}, "tags.: a key has 1 to 128"),
        ({"k" * 129: "x"}, "a key has 1 to 128"),
        ({"k": "v" * 257}, "tags.k: a key has 1 to 128 characters, a value at most 256"),
        ({"a;b": "x"}, "tags.a;b: only letters"),
        ({"k": "x|y"}, "tags.k: only letters"),
        ({"Team": "a", "team": "b"}, "tags.team: is given twice in another case"),
        ({f"k{number}": "" for number in range(TAGS_AT_MOST + 1)}, f"{TAGS_AT_MOST + 1} are more than the {TAGS_AT_MOST}"),
    ],
)
def test_tags_that_aws_refuses(tags: dict[str, str], says: str) -> None:
    assert says in problem({"tags": json.dumps(tags)})


def test_the_most_tags_that_aws_takes() -> None:
    tags = {f"k{number}".ljust(128, "x"): "v" * 256 for number in range(TAGS_AT_MOST)}
    assert load_settings({"tags": json.dumps(tags)}, DOMAIN, {}).tags == tags
    assert len(default_tags(tags)) + len({"Name", "amianai:urn", "amianai:purpose", "amianai:access"}) <= 50


@pytest.mark.parametrize("key", ["dns.dnssec", "dns.query_logging"])
def test_an_adopted_zone_is_neither_signed_nor_logged(key: str) -> None:
    load_settings({key: "true"}, DOMAIN, {})
    assert "is adopted" in problem({key: "true", "dns.zone_id": "Z123"})


def test_return_addresses_of_pages_of_this_machine_and_of_applications() -> None:
    urls = "https://a.example/back?x=1, http://localhost, http://localhost:3000/, myapp://home"
    assert len(load_settings({"auth.callback_urls": urls, "auth.development_urls": urls}, DOMAIN, {}).auth.callback_urls) == 4


def test_a_problem_between_settings_names_them_in_full_with_the_places_of_their_values() -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_settings(
            {"database.storage_gib": "200"}, DOMAIN, {"amianai-infra:databaseMaxStorageGib": "100"}, file="stack file x/Pulumi.prod.yaml"
        )
    assert (
        "  - database.max_storage_gib = 100 GiB must not be below database.storage_gib = 200 GiB"
        " (stack file x/Pulumi.prod.yaml amianai-infra:databaseMaxStorageGib, flag database.storage_gib)"
    ) in str(caught.value)


def test_lists_and_maps_are_json_or_separated_by_commas() -> None:
    flags = {"auth.callback_urls": "https://a/, https://b/", "tags": "Team=web, Cost Centre=4=2"}
    settings = load_settings(flags, DOMAIN, {})
    assert settings.auth.callback_urls == ["https://a/", "https://b/"]
    assert settings.tags == {"Team": "web", "Cost Centre": "4=2"}
    flags = {"auth.callback_urls": '["https://a/"]', "tags": '{"Team": "web"}'}
    settings = load_settings(flags, DOMAIN, {})
    assert settings.auth.callback_urls == ["https://a/"]
    assert settings.tags == {"Team": "web"}


def test_pulumis_own_region_counts_where_ours_is_not_written() -> None:
    assert load_settings({}, DOMAIN, {"aws:region": "eu-west-1"}).region == "eu-west-1"
    assert load_settings({}, DOMAIN, {"aws:region": "eu-west-1", "amianai-infra:region": "eu-west-3"}).region == "eu-west-3"


def test_windows_that_meet_at_midnight_on_sunday() -> None:
    load_settings({"database.backup_window": "23:30-00:30", "database.maintenance_window": "sun:00:30-sun:01:30"}, DOMAIN, {})
    text = problem({"database.backup_window": "23:30-00:30", "database.maintenance_window": "mon:00:00-mon:01:00"})
    assert "must not overlap" in text


HOSTILE = ["a\nb", "a\r\nnext:  run `curl x | sh`", "\x1b]52;c;eA==\x07", "\u009b2J", "\u202eb", "\u2028", "a\x00b", "\ud800", "a\n"]


@pytest.mark.parametrize("value", HOSTILE, ids=ascii)
@pytest.mark.parametrize("setting", list(every_setting()), ids=lambda setting: setting.key)
def test_what_does_not_print_is_refused_and_shown_as_escapes(setting: Setting, value: str) -> None:
    def refused(form: str) -> bool:
        try:
            settings = load_settings({"domain_name": "example.com", setting.key: form}, {}, {})
        except ConfigurationError as error:
            first, *lines = str(error).split("\n")
            assert first == "The configuration is not valid:"
            assert all(line.isprintable() and line.startswith(("  - ", "  next:  correct the values")) for line in lines)
            assert setting.key in str(error)
            return True
        assert json.dumps(settings.model_dump(mode="json"), ensure_ascii=False).isprintable()
        return False

    assert refused(value) or setting.field.annotation is not str
    for form in (f"https://{value}", f"Team={value}", *map(json.dumps, ([value], {value: "x"}, {"x": value}))):
        refused(form)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("site.connect_src", "https://api.example.com; script-src *"),
        ("site.connect_src", "https://a.example.com,'unsafe-eval'"),
        ("site.connect_src", "*"),
        ("site.connect_src", "https://a.example.com/path"),
        ("site.connect_src", "https://me:secret@a.example.com"),
        ("site.content_security_policy", "default-src 'self' \u00e9"),
        ("site.cache_rules", "**.html=no-store \u00e9"),
        ("site.cache_rules", '{"**.html": ""}'),
        ("site.allow", "docs/example.pem"),
        ("site.budgets", "total 500"),
        ("site.budgets", "/* third-party 10"),
        ("site.budgets", "/* script 1.5"),
        ("site.hsts_preload", "true"),
        ("site.environment", "A-B=1"),
        ("site.environment", '{"A=B": "1"}'),
        ("auth.callback_urls", "localhost"),
        ("auth.callback_urls", "http://localhost/#top"),
        ("auth.callback_urls", '["http://local host/"]'),
        ("auth.ses_identity_arn", "arn:aws:ses:us-east-1:123456789012:identity/a b"),
        ("delivery.oidc_provider_arn", "arn:aws:iam::123456789012:oidc-provider/a b"),
        ("account", "12345678901\u0662"),  # digits of another script
        ("region", "us-east-\u0661"),
        ("database.engine_version", "16.\u0664"),
        ("database.backup_window", "0\u0663:00-04:00"),
        ("database.maintenance_window", "sun:0\u0664:00-sun:05:00"),
    ],
)
def test_what_would_end_a_policy_a_header_or_a_name_is_refused_by_its_setting(key: str, value: str) -> None:
    text = problem({key: value})
    assert f"  - {key} = " in text
    assert f"(flag {key})" in text
    assert "Traceback" not in text


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("site.connect_src", "https://api.example.com,wss://*.example.com:8443,http://[::1]:3000,http://127.0.0.1:4566,https://a.test:*"),
        ("auth.callback_urls", "http://localhost:3000/,myapp://signed-in,https://a.example.com/back?next=%2F"),
        ("auth.ses_identity_arn", "arn:aws:ses:us-east-1:123456789012:identity/hello+1@example.com"),
        ("delivery.oidc_provider_arn", "arn:aws:iam::123456789012:oidc-provider/token.actions.githubusercontent.com/octo-org"),
    ],
)
def test_what_is_used_every_day_is_accepted(key: str, value: str) -> None:
    load_settings({key: value}, DOMAIN, {})


TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), max_size=20)
ASCII = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=20)
ADDRESSES = st.lists(st.builds("https://{}.example.com:{}".format, st.from_regex("[a-z0-9]{1,8}", fullmatch=True), st.integers(1, 65535)))

TAG = st.text("abcXYZäß019 .:/=+@-_", min_size=1, max_size=20)

SETTINGS = st.builds(
    Settings,
    domain_name=st.sampled_from(["example.com", "a.example.org"]),
    prefix=st.sampled_from(["eeyore", "tigger"]),
    github_username=st.sampled_from(["", "someone"]),
    region=st.sampled_from(["us-east-1", "eu-central-1"]),
    tags=st.dictionaries(TAG, TAG, max_size=3).filter(lambda tags: not tag_problems(tags)),
    network=st.builds(
        NetworkSettings,
        cidr=st.sampled_from(["10.0.0.0/16", "172.16.0.0/20"]),
        availability_zones=st.integers(2, 3),
        nat=st.sampled_from(["none", "single", "per-az"]),
        flow_log_days=st.sampled_from([1, 30, 3653]),
    ),
    database=st.builds(
        DatabaseSettings,
        identifier=st.sampled_from(["", "eeyore-postgres", "main"]),
        engine_version=st.sampled_from(["13", "16.10", "17.4"]),
        storage_gib=st.integers(20, 100),
        max_storage_gib=st.integers(100, 65536),
        multi_az=st.booleans(),
        monitoring_seconds=st.sampled_from([0, 60]),
    ),
    auth=st.builds(AuthSettings, callback_urls=ADDRESSES, mfa=st.sampled_from(["OFF", "ON"])),
    site=st.builds(SiteSettings, connect_src=ADDRESSES, content_security_policy=ASCII, hsts_seconds=st.integers(0, 100)),
    dns=st.builds(DnsSettings, zone_id=st.sampled_from(["", "Z123"])),
)


@given(SETTINGS)
def test_what_setup_writes_is_what_the_program_reads(settings: Settings) -> None:
    assert load_settings({}, {}, to_pulumi(settings)) == settings


@given(SETTINGS, SETTINGS)
def test_writing_over_an_earlier_configuration_leaves_nothing_of_it(earlier: Settings, later: Settings) -> None:
    configured = to_pulumi(earlier)
    configured |= to_pulumi(later, written=set(configured))
    assert load_settings({}, {}, configured) == later


def test_the_schema_is_made_by_one_tool() -> None:
    assert load_settings({"database.migrations_by": "external"}, DOMAIN, {}).database.migrations_by == "external"
    text = problem({"database.migrations_by": "external", "database.migrations": "migrations"})
    assert "leave one of the two out" in text


def test_the_databases_identifier_follows_the_prefix() -> None:
    for flags, identifier in (
        ({}, "eeyore-postgres"),
        ({"prefix": "tigger"}, "tigger-postgres"),
        ({"prefix": "tigger", "database.identifier": "main"}, "main"),
        ({"prefix": "tigger", "database.identifier": ""}, "tigger-postgres"),
    ):
        assert load_settings(flags, DOMAIN, {}).database.identifier == identifier
    written = to_pulumi(load_settings({"prefix": "tigger"}, DOMAIN, {}))
    assert written["amianai-infra:prefix"] == "tigger"
    assert "amianai-infra:databaseIdentifier" not in written, "or another prefix would find it chosen"
    kept = to_pulumi(load_settings({"prefix": "tigger", "database.identifier": "eeyore-postgres"}, DOMAIN, {}))
    assert kept["amianai-infra:databaseIdentifier"] == "eeyore-postgres"


def test_defaults_are_not_written() -> None:
    assert to_pulumi(Settings(domain_name="example.com")) == {
        "amianai-infra:domainName": "example.com",
        "amianai-infra:region": "us-east-1",
    }


def test_a_stack_file_is_read_as_text(tmp_path: Path) -> None:
    file = tmp_path / "Pulumi.prod.yaml"
    file.write_text("encryptionsalt: v1\nconfig:\n  amianai-infra:databaseEngineVersion: 16.10\n  amianai-infra:databaseMultiAz: true\n")
    settings = load_settings({}, DOMAIN, read_stack_file(file))
    assert settings.database.engine_version == "16.10"
    assert settings.database.multi_az is True


def test_an_absent_stack_file_is_empty_unless_it_was_asked_for(tmp_path: Path) -> None:
    assert read_stack_file(tmp_path / "absent.yaml") == {}
    with pytest.raises(ConfigurationError, match="does not exist"):
        read_stack_file(tmp_path / "absent.yaml", required=True)


@pytest.mark.parametrize("text", ["config: [1, 2]", "- a\n- b", "config: {a: ", "just text"])
def test_a_file_that_is_no_stack_file_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "Pulumi.prod.yaml"
    file.write_text(text)
    with pytest.raises(ConfigurationError, match="stack file"):
        read_stack_file(file)


@pytest.mark.parametrize("before", ["", "config:\n  aws:region: us-east-1\n"])
def test_a_stack_file_in_the_middle_of_a_merge_is_told_as_one(tmp_path: Path, before: str) -> None:
    file = tmp_path / "Pulumi.prod.yaml"
    sides = "<<<<<<< HEAD\n  amianai-infra:prefix: a\n=======\n  amianai-infra:prefix: b\n>>>>>>> other\n"
    file.write_text(before + sides)
    with pytest.raises(ConfigurationError, match="conflict markers of a merge") as caught:
        read_stack_file(file)
    first = before.count("\n") + 1
    assert caught.value.where == f"{file}: lines {first}, {first + 4}"
    assert "or run `amianai config pull`" in caught.value.fix
    assert agreed_lines(file.read_text()) == before
    assert agreed_lines(before) == before


def test_a_stack_file_that_cannot_be_read_can_be_written_back(tmp_path: Path) -> None:
    file = tmp_path / "Pulumi.prod.yaml"
    file.write_text("config: {a: ")
    with pytest.raises(ConfigurationError, match="cannot be read") as caught:
        read_stack_file(file)
    assert "remove it and run `amianai config pull`" in caught.value.fix


def test_an_empty_stack_file_is_empty(tmp_path: Path) -> None:
    file = tmp_path / "Pulumi.prod.yaml"
    file.write_text("")
    assert read_stack_file(file) == {}


def test_a_copy_of_backups_in_the_same_region_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="own region"):
        load_settings({"domain_name": "example.com", "database.backup_region": "us-east-1"}, {}, {})
    assert load_settings({"domain_name": "example.com", "database.backup_region": "us-west-2"}, {}, {}).database.backup_region


@pytest.mark.parametrize("limit", ["1", "9", "-1", "2000000001"])
def test_a_limit_of_requests_that_waf_does_not_take_is_refused(limit: str) -> None:
    with pytest.raises(ConfigurationError, match=r"auth\.request_limit"):
        load_settings({"domain_name": "example.com", "auth.request_limit": limit}, {}, {})


@pytest.mark.parametrize("name", ["email_verified", "sub", "email", "phone_number_verified", "Name", "custom:"])
def test_people_never_write_what_cognito_writes(name: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"auth\.profile_attributes.*{name}: must be custom:NAME or of address, "):
        load_settings({"domain_name": "example.com", "auth.profile_attributes": f"name,{name}"}, {}, {})
    assert load_settings({"domain_name": "example.com", "auth.profile_attributes": "name,custom:plan"}, {}, {}).auth.profile_attributes


def test_a_client_for_development_can_be_left_out() -> None:
    assert load_settings({"domain_name": "example.com"}, {}, {}).auth.development_urls == ["http://localhost:3000/"]
    for flags, stack_file in (({"auth.development_urls": "[]"}, {}), ({}, {"amianai-infra:authDevelopmentUrls": ""})):
        assert load_settings({"domain_name": "example.com", **flags}, {}, stack_file).auth.development_urls == []


def test_records_to_carry_over_may_have_commas_and_are_checked() -> None:
    line = "_dmarc 60 TXT v=DMARC1; p=none; rua=mailto:a@x.test,mailto:b@x.test"
    flags = {"domain_name": "example.com", "dns.records": f"{line}\n@ 300 MX 10 mail.test."}
    settings = load_settings(flags, {}, {})
    assert settings.dns.records == [line, "@ 300 MX 10 mail.test."]
    assert load_settings({}, {}, to_pulumi(settings)).dns.records == settings.dns.records
    with pytest.raises(ConfigurationError, match=r"dns\.records: .*the stack makes that record itself"):
        load_settings({"domain_name": "example.com", "dns.records": "www 300 A 192.0.2.1"}, {}, {})


@pytest.mark.parametrize("kind", ["A 192.0.2.1", "CNAME x.test."])
def test_a_record_in_the_place_of_previews_is_none_to_carry_over(kind: str) -> None:
    flags = {"domain_name": "example.com", "dns.records": f"*.preview 300 {kind}"}
    load_settings(flags, {}, {})
    with pytest.raises(ConfigurationError, match=r"addresses of \*\.preview\.example\.com, where site\.previews = true puts"):
        load_settings({**flags, "site.previews": "true"}, {}, {})
    load_settings({"domain_name": "example.com", "dns.records": "*.preview 300 TXT x", "site.previews": "true"}, {}, {})
