"""Database statements by subject. Their callers decide what they mean."""
