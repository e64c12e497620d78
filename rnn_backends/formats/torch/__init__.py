"""torch's state dicts and files."""
