"""A dataset on disk: items, interactions, images; ids, filters and splits."""
