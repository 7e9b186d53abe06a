"""`asectl kong`: the Kong in front of the gateways."""
