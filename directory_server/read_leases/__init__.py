"""Read leases: proxies answer hot reads from memory, and learn of every change before it takes effect."""
