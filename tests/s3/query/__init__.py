"""STS and IAM at the S3 door."""
