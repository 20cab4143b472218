"""Stage 2: models, graphs, losses, training, metrics, top-K."""
