from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from amianai_infra.errors import ConfigurationError, RefusedError, UnreachableError
from amianai_infra.operations import carry_over, delegation
from tests.unit.operations.fakes import Context

DOMAIN = "example.com"
TYPES = {"A": 1, "NS": 2, "CNAME": 5, "MX": 15, "TXT": 16, "AAAA": 28, "DS": 43, "CAA": 257}
SPELLED = '0 issue "letsencrypt.org"'
RFC_3597 = "\\# 22 00 05 69 73"


class World:
    """Public resolvers, and what the domain says: by name and type."""

    def __init__(self, records: Mapping[tuple[str, str], Sequence[str]], *dead: str) -> None:
        self.records = records
        self.dead = dead
        self.asked: list[tuple[str, str]] = []

    def __call__(self, resolver: str, name: str, kind: str) -> Sequence[Mapping[str, Any]]:
        self.asked.append((name, kind))
        if resolver in self.dead:
            raise UnreachableError("silent", where=resolver)
        alias = self.records.get((name, "CNAME"))
        if alias:  # as resolvers do: the alias, and then what it leads to, under its own name
            return [
                {"name": f"{name}.", "type": 5, "TTL": 17, "data": alias[0]},
                {"name": alias[0], "type": 1, "TTL": 17, "data": "192.0.2.9"},
            ]
        values = self.records.get((name, kind)) or self.records.get(("*." + name.partition(".")[2], kind), ())
        if resolver == delegation.RESOLVERS[0] and kind == "CAA":
            values = [RFC_3597 for _ in values]
        return [{"name": f"{name.upper()}.", "type": TYPES[kind], "TTL": 17, "data": value} for value in values]


IN_USE = {
    (DOMAIN, "A"): ["192.0.2.1"],
    ("www.example.com", "CNAME"): ["old.example.net."],
    (DOMAIN, "MX"): ["10 mx.example.net."],
    (DOMAIN, "TXT"): ['"v=spf1 include:x.test -all"'],
    (DOMAIN, "CAA"): [SPELLED],
    ("selector1._domainkey.example.com", "CNAME"): ["key.example.net."],
    ("_dmarc.example.com", "TXT"): ["v=DMARC1; p=none; rua=mailto:a@x.test"],
    ("shop.example.com", "A"): ["192.0.2.7"],
}
CARRIED = [
    "example.com. 300 MX 10 mx.example.net.",
    'example.com. 300 TXT "v=spf1 include:x.test -all"',
    f"example.com. 300 CAA {SPELLED}",
    "shop.example.com. 300 A 192.0.2.7",
    "selector1._domainkey.example.com. 300 CNAME key.example.net.",
    "_dmarc.example.com. 300 TXT v=DMARC1; p=none; rua=mailto:a@x.test",
]


def test_what_a_domain_says_is_read_from_public_resolvers() -> None:
    present = carry_over.read(DOMAIN, World(IN_USE))
    assert [str(one) for one in present.records] == CARRIED
    assert [str(one) for one in present.site] == ["example.com. 300 A 192.0.2.1", "www.example.com. 300 CNAME old.example.net."]
    assert not present.signed
    assert carry_over.read(DOMAIN, World({(DOMAIN, "DS"): ["1 13 2 AB"]})).signed


def test_one_silent_resolver_is_made_up_for_and_two_are_not() -> None:
    first, second = delegation.RESOLVERS
    assert [str(one) for one in carry_over.read(DOMAIN, World(IN_USE, first)).records] == CARRIED
    with pytest.raises(UnreachableError, match="No public resolver answered") as caught:
        carry_over.read(DOMAIN, World(IN_USE, first, second))
    assert "--records none" in caught.value.fix


def test_a_wildcard_is_carried_once() -> None:
    present = carry_over.read(DOMAIN, World({("*.example.com", "A"): ["192.0.2.7"], ("shop.example.com", "A"): ["192.0.2.8"]}))
    assert [str(one) for one in present.records] == ["*.example.com. 300 A 192.0.2.7", "shop.example.com. 300 A 192.0.2.8"]


@pytest.mark.parametrize("accept", [True, False])
def test_a_domain_in_use_is_shown_and_nothing_is_made_without_a_yes(tmp_path: Path, accept: bool) -> None:
    context = Context(tmp_path)
    context.accept = accept
    if accept:
        carry_over.choose(context, "", World(IN_USE))
        assert context.settings.dns.records == CARRIED
    else:
        with pytest.raises(RefusedError, match="no zone was made") as caught:
            carry_over.choose(context, "", World(IN_USE))
        assert "--records found" in caught.value.fix
        assert context.settings.dns.records == []
    shown = "\n".join(context.notes)
    assert all(line in shown for line in (*CARRIED, "example.com. 300 A 192.0.2.1"))
    assert len(context.did("offer")) == 1


def test_a_domain_without_mail_is_offered_to_refuse_it(tmp_path: Path) -> None:
    context = Context(tmp_path)
    carry_over.choose(context, "", World({}))
    assert context.settings.dns.records == [], "an empty domain loses nothing by a no"
    context.accept = True
    carry_over.choose(context, "", World({}))
    assert context.settings.dns.records == [
        'example.com. 3600 TXT "v=spf1 -all"',
        '_dmarc.example.com. 3600 TXT "v=DMARC1; p=reject"',
    ]


def test_a_script_chooses_by_an_option(tmp_path: Path) -> None:
    context, world = Context(tmp_path), World(IN_USE)
    carry_over.choose(context, "none", world)
    assert (world.asked, context.settings.dns.records) == ([], [])
    carry_over.choose(context, "found", world)
    assert context.settings.dns.records == CARRIED
    world.asked.clear()
    carry_over.choose(context, "", world)
    assert world.asked == [], "chosen before"
    assert context.did("offer") == []


def test_a_zone_file_says_what_cannot_be_found_out_and_outranks_what_can(tmp_path: Path) -> None:
    (tmp_path / "zone.txt").write_text("@ 60 IN MX 5 mx.example.net.\nintern 60 IN A 192.0.2.3\nshop 60 IN CNAME x.test.\n")
    context = Context(tmp_path)
    carry_over.choose(context, "zone.txt", World(IN_USE))
    chosen = context.settings.dns.records
    assert chosen[:3] == [
        "example.com. 60 MX 5 mx.example.net.",
        "intern.example.com. 60 A 192.0.2.3",
        "shop.example.com. 60 CNAME x.test.",
    ]
    assert chosen[3:] == [CARRIED[1], CARRIED[2], CARRIED[4], CARRIED[5]]
    context.flags["dns.records"] = json.dumps([])
    carry_over.choose(context, "zone.txt", None)
    assert context.settings.dns.records[:3] == chosen[:3], "also where nobody on the internet is asked"
    (tmp_path / "zone.txt").write_text("nonsense")
    context.flags["dns.records"] = json.dumps([])
    with pytest.raises(ConfigurationError, match="cannot be read"):
        carry_over.choose(context, "zone.txt", None)
