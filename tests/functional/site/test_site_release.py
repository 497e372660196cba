"""Releases from end to end against a small S3 with a CDN in front of it."""

from __future__ import annotations

from dataclasses import replace
from unittest.mock import Mock

import pytest

from amianai_infra.errors import BuildError, ForbiddenError, NotFoundError, UnreachableError, VerificationError
from amianai_infra.site.release import Publisher
from amianai_infra.site.texts import describe
from tests.functional.site.s3_server import SECURITY
from tests.functional.site.site_world import Stage, next_site


def test_the_first_release_uploads_everything_with_its_headers(stage: Stage) -> None:
    site = next_site("one")
    stage.write(site)
    release = stage.deploy()
    live = stage.world.live()
    assert {path: found.data.decode() for path, found in live.items()} == site
    assert release.number == 1
    assert release.verified is not None
    assert release.verified.pages >= 6
    assert live["index.html"].headers == {
        "Content-Type": "text/html; charset=utf-8",
        "Cache-Control": "public, max-age=0, s-maxage=86400, must-revalidate",
    }
    chunk = next(path for path in live if path.startswith("_next/static/chunks/app-"))
    assert live[chunk].headers == {"Content-Type": "text/javascript; charset=utf-8", "Cache-Control": "public, max-age=31536000, immutable"}
    assert release.invalidated == ()


def test_an_unchanged_site_costs_one_listing_and_nothing_else(stage: Stage) -> None:
    stage.write(next_site("one"))
    stage.deploy()
    stage.world.forget()
    stage.write(next_site("one"))  # a fresh checkout: every time stamp is new
    release = stage.deploy()
    assert stage.world.requests == [("GET", "")]
    assert not release.changed
    assert "Nothing changed" in "\n".join(describe(release))
    assert "Nothing was uploaded or invalidated" in "\n".join(describe(release))


def test_only_what_changed_is_put_also_when_the_size_is_the_same(stage: Stage) -> None:
    site = next_site("one")
    stage.write(site)
    stage.deploy()
    stage.world.forget()
    site["page-2/index.html"] = site["page-2/index.html"].replace("one 2", "ONE 2")
    stage.write(site)
    release = stage.deploy()
    assert stage.world.puts() == ["page-2/index.html"]
    assert stage.world.count("PUT", ".amianai/lock") == 3, "taken, confirmed before the release is registered, given back"
    assert stage.world.count("PUT", ".amianai/releases/") == 1
    assert stage.world.invalidated == [["/page-2", "/page-2/", "/page-2/index.html"]]
    assert release.kept == len(site) - 1


def test_a_change_of_headers_alone_is_uploaded(stage: Stage) -> None:
    stage.write(next_site("one"))
    stage.deploy()
    stage.world.forget()
    stage.deploy(cache_rules={"logo.svg": "public, max-age=5"})
    assert stage.world.puts() == ["logo.svg"]
    assert stage.world.live()["logo.svg"].headers["Cache-Control"] == "public, max-age=5"


def test_what_somebody_else_wrote_is_put_right(stage: Stage) -> None:
    site = next_site("one")
    stage.write(site)
    stage.deploy()
    stage.world.store("index.html", b"defaced")
    stage.world.store("logo.svg", site["logo.svg"].encode(), {"Content-Type": "binary/octet-stream"}, age=-60)
    stage.world.store("by-hand.html", b"of somebody else")
    stage.world.forget()
    stage.deploy()
    assert stage.world.puts() == ["index.html", "logo.svg"]
    assert stage.world.live()["logo.svg"].headers["Content-Type"] == "image/svg+xml; charset=utf-8"
    assert stage.world.live()["by-hand.html"].data == b"of somebody else"


def test_groups_go_up_in_order(stage: Stage) -> None:
    stage.write(next_site("one", pages=12))
    stage.deploy()
    puts = [key for verb, key in stage.world.requests if verb == "PUT" and not key.startswith(".amianai/")]

    def rank(path: str) -> int:
        if path in ("404.html", "version.json"):
            return 4
        if path.endswith(".html"):
            return 3
        if path.endswith(".txt"):
            return 2
        return 0 if path.startswith("_next/static") else 1

    ranks = [rank(path) for path in puts]
    assert ranks == sorted(ranks)


def test_nothing_is_deleted_and_old_chunks_stay(stage: Stage) -> None:
    one = next_site("one")
    stage.write(one)
    stage.deploy()
    stage.write(next_site("two"))
    release = stage.deploy()
    assert one.keys() <= stage.world.live().keys()
    assert len(release.gone) == 4
    assert stage.world.count("DELETE-KEY") == 0


def test_pruning_waits_spares_what_a_release_names_and_what_is_not_ours(stage: Stage) -> None:
    one, two, three = next_site("one"), next_site("two"), next_site("three")
    stage.world.store("by-hand.txt", b"mine")
    stage.write(one)
    stage.deploy(verify=False)
    stage.write(two)
    stage.deploy(verify=False)
    stage.write(three)
    assert stage.deploy(verify=False, later=29 * 86400).pruned == 0
    stage.write({**three, "new.txt": "x"})
    release = stage.deploy(verify=False, later=31 * 86400)
    gone = one.keys() - two.keys() - three.keys()
    assert release.pruned == len(gone) == 4
    left = stage.world.live().keys()
    assert not gone & left
    assert "by-hand.txt" in left
    assert two.keys() <= left, "release 2 was live two days ago"


def test_what_a_cut_off_release_added_is_pruned_also_when_the_next_one_changes_nothing(stage: Stage) -> None:
    site = next_site("one")
    stage.write(site)
    stage.deploy(verify=False)
    stage.write({**site, "_next/static/chunks/extra.js": "// left over"})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Publisher, "_register", Mock(side_effect=UnreachableError("no answer")))
        with pytest.raises(UnreachableError):
            stage.deploy(verify=False)
    assert "_next/static/chunks/extra.js" in stage.world.live()
    stage.write(site)
    assert stage.deploy(verify=False).uploaded == ()
    assert [one.summary.number for one in stage.releases()] == [2, 1]
    stage.write({**site, "logo.svg": "<svg/>"})
    assert stage.deploy(verify=False, later=31 * 86400).pruned == 1
    assert "_next/static/chunks/extra.js" not in stage.world.live()


def test_rollback_restores_pages_and_can_be_rolled_forward(stage: Stage) -> None:
    one, two = next_site("one"), next_site("two")
    stage.write(one)
    stage.deploy()
    stage.write(two)
    stage.deploy()
    stage.world.forget()
    release = stage.rollback()
    assert (release.number, release.kind, release.origin) == (3, "rollback", 1)
    live = stage.world.live()
    assert {path: live[path].data.decode() for path in one} == one
    assert all(not path.startswith("_next/") for path in stage.world.puts()), "chunks are still there"
    assert live["index.html"].headers["Content-Type"] == "text/html; charset=utf-8"
    assert release.verified is not None
    forward = stage.rollback(2)
    assert forward.number == 4
    assert {path: stage.world.live()[path].data.decode() for path in two} == two
    listed = stage.releases()
    assert [one.summary.number for one in listed] == [4, 3, 2, 1]
    assert [one.summary.kind for one in listed] == ["rollback", "rollback", "deploy", "deploy"]
    assert listed[0].live


def test_rolling_back_again_goes_back_one_more(stage: Stage) -> None:
    for version in ("one", "two", "three"):
        stage.write(next_site(version))
        stage.deploy(verify=False)
    assert stage.rollback().origin == 2
    assert stage.rollback().origin == 1
    with pytest.raises(NotFoundError, match="Nothing was live before"):
        stage.rollback()


def test_a_rollback_to_files_that_have_expired_changes_nothing(stage: Stage) -> None:
    stage.write(next_site("one"))
    stage.deploy(verify=False)
    stage.write(next_site("two"))
    stage.deploy(verify=False)
    del stage.world.bucket.versions["page-3/index.html"][0]
    before = stage.world.live()
    with pytest.raises(NotFoundError, match=r"page-3/index\.html of release 1 has expired"):
        stage.rollback()
    assert stage.world.live() == before
    assert stage.world.records()[".amianai/lock"].data == b""


def test_a_failed_verification_rolls_back_by_itself(stage: Stage) -> None:
    one = next_site("one")
    stage.write(one)
    stage.deploy()
    stage.write(next_site("two"))
    stage.world.sabotage = lambda path, body: b"broken" if b"two 4" in body else body
    with pytest.raises(VerificationError, match=r"page-4/ answers with other content") as caught:
        stage.deploy()
    assert "Release 1 is live again" in str(caught.value)
    live = stage.world.live()
    assert {path: live[path].data.decode() for path in one} == one
    assert [one.summary.kind for one in stage.releases()] == ["repair", "deploy", "deploy"]
    assert stage.world.records()[".amianai/lock"].data == b""


def test_headers_that_are_not_the_stacks_are_told_and_roll_nothing_back(stage: Stage) -> None:
    said = [f"{name.lower()}: {value}" for name, value in SECURITY.items()]
    stage.outputs = replace(stage.outputs, site=replace(stage.outputs.site, headers=said))
    stage.write(next_site("one"))
    assert stage.deploy().verified is not None
    stage.outputs = replace(stage.outputs, site=replace(stage.outputs.site, headers=[*said, "x-frame-options: DENY"]))
    stage.write(next_site("two"))
    with pytest.raises(VerificationError, match="Release 2 is live, and visitors get other headers") as failed:
        stage.deploy()
    assert "has x-frame-options '', not 'DENY'" in str(failed.value)
    assert [one.summary.kind for one in stage.releases()] == ["deploy", "deploy"], "no other release would mend it"


def test_the_records_cannot_be_read_through_the_cdn(stage: Stage) -> None:
    import http.client

    stage.write(next_site("one"))
    stage.deploy()
    connection = http.client.HTTPConnection("127.0.0.1", stage.cdn)
    connection.request("GET", "/.amianai/lock")
    assert connection.getresponse().status == 404
    connection.close()


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "is empty"),
        ({"about.html": "x"}, "no index.html"),
        ({"index.html": "x", ".env.production": "A=1"}, r"\.env\.production is a file of settings"),
        ({"index.html": "x", "app.js": "-----BEGIN RSA PRIVATE KEY-----\n" + "MIIEow" * 12}, "app.js holds a private key"),
        ({"index.html": "x", "app.js": "k='AKIAABCDEFGHIJKLMNOP'"}, "app.js holds an AWS access key id"),
        ({"index.html": "x", "a/b.json": '{"u":"postgresql://app:Xk29-fLq0z@db.amianai.net:5432/x"}'}, "a/b.json holds a database address"),
    ],
)
def test_a_suspicious_output_is_refused_before_anything_is_written(stage: Stage, files: dict[str, str], message: str) -> None:
    stage.out.mkdir(parents=True)
    stage.write(files, clear=False)
    with pytest.raises(BuildError, match=message) as caught:
        stage.deploy()
    assert "Xk29" not in str(caught.value)
    assert stage.world.count("PUT") == 0


def test_a_dry_run_shows_the_plan_and_does_nothing(stage: Stage) -> None:
    stage.write(next_site("one"))
    release = stage.deploy(dry_run=True)
    assert release.dry
    assert "index.html" in "\n".join(describe(release))
    assert stage.world.count("PUT") == 0


def test_every_request_expects_the_stacks_account_as_the_buckets_owner(stage: Stage) -> None:
    stage.write({**next_site("one"), "film.mp4": b"x" * (20 << 20)})
    stage.deploy()
    stage.write(next_site("two"))
    stage.deploy(later=86400 * 60)
    stage.rollback()
    assert {method for method, _ in stage.world.requests} >= {"GET", "PUT", "POST"}
    assert set(stage.world.unasked) == {("GET", "")}, "the library does not sign it in a listing, which S3 would refuse"


def test_a_bucket_that_somebody_else_took_gets_nothing(stage: Stage) -> None:
    """The cached outputs may name a bucket that was deleted meanwhile, and made again by anybody."""
    stage.write(next_site("one"))
    stage.world.owner = "999999999999"
    with pytest.raises(ForbiddenError, match="belongs to another account"):
        stage.deploy()
    assert stage.world.bucket.versions == {}
    assert stage.world.bucket.parts == {}


def cut(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("step", ["_invalidate", "_verified"])
def test_a_rollback_that_was_interrupted_is_finished_by_the_same_command_and_goes_back_once(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    for version in ("one", "two", "three"):
        stage.write(next_site(version))
        stage.deploy(verify=False)
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Publisher, step, cut)
        stage.rollback()
    assert stage.publisher().rollback(None, dry_run=True).origin == 2
    finished = stage.rollback()
    assert (finished.number, finished.origin, finished.changed) == (4, 2, False)
    assert finished.verified is not None
    assert finished.verified.pages >= 6, "all of it, since what the interrupted run had changed is not known"
    assert stage.rollback().origin == 1, "the next one goes back one more"


def test_a_release_whose_verification_was_interrupted_is_verified_by_the_same_command(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.write(next_site("one"))
    stage.deploy()
    stage.write(next_site("two"))
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Publisher, "_verified", cut)
        stage.deploy()
    stage.world.sabotage = lambda path, body: body.replace(b"two 3", b"broken")
    with pytest.raises(VerificationError) as wrong:
        stage.deploy()
    assert "`amianai rollback` takes it back" in wrong.value.fix
    stage.world.sabotage = lambda path, body: body
    assert stage.rollback().origin == 1
