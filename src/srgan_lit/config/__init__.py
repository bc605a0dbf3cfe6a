"""Every value that an experiment can set, and what is refused. No torch, no Lightning."""
