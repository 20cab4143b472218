"""What can be wrong with a dataset before anything is trained on it, counted."""
