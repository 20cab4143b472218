"""``mmx report``: finished runs and stores as one page that needs nothing else."""
