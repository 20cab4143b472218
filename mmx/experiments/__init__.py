"""Plans: the grid of datasets, features, recommenders and seeds; and comparisons of runs."""
