"""Read leases: proxies answer hot reads from memory, and hear of every change before it takes effect."""
