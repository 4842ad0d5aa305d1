"""`fetch`, with its images in a bucket and everything that can be wrong with one."""

from pathlib import Path
from typing import Any

import pytest

from components.core.errors import ChangedInput, PipelineError, ServiceUnavailable
from pipeline.kubeflow.fetch import folder_hash
from tests.services.overlay import Services
from tests.services.user_project import Published

pytestmark = [pytest.mark.services, pytest.mark.timeout(900)]


def admin(services: Services) -> Any:
    return services.storage.client(services.secret("s3-admin"))


def refused(published: Published, target: Path, services: Services, **changes: str) -> str:
    """What is message; nothing may be left of the images."""
    with pytest.raises(PipelineError) as raised:
        published.fetch(target, services, **changes)
    message = str(raised.value)
    assert "\n" not in message
    assert not (target / "data/images").exists()
    for name in ("aws_secret_access_key", "secret-key"):
        assert name not in message
    for key in (services.secret("s3-dvc") / "secret-key", services.secret("s3-dvc") / "access-key"):
        assert key.read_text() not in message
    assert isinstance(raised.value, (ServiceUnavailable, ChangedInput))
    return f"{raised.value.exit_code} {message}"


def require_whole(published: Published, target: Path, services: Services) -> None:
    published.fetch(target, services)
    assert folder_hash(target / "data/images") == published.data_hash


@pytest.mark.row("N06")
def test_a_wrong_key_is_refused_and_the_right_one_fixes_it(
    published: Published, services: Services, tmp_path: Path
) -> None:
    wrong = {"AWS_SECRET_ACCESS_KEY": "w" * 48}
    message = refused(published, tmp_path / "checkout", services, **wrong)
    assert message.startswith("5 fetch:")
    assert "Forbidden" in message
    require_whole(published, tmp_path / "checkout", services)


@pytest.mark.row("N06")
def test_a_bucket_that_is_gone_is_named_and_its_return_fixes_it(
    published: Published, services: Services, tmp_path: Path
) -> None:
    s3 = admin(services)
    kept = {}
    for page in s3.get_paginator("list_object_versions").paginate(Bucket="dvc"):
        for entry in (*page.get("Versions", []), *page.get("DeleteMarkers", [])):
            if entry["IsLatest"] and "Size" in entry:
                kept[entry["Key"]] = s3.get_object(Bucket="dvc", Key=entry["Key"])["Body"].read()
            s3.delete_object(Bucket="dvc", Key=entry["Key"], VersionId=entry["VersionId"])
    s3.delete_bucket(Bucket="dvc")
    try:
        message = refused(published, tmp_path / "checkout", services)
        assert message.startswith("5 fetch:")
        assert "Forbidden" in message or "Missing cache files" in message
    finally:
        s3.create_bucket(Bucket="dvc")
        s3.put_bucket_versioning(Bucket="dvc", VersioningConfiguration={"Status": "Enabled"})
        for key, content in kept.items():
            s3.put_object(Bucket="dvc", Key=key, Body=content)
    require_whole(published, tmp_path / "checkout", services)


@pytest.mark.row("D39")
def test_other_bytes_under_the_hash_of_an_image_are_refused_and_not_kept(
    published: Published, services: Services, tmp_path: Path
) -> None:
    s3 = admin(services)
    listing = s3.list_objects_v2(Bucket="dvc", Prefix="images/files/md5")["Contents"]
    key = next(entry["Key"] for entry in listing if not entry["Key"].endswith(".dir"))
    content = s3.get_object(Bucket="dvc", Key=key)["Body"].read()
    s3.put_object(Bucket="dvc", Key=key, Body=content[:-1] + b"?")
    try:
        message = refused(published, tmp_path / "checkout", services)
    finally:
        s3.put_object(Bucket="dvc", Key=key, Body=content)
    assert message.startswith("1 ")
    assert published.data_hash in message
    require_whole(published, tmp_path / "checkout", services)


@pytest.mark.row("D39")
def test_an_image_that_is_missing_in_the_bucket_is_named(
    published: Published, services: Services, tmp_path: Path
) -> None:
    s3 = admin(services)
    listing = s3.list_objects_v2(Bucket="dvc", Prefix="images/files/md5")["Contents"]
    key = next(entry["Key"] for entry in listing if not entry["Key"].endswith(".dir"))
    content = s3.get_object(Bucket="dvc", Key=key)["Body"].read()
    s3.delete_object(Bucket="dvc", Key=key)
    try:
        message = refused(published, tmp_path / "checkout", services)
    finally:
        s3.put_object(Bucket="dvc", Key=key, Body=content)
    assert message.startswith("5 fetch:")
    assert "".join(key.rpartition("md5/")[2].split("/")) in message
    require_whole(published, tmp_path / "checkout", services)


def test_a_storage_that_is_down_is_reported_within_a_minute_or_so(
    published: Published, services: Services, tmp_path: Path
) -> None:
    changes = {"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9"}
    message = refused(published, tmp_path / "checkout", services, **changes)
    assert message.startswith("5 fetch:")
    assert "Could not connect to the endpoint URL" in message
