"""Every kind of tool; `open` chooses among them."""
