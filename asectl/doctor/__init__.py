"""`asectl doctor`: what is wrong with this machine, its config and the gateway that runs on it."""
