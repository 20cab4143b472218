"""Every CSV file comes in here: cells as they are written, numbers only where all are numbers."""
