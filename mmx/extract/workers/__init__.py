"""Blocks encoded elsewhere: in several processes of this machine, or on a Ray cluster.

The coordinator plans, measures and writes; workers open the same encoder, take blocks and send
tables back. So whichever dies, only the process that holds the lock has touched the store.
"""
