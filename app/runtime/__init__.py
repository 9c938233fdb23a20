"""Greenlets: the only room that imports gevent."""
