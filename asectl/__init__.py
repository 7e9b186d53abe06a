"""The command line: the only package that depends on every other package of the product."""
