"""The five components of the stack and what joins them."""
