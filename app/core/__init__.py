"""The pure core: no clock, I/O, randomness, environment, Flask, redis or gevent.

Time and randomness come in as arguments; results go out as values.
"""
