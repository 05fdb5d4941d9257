"""What every program runs on: HTTPS, calls to peers, TLS, storage, background jobs and logs."""
