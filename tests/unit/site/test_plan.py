"""The plan: what is uploaded, what stays, in which order, and what may be deleted."""

from __future__ import annotations

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from amianai_infra.rules.cache import IMMUTABLE, cache_control
from amianai_infra.site.manifest import Entry, Manifest, Retired, Summary, following, manifest_key
from amianai_infra.site.plan import DAY, Bucket, Group, Stored, Upload, group_of, plan_release, plan_rollback, prunable, sort_listing, stuck
from amianai_infra.site.tree import File

NAMES = st.sampled_from(
    ["index.html", "404.html", "version.json", "a/index.html", "a/index.txt", "b.png", "_next/static/c.js", "x.1a2b3c4d.css", "z/ü.txt"]
)
TREES = st.dictionaries(NAMES, st.sampled_from(["one", "two", "three"]), max_size=9)


def etag(content: str) -> str:
    return hashlib.md5(content.encode()).hexdigest()


def files(tree: dict[str, str]) -> list[File]:
    return [File(path, len(content), etag(content), "text/plain") for path, content in sorted(tree.items())]


def summary(number: int, kind: str = "deploy", origin: int = 0, started: float = 0.0) -> Summary:
    return Summary(number, kind, origin or number, f"b{number}", started, 1.0, "me@here", "c", 1, 1, 1)


def perform(tree: dict[str, str], store: dict[str, Stored], last: Manifest | None, now: float) -> Manifest:
    """Carry a plan out on a dictionary, as the executor does on a bucket."""
    recorded = store[manifest_key(last.number)].modified if last else 0.0
    plan = plan_release(files(tree), sort_listing(store.items()), last, recorded, cache_control)
    done = {}
    for upload in plan.uploads:
        before = store.get(upload.path)
        assert (before.etag if before else None) == upload.replaces
        store[upload.path] = Stored(upload.etag, now, upload.size)
        done[upload.path] = Entry(upload.etag, upload.size, upload.content_type, upload.cache_control, f"v{now}")
    made = following(last, summary((last.number if last else 0) + 1, started=now), {**plan.kept, **done}, present=store)
    store[manifest_key(made.number)] = Stored("m", now, 1)
    return made


@given(st.lists(TREES, min_size=1, max_size=5))
def test_any_row_of_releases_serves_the_last_tree_and_a_repetition_does_nothing(trees: list[dict[str, str]]) -> None:
    store: dict[str, Stored] = {}
    last: Manifest | None = None
    for number, tree in enumerate(trees):
        last = perform(tree, store, last, 1000.0 * (number + 1))
        assert {path: store[path].etag for path in tree} == {path: etag(content) for path, content in tree.items()}
        assert last.files.keys() == tree.keys()
    again = plan_release(files(trees[-1]), sort_listing(store.items()), last, 1000.0 * len(trees), cache_control)
    assert not again.changed
    assert again.kept.keys() == trees[-1].keys()


@given(TREES, TREES, st.integers(0, 60))
def test_only_retired_files_are_ever_deleted_and_those_with_a_hash_only_in_time(
    one: dict[str, str], two: dict[str, str], days: int
) -> None:
    store: dict[str, Stored] = {"by-hand.txt": Stored("x", 0.0, 1)}
    first = perform(one, store, None, 1000.0)
    second = perform(two, store, first, 2000.0)
    found = prunable(second, sort_listing(store.items()), 2000.0 + days * DAY, 30)
    assert set(found) == {path for path in one.keys() - two.keys() if days >= 30 or "immutable" not in cache_control(path)}


@given(TREES, TREES)
def test_a_rollback_gives_back_the_earlier_tree_and_touches_nothing_else(one: dict[str, str], two: dict[str, str]) -> None:
    store: dict[str, Stored] = {}
    first = perform(one, store, None, 1000.0)
    second = perform(two, store, first, 2000.0)
    plan = plan_rollback(first, sort_listing(store.items()), second, 2000.0)
    assert {upload.path for upload in plan.uploads} == {path for path in one if two.get(path, one[path]) != one[path]}
    assert plan.kept.keys() | {upload.path for upload in plan.uploads} == one.keys()


def test_uploads_are_ordered_by_group() -> None:
    tree = {"404.html": "a", "index.html": "b", "index.txt": "c", "logo.png": "d", "_next/static/x.js": "e", "version.json": "f"}
    plan = plan_release(files(tree), Bucket({}, {}), None, 0.0, cache_control)
    assert [upload.path for upload in plan.uploads] == [
        "_next/static/x.js",
        "logo.png",
        "index.txt",
        "index.html",
        "404.html",
        "version.json",
    ]


def test_pages_that_were_not_there_go_up_before_any_page_that_is_replaced() -> None:
    last, store = known("index.html", "old")
    tree = {"index.html": "new", "z.html": "added", "404.html": "a", "logo.png": "d"}
    plan = plan_release(files(tree), sort_listing(store.items()), last, 100.0, cache_control)
    assert [(upload.path, upload.group) for upload in plan.uploads] == [
        ("logo.png", Group.ASSETS),
        ("z.html", Group.ADDED),
        ("index.html", Group.PAGES),
        ("404.html", Group.LAST),
    ]


def test_groups() -> None:
    assert group_of("version.json", "") is Group.LAST
    assert group_of("a/404.html", "") is Group.PAGES
    assert group_of("x.html", "public, immutable") is Group.PAGES
    assert group_of("x.js", "public, max-age=31536000, immutable") is Group.HASHED
    assert group_of("sw.js", "public, max-age=0") is Group.PAYLOADS
    assert group_of("photo.jpg", "public, max-age=300") is Group.ASSETS


def known(path: str, content: str, **changes: object) -> tuple[Manifest, dict[str, Stored]]:
    entry = Entry(etag(content), len(content), "text/plain", cache_control(path), "v1")
    manifest = Manifest(summary(1), {path: entry})
    return manifest, {path: Stored(etag(content), 100.0, len(content)), manifest_key(1): Stored("m", 100.0, 1)}


def test_same_content_written_later_by_somebody_else_is_put_again() -> None:
    last, store = known("a.txt", "x")
    store["a.txt"] = Stored(etag("x"), 200.0, 1)
    plan = plan_release(files({"a.txt": "x"}), sort_listing(store.items()), last, 100.0, cache_control)
    assert [upload.path for upload in plan.uploads] == ["a.txt"]


def test_a_bucket_whose_etags_are_no_hashes_is_compared_by_our_own() -> None:
    entry = Entry("opaque-kms-etag", 1, "text/plain", cache_control("a.txt"), "v1", digest=etag("x"))
    last = Manifest(summary(1), {"a.txt": entry})
    bucket = Bucket({"a.txt": Stored("opaque-kms-etag", 50.0, 1)}, {manifest_key(1): Stored("m", 100.0, 1)})
    assert not plan_release(files({"a.txt": "x"}), bucket, last, 100.0, cache_control).changed
    assert plan_release(files({"a.txt": "y"}), bucket, last, 100.0, cache_control).changed


def test_a_file_of_an_interrupted_release_is_retired_without_an_entry() -> None:
    made = following(None, summary(1), {}, leftovers=["left.js", "gone.js"], present={"left.js"})
    assert made.retired == {"left.js": Retired(0.0)}


def test_the_newest_release_counts() -> None:
    keys = [manifest_key(number) for number in (2, 11, 9)] + [".amianai/releases/readme", ".amianai/lock"]
    assert sort_listing((key, Stored("", 0, 0)) for key in keys).newest == 11
    assert Bucket({}, {}).newest is None


def test_another_header_is_a_change_that_a_rollback_takes_back() -> None:
    plain = File("a.csv", 1, etag("a"), "text/csv")
    attached = plain._replace(headers=(("content-disposition", "attachment"),))
    entry = Entry(etag("a"), 1, "text/csv", cache_control("a.csv"), "v1")
    bucket = Bucket({"a.csv": Stored(etag("a"), 0.0, 1)}, {})
    first = Manifest(summary(1), {"a.csv": entry})
    assert not plan_release([plain], bucket, first, 1.0, cache_control).changed
    (upload,) = plan_release([attached], bucket, first, 1.0, cache_control).uploads
    assert upload.headers == attached.headers
    second = Manifest(summary(2), {"a.csv": entry._replace(headers=attached.headers)})
    assert not plan_release([attached], bucket, second, 1.0, cache_control).changed
    (back,) = plan_rollback(first, bucket, second, 1.0).uploads
    assert back.headers == ()
    (again,) = plan_rollback(second, bucket, first, 1.0).uploads
    assert again.headers == attached.headers


def test_what_is_kept_for_ever_is_stuck_when_its_content_changes() -> None:
    name = "main.3f2a9b1c.js"
    entry = Entry(etag("one"), 3, "text/javascript", IMMUTABLE, "v1")
    live = Manifest(summary(1), {name: entry, "a.js": entry._replace(cache_control="max-age=300")})
    gone = Manifest(summary(2), {}, retired={name: Retired(0.0, entry), "b.3f2a9b1c.js": Retired(0.0)})
    upload = Upload(name, 3, etag("two"), "text/javascript", IMMUTABLE, Group.HASHED, None)
    assert stuck([upload], live) == stuck([upload], gone) == [name]
    assert stuck([upload], None) == []
    assert stuck([upload._replace(etag=etag("one"))], live) == [], "the same content again"
    assert stuck([upload._replace(cache_control="max-age=300")], live) == [], "somebody said how long it may be kept from now on"
    assert stuck([upload._replace(path="a.js"), upload._replace(path="b.3f2a9b1c.js")], live) == []
