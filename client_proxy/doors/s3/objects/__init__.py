"""Object operations: get, put, copy, delete, list, tag and retain."""
