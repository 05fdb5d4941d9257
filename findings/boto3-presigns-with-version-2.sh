#!/usr/bin/env bash
# boto3 presigns S3 addresses with signature version 2 unless it is told otherwise.
#
# Requests are signed with version 4, addresses are not: without `signature_version`, `generate_presigned_url` of a client
# for us-east-1, with an endpoint of one's own or without, makes an address with AWSAccessKeyId, Signature and Expires.
# That version was retired years ago, covers no header but Content-Type and Content-MD5, and servers that know only
# version 4 refuse it. `aws s3 presign` does the same. For our users: Config(signature_version="s3v4"), or
# `signature_version = s3v4` below `s3 =` in the profile.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" -q install boto3==1.44.8 botocore==1.44.8
cd "$work"
env -i HOME="$work" PATH="$PATH" "$work/venv/bin/python" - <<'PY'
from urllib.parse import parse_qs, urlsplit

import boto3
from botocore.config import Config

seen = {}
for name, config in (("default", Config()), ("s3v4", Config(signature_version="s3v4"))):
    for endpoint in (None, "https://s3.example.org:5000"):
        client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", config=config,
                              aws_access_key_id="key", aws_secret_access_key="secret")
        address = client.generate_presigned_url("get_object", Params={"Bucket": "album", "Key": "k"})
        names = parse_qs(urlsplit(address).query)
        seen[name, endpoint is not None] = 4 if "X-Amz-Signature" in names else 2 if "Signature" in names else 0
print("version of the signature, by (configuration, own endpoint):", seen)
expected = {("default", False): 2, ("default", True): 2, ("s3v4", False): 4, ("s3v4", True): 4}
assert seen == expected, f"changed: {seen}"
PY
echo "seen: boto3 1.44.8 presigns with signature version 2 by default"
