"""``mmx data check``: what is wrong with a dataset, its pictures included."""
