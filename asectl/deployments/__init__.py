"""`asectl deploy ...`: the commands that ask a deployer."""
