"""Tables of names: our parameter -> the authors' names whose rows, joined in that order, it consists of."""

Names = dict[str, tuple[str, ...]]


def linear(ours: str, *official: str) -> Names:
    """Weight and bias of a layer of ours, and of the layers of theirs that it joins."""
    return {f"{ours}.{kind}": tuple(f"{part}.{kind}" for part in official) for kind in ("weight", "bias")}
