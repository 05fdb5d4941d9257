"""Identities below accounts, as AWS's IAM and STS have them: users, roles, groups, policies, keys and sessions."""
