from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amianai_infra import dns_records

DOMAIN = "example.com"


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("@ 300 MX 10 mail.example.net.", "example.com. 300 MX 10 mail.example.net."),
        ("Mail 300 IN a 192.0.2.1", "mail.example.com. 300 A 192.0.2.1"),
        ("shop.example.com 60 CNAME x.test.", "shop.example.com. 60 CNAME x.test."),
        ("*.example.com. 60 A 192.0.2.1", "*.example.com. 60 A 192.0.2.1"),
        ("@ 60 MX 0 .", "example.com. 60 MX 0 ."),
        ("api 60 AAAA 2001:db8::1", "api.example.com. 60 AAAA 2001:db8::1"),
        ('@ 60 CAA 0 iodef "mailto:a@x.test"', 'example.com. 60 CAA 0 iodef "mailto:a@x.test"'),
        ("_sip._tcp 60 SRV 10 60 5060 sip.test.", "_sip._tcp.example.com. 60 SRV 10 60 5060 sip.test."),
        ("1 60 CNAME 1.0/25.2.0.192.in-addr.arpa.", "1.example.com. 60 CNAME 1.0/25.2.0.192.in-addr.arpa."),
        ("_dmarc 60 TXT v=DMARC1; p=none; rua=mailto:a@x.test,mailto:b@x.test", None),
    ],
)
def test_a_line(line: str, shown: str | None) -> None:
    record = dns_records.parse(line, DOMAIN)
    assert str(record) == (shown or f"_dmarc.example.com. 60 TXT {line.split(maxsplit=3)[3]}")
    assert dns_records.parse(str(record), DOMAIN) == record


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("@ MX 10 mail.example.net.", "NAME TTL TYPE VALUE"),
        ("@ 300 SOA x", "SOA"),
        ("mail.example.org. 300 A 192.0.2.1", "is not in example.com"),
        ("ma!l 300 A 192.0.2.1", "no name of a record"),
        ("@ 99999999999 A 192.0.2.1", "NAME TTL TYPE VALUE"),
        ('@ 300 TXT "open', "quotation marks"),
        ("api 300 A 999.1.1.1", "'999.1.1.1' is no value of a record of type A"),
        ("api 300 A 192.0.2.1,192.0.2.2", "no value of a record of type A"),
        ("api 300 AAAA 192.0.2.1", "no value of a record of type AAAA"),
        ("api 300 AAAA fe80::1%eth0", "no value of a record of type AAAA"),
        ("@ 300 MX mail.example.net.", "no value of a record of type MX"),
        ("@ 300 MX 10 mail example.net.", "no value of a record of type MX"),
        ("api 300 CNAME https://x.test", "no value of a record of type CNAME"),
        ("sub 300 NS ns1.test. ns2.test.", "no value of a record of type NS"),
        ("@ 300 CAA amazon.com", "no value of a record of type CAA"),
        ('@ 300 CAA 256 issue "amazon.com"', "no value of a record of type CAA"),
        ("_sip._tcp 300 SRV 10 5060 sip.test.", "no value of a record of type SRV"),
    ],
)
def test_a_line_that_is_wrong_says_why(line: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        dns_records.parse(line, DOMAIN)


@pytest.mark.parametrize(
    "line",
    [
        "@ 300 A 192.0.2.1",
        "www 300 CNAME x.test.",
        "@ 300 NS ns.test.",
        "_abc 300 CNAME _def.xyz.acm-validations.aws.",
    ],
)
def test_what_the_stack_makes_itself_is_not_carried(line: str) -> None:
    with pytest.raises(ValueError, match="the stack makes that record itself"):
        dns_records.record_sets([line], DOMAIN)


def test_values_of_one_name_and_type_are_one_set() -> None:
    lines = ["@ 300 MX 10 a.test.", "@ 60 MX 20 b.test.", "@ 300 TXT one", "sub 300 NS ns.test."]
    sets = {(one.name, one.kind): one for one in dns_records.record_sets(lines, DOMAIN)}
    assert (sets["example.com", "MX"].values, sets["example.com", "MX"].ttl) == (["10 a.test.", "20 b.test."], 60)
    assert len(sets) == 3
    with pytest.raises(ValueError, match="stands alone"):
        dns_records.record_sets(["a 300 CNAME x.test.", "a 300 TXT y"], DOMAIN)


@pytest.mark.parametrize(
    ("value", "given_to_the_provider"),
    [
        ("v=spf1 -all", "v=spf1 -all"),
        ('"v=spf1 -all"', "v=spf1 -all"),
        ('"one" "two"', 'one""two'),
        ('say "hi"', 'say \\"hi\\"'),
        ('"say \\"hi\\""', 'say \\"hi\\"'),
        ('""', ""),
    ],
)
def test_texts_are_quoted_as_the_provider_wants(value: str, given_to_the_provider: str) -> None:
    assert dns_records.txt_value(value) == given_to_the_provider


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=900).filter(lambda text: not text.startswith('"')))
def test_a_long_text_is_cut_into_strings_and_nothing_of_it_is_lost(text: str) -> None:
    quoted = f'"{dns_records.txt_value(text)}"'
    strings = dns_records._STRING.findall(quoted)
    plain = [string.replace('\\"', '"').replace("\\\\", "\\") if "\\" in string else string for string in strings]
    assert all(len(dns_records._TOKEN.findall(string)) <= 255 for string in strings)
    assert len("".join(plain)) == len(text)


ZONE = """
$ORIGIN example.com.
$TTL 1h60m
@       IN SOA ns.old.test. me.old.test. ( 1 2 3 ; serial
                                           4 5 )
        IN NS  ns.old.test.
        300 IN A 192.0.2.1
        IN MX  10 mail.old.test.   ; mail
        IN TXT ( "v=spf1 include:x.test; " "-all" )
www     CNAME old.test.
shop 1m IN CNAME shops
Desk IN 60 CNAME desk.test.
sub     NS ns.sub.test.
$ORIGIN mail.example.com.
smtp    A 192.0.2.3
"""


def test_a_zone_file_gives_what_a_new_zone_carries_on() -> None:
    assert [str(one) for one in dns_records.zone_file(ZONE, DOMAIN)] == [
        "example.com. 7200 MX 10 mail.old.test.",
        'example.com. 7200 TXT "v=spf1 include:x.test; " "-all"',
        "shop.example.com. 60 CNAME shops.example.com.",
        "desk.example.com. 60 CNAME desk.test.",
        "sub.example.com. 7200 NS ns.sub.test.",
        "smtp.mail.example.com. 7200 A 192.0.2.3",
    ]


@pytest.mark.parametrize("text", ["$INCLUDE other.zone", "@ IN TXT ( open", "@ 300 WKS x"])
def test_a_zone_file_that_is_not_understood_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"not understood|not closed|takes no WKS"):
        dns_records.zone_file(text, DOMAIN)
