"""`asectl deployer`: the process that brings models into service."""
