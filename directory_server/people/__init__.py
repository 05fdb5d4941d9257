"""Accounts, passwords, log-ins and access keys."""
