"""A typed client for the HTTPS API of a proxy."""
