"""The proof: what a step costs, and what that is worth beside others. See README.md."""
