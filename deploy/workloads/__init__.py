"""What is to run, and what runs. Values only."""
