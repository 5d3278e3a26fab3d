"""Which AI systems run, who uses them, what they cost, and what the policy says of them."""
