"""Every CSV file is read here: cells as they are written, numbers only where all are numbers."""
