"""The chunk store on local disk."""
