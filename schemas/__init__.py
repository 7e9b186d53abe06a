"""Service contracts: protos, errors, the service model and its compilation.

Imports no other package of the project.
"""
