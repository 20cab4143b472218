"""What the papers share: graphs, propagation, item graphs, content, losses, initial values."""
