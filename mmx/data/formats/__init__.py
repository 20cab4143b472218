"""Datasets in the files of others, read into a dataset directory and written from one.

Each format is a file of its own: it says what a line means and which columns it has; ``lines``
reads them, ``workspace`` keeps them, ``filters`` leaves some out, ``writing`` writes the rest.
"""
