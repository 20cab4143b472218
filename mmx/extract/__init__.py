"""Stage 1: encoders, image decoding, and the pipeline that fills a store."""
