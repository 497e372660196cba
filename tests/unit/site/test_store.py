"""The bucket behind a release: what its errors say."""

from __future__ import annotations

from obstore.exceptions import GenericError

from amianai_infra.site.store import explained


def test_the_services_reason_is_shown_however_long_the_address_before_it_is() -> None:
    address = f"PUT http://127.0.0.1:4566/{'folder/' * 200}index.html"
    error = GenericError(f"Generic S3 error: Error performing {address}: InsufficientStorage: No space left on device")
    told = explained(error, "writing index.html", "site")
    assert told.what == "The bucket has no room left (writing index.html)."
    assert str(told.where).startswith("s3://site: Generic S3 error: Error performing PUT http://127.0.0.1:4566/folder/")
    assert str(told.where).endswith("No space left on device")
    assert len(str(told.where)) < 700
