"""Authorisation: bucket policies, access control lists, and decisions."""
