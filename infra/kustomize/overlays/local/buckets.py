"""Make the buckets named on the command line; keep old versions of their objects."""

import os
import sys
from pathlib import Path


def main(names: list[str]) -> None:
    """Create each bucket with versioning on."""
    import boto3

    folder = Path(os.environ["SECRETS"]) / "s3-admin"
    s3 = boto3.client(
        "s3",
        endpoint_url=os.environ["S3_ENDPOINT_URL"],
        region_name="us-east-1",
        aws_access_key_id=(folder / "access-key").read_text().strip(),
        aws_secret_access_key=(folder / "secret-key").read_text().strip(),
    )
    there = {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]}
    for name in names:
        if name not in there:
            s3.create_bucket(Bucket=name)
        s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
        print(f"s3://{name}")


if __name__ == "__main__":
    main(sys.argv[1:])
