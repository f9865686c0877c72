"""How numbers of a table become vectors; one file a kind."""
