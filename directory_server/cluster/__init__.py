"""File servers and programs: membership, placement, draining and enrolment."""
