"""Kong in front of the gateways: its file, what is wrong with one, and its Admin API."""
