"""The directory's calls, wired to the rules that answer them."""
