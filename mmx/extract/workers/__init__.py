"""Blocks encoded elsewhere: in several processes of this machine, or on a Ray cluster.

The coordinator plans, measures and writes; workers open the same encoder, take blocks and hand
tables back. So whoever dies, only the holder of the lock has ever touched the store.
"""
