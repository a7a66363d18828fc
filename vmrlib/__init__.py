"""Video moment retrieval, from pixels to metrics: the package behind the course in `notebooks/`.

Axes, the same everywhere: B batch, T clips, L words, N and M moments, D features, H heads, P patches,
F frames. A mask is True where there is data. Times are seconds unless a name says otherwise.
"""

__version__ = "0.1.0"

__all__ = ["find", "setup"]


def setup(seed: int = 0) -> None:
    """Seeds every generator, keeps torch to one thread and sets the course's figure style."""
    import random

    import numpy as np
    import torch

    from vmrlib.viz import use_course_style

    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    torch.set_num_threads(1)  # models this small gain nothing from more, and threads spin on a busy machine
    use_course_style()


def __getattr__(name: str):
    # `import vmrlib` stays quick: torch and transformers are loaded by whoever needs them.
    if name == "find":
        from vmrlib.finding import find

        return find
    raise AttributeError(f"module 'vmrlib' has no attribute {name!r}")
