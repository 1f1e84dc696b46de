"""The version of the package, for the package itself, for its build and for the files that it writes."""

__version__ = "0.1.0"
