"""Who sends a request, by its signature, and what must be authorized for it."""
