"""What happens to a block of items: read, decoded, encoded, written, and told."""
