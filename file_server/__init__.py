"""A file server: stores sealed chunks and sends every write to its replicas."""
