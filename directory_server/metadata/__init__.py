"""The directory's metadata: the schema, the store's promises, and its engines."""
