"""Gateways and loaders in virtual time, with the decisions of the product."""
