"""Where the directory keeps what it knows: the schema, the store's promises, and its engines."""
