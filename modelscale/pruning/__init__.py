"""Making networks smaller."""
