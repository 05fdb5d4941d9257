"""OpenID Connect providers: their configuration, their signing keys, and the verification of their id tokens."""
