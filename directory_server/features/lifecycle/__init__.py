"""A bucket's lifecycle: its rules, the dates that follow, and the job that applies them."""
