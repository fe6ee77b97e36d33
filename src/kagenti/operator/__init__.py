"""Shell: the operator process."""
