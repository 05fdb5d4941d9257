"""The S3 protocol: requests, parameters, replies, error codes and XML."""
