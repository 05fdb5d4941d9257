"""Access logs and notification settings."""
