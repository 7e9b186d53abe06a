"""The services of a gateway: contracts, routes, schema files, reload."""
