"""Broken variants of the store, each of which the C tests must catch: see list.py."""
