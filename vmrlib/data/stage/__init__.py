"""Stage: the embedded dataset. Short rendered videos with queries, made from a seed."""
