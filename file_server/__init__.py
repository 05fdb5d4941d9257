"""A file server: keeps sealed chunks on disk and pushes every edit to its replicas."""
