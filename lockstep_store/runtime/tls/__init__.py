"""Certificates: the cluster authority, program identities, TLS contexts and renewal."""
