"""Previews of the site, beside it."""

from __future__ import annotations

from amianai_infra.components.delivery import Delivery
from amianai_infra.components.previews import Previews, PreviewsArgs
from amianai_infra.rules.policies import previewer
from tests.components.recorder import ACCOUNT, Record
from tests.components.test_delivery import ARGS as DELIVERY
from tests.components.test_static_site import ARGS as SITE

ARGS: PreviewsArgs = {"domain": "preview.example.com", "zone_id": "Z1", "site": {**SITE, "prefix": "eeyore-preview"}}


def test_they_are_a_site_of_their_own_behind_a_wildcard(record: Record) -> None:
    found = record(lambda: Previews("previews", ARGS))
    certificate = found.one("Certificate").inputs
    assert (certificate["domainName"], certificate["region"]) == ("*.preview.example.com", "us-east-1")
    assert found.one("Distribution").inputs["aliases"] == ["*.preview.example.com"]
    records = {one.inputs["type"]: one.inputs["name"] for one in found.of("Record") if "aliases" in one.inputs}
    assert records == {"A": "*.preview.example.com", "AAAA": "*.preview.example.com"}
    code = found.one("Function", "previews-site-viewer").inputs["code"]
    assert "var PREVIEWS = true;" in code


def test_search_engines_leave_them_out_and_objects_expire(record: Record) -> None:
    found = record(lambda: Previews("previews", ARGS))
    headers = found.one("ResponseHeadersPolicy").inputs["customHeadersConfig"]["items"]
    assert {"header": "x-robots-tag", "value": "noindex", "override": True} in headers
    old, _ = found.one("BucketLifecycleConfiguration", "previews-site-bucket-lifecycle").inputs["rules"]
    assert old["expiration"] == {"days": 31}
    assert all(one.inputs["forceDestroy"] is True for one in found.of("Bucket")), "the setting can be taken back while there are previews"


def test_the_role_of_pull_requests_writes_nothing_of_the_live_site(record: Record) -> None:
    """Its trust is that of pull requests; of the live site's bucket it reads the records, and nothing else of the stack."""
    site, previews = DELIVERY["bucket_arn"], "arn:aws:s3:::eeyore-preview"
    cdn, store, parameter = f"arn:aws:cloudfront::{ACCOUNT}:distribution/E2", f"arn:aws:cloudfront::{ACCOUNT}:key-value-store/S2", "arn:p"
    policy = previewer(previews, cdn, store, str(site), parameter)
    found = record(lambda: Delivery("delivery", {**DELIVERY, "previews_policy": policy}))
    trust = found.one("Role", "delivery-previews-role").json("assumeRolePolicy")["Statement"][0]["Condition"]["StringEquals"]
    assert trust["token.actions.githubusercontent.com:sub"] == "repo:someone/shop:pull_request"
    statements = found.one("RolePolicy", "delivery-previews-policy").json("policy")["Statement"]
    assert {one["Resource"] for one in statements} == {
        previews,
        f"{previews}/*",
        cdn,
        store,
        site,
        f"{site}/.amianai/releases/*",
        parameter,
    }
    of_site = {one["Resource"]: (one["Action"], one.get("Condition")) for one in statements if str(one["Resource"]).startswith(str(site))}
    assert of_site == {
        site: ("s3:ListBucket", {"StringLike": {"s3:prefix": ".amianai/releases/*"}}),
        f"{site}/.amianai/releases/*": ("s3:GetObject", None),
    }
    assert "*" not in str([one["Action"] for one in statements])


def test_without_previews_there_is_no_such_role(record: Record) -> None:
    found = record(lambda: Delivery("delivery", DELIVERY))
    assert [one.inputs["name"] for one in found.of("Role")] == ["eeyore-deploy"]
