"""The gateway side: following a hub, asking ORCA."""
