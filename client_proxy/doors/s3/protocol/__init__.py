"""The S3 protocol: requests, parameters, answers, error codes and XML."""
