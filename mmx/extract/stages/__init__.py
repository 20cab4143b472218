"""What happens to a block of items: it is read, decoded, encoded and written."""
