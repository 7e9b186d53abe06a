"""How models are brought into service: chains of steps."""
