"""Emptying a versioned bucket: every version and every delete marker, a thousand a call."""

from __future__ import annotations

from typing import Any

from amianai_infra.errors import AmianaiError
from amianai_infra.progress import Progress

_BATCH = 1000


def empty(s3: Any, bucket: str, progress: Progress) -> int:
    """Delete all that a bucket holds; gives how many versions and markers that were.

    Raises:
        AmianaiError: some could not be deleted; it names the first of them.
    """
    deleted = 0
    with progress.task(f"Emptying {bucket}") as task:
        # Always the first page: a marker may point at what was just deleted, which not every S3 takes well.
        while found := _some(s3, bucket):
            _delete(s3, bucket, found)
            deleted += len(found)
            task.say(f"{deleted} versions")
        _abort_uploads(s3, bucket)
    return deleted


def _some(s3: Any, bucket: str) -> list[dict[str, Any]]:
    page = s3.list_object_versions(Bucket=bucket, MaxKeys=_BATCH)
    return [*page.get("Versions", []), *page.get("DeleteMarkers", [])]


def _delete(s3: Any, bucket: str, found: list[dict[str, Any]]) -> None:
    for start in range(0, len(found), _BATCH):
        batch = [{"Key": one["Key"], "VersionId": one["VersionId"]} for one in found[start : start + _BATCH]]
        errors = s3.delete_objects(Bucket=bucket, Delete={"Objects": batch, "Quiet": True}).get("Errors", [])
        if errors:
            raise AmianaiError(
                f"{len(errors)} objects could not be deleted from {bucket}.",
                where=f"{errors[0].get('Key')}: {errors[0].get('Code')} {errors[0].get('Message')}",
                fix="correct that and run the command again; what is deleted stays deleted",
            )


def _abort_uploads(s3: Any, bucket: str) -> None:
    """Unfinished uploads keep a bucket from being deleted on some S3 implementations, and cost money on all."""
    for page in s3.get_paginator("list_multipart_uploads").paginate(Bucket=bucket):
        for one in page.get("Uploads", []):
            s3.abort_multipart_upload(Bucket=bucket, Key=one["Key"], UploadId=one["UploadId"])
