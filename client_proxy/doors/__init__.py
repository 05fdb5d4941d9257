"""The protocols that a proxy speaks: its HTTPS API and S3."""
