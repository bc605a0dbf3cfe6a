"""Many trainings by one command, and their table."""
