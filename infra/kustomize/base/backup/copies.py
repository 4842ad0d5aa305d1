"""Copy dumps to S3 and back, with digests.

    python copies.py push FOLDER     store FOLDER/*.dump, and read them back
    python copies.py pull FOLDER     fetch the newest complete copy; refuse an old or changed one

A copy is complete when its manifest is there, which is written last.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from botocore.client import BaseClient

PREFIX = "postgres/"
MANIFEST = "manifest.json"
STAMP = "%Y%m%dT%H%M%SZ"


def connect() -> BaseClient:
    """S3 with the keys in $SECRETS/s3-backup."""
    import boto3

    folder = Path(os.environ["SECRETS"]) / "s3-backup"
    return boto3.client(
        "s3",
        endpoint_url=os.environ.get("S3_ENDPOINT_URL"),
        region_name=os.environ.get("AWS_DEFAULT_REGION", "us-east-1"),
        aws_access_key_id=(folder / "access-key").read_text().strip(),
        aws_secret_access_key=(folder / "secret-key").read_text().strip(),
    )


def push(s3: BaseClient, bucket: str, folder: Path, now: datetime) -> str:
    """Store the dumps under a new name; returns it."""
    name = f"{PREFIX}{now.strftime(STAMP)}/"
    dumps = sorted(folder.glob("*.dump"))
    if not dumps:
        raise SystemExit(f"error: {folder} holds no dump")
    digests = {dump.name: _digest(dump) for dump in dumps}
    for dump in dumps:
        s3.upload_file(str(dump), bucket, name + dump.name)
        _fetch(s3, bucket, name + dump.name, folder / "read-back", digests[dump.name])
    s3.put_object(Bucket=bucket, Key=name + MANIFEST, Body=json.dumps(digests).encode())
    return name


def pull(s3: BaseClient, bucket: str, folder: Path, now: datetime, oldest: timedelta) -> str:
    """Fetch the newest complete copy; returns its name."""
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=PREFIX)
    keys = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
    complete = sorted(key for key in keys if key.endswith(MANIFEST))
    if not complete:
        raise SystemExit(f"error: bucket {bucket} holds no complete copy")
    name: str = complete[-1].removesuffix(MANIFEST)
    made = datetime.strptime(name.removeprefix(PREFIX), f"{STAMP}/").replace(tzinfo=UTC)
    if now - made > oldest:
        raise SystemExit(f"error: the newest copy is of {made:%Y-%m-%d %H:%M} UTC: look at backup")
    digests = json.loads(s3.get_object(Bucket=bucket, Key=name + MANIFEST)["Body"].read())
    for file, digest in digests.items():
        _fetch(s3, bucket, name + file, folder / file, digest)
    return name


def _fetch(s3: BaseClient, bucket: str, key: str, target: Path, digest: str) -> None:
    s3.download_file(bucket, key, str(target))
    if _digest(target) != digest:
        raise SystemExit(f"error: {key} came back with other bytes")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def main(verb: str, folder: Path) -> None:
    """Push or pull, and say what."""
    bucket, now = os.environ["BACKUP_BUCKET"], datetime.now(UTC)
    if verb == "push":
        name = push(connect(), bucket, folder, now)
    else:
        hours = float(os.environ["BACKUP_MAX_AGE_HOURS"])
        name = pull(connect(), bucket, folder, now, timedelta(hours=hours))
    print(f"{verb}: s3://{bucket}/{name}")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
