"""Nearest items over the vectors of a store: exact or by a FAISS index, filters, duplicates."""
