"""What calls cost, and who made them."""
