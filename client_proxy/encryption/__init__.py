"""Encryption with named keys (SSE-KMS) and customer keys (SSE-C)."""
