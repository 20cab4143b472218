"""Finished runs and stores over HTTP: an API, a page, and tools for agents.

options    what is served, where, and to whom
snapshot   everything that a request reads, loaded once; a newer one replaces it whole
doors      who is let in, and what every answer carries
work       computing in bounded pools, what waits together at once
app        the addresses of the API
"""
