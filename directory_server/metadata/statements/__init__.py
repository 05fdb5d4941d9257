"""Database statements by subject. What they mean is decided by their callers."""
