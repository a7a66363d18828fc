"""A notebook source in miniature, with every kind of cell; the tests of the machinery build it."""

SOURCE = '''\
# %% [markdown]
# # 1 · Miniature
#
# **You will** build temporal IoU.

# %%
import matplotlib.pyplot as plt
import torch

from vmrlib.check import check
from vmrlib.viz import Explorer, draw_curve

# %% [markdown]
# ### Exercise 1.1 · Temporal IoU
#
# <details><summary>Hint</summary>
#
# The overlap cannot be negative.
#
# </details>

# %% tags=["exercise"]
def temporal_iou(a, b):
    """IoU of every moment in a with every moment in b: (N, 2), (M, 2) -> (N, M)."""
    # BEGIN SOLUTION
    start = torch.maximum(a[:, None, 0], b[None, :, 0])
    end = torch.minimum(a[:, None, 1], b[None, :, 1])
    overlap = (end - start).clamp(min=0)
    lengths = (a[:, 1] - a[:, 0])[:, None] + (b[:, 1] - b[:, 0])[None, :]
    return overlap / (lengths - overlap)
    # END SOLUTION

# %% tags=["check"]
a = torch.tensor([[0.0, 10.0]])
b = torch.tensor([[0.0, 10.0], [5.0, 15.0], [20.0, 30.0]])
check("1.1", temporal_iou(a, b), torch.tensor([[1.0, 1 / 3, 0.0]]), hint="disjoint moments overlap by 0")
check("1.1", temporal_iou(b, a), torch.tensor([[1.0], [1 / 3], [0.0]]))

# %%
from vmrlib.moments import temporal_iou

# %% tags=["solution"]
print("for teachers")

# %% [markdown]
# ### Exercise 1.2 · The best clip

# %% tags=["exercise"]
class BestClip(torch.nn.Module):
    """The index of the clip with the highest score: (T,) -> int."""

    def forward(self, scores):
        # BEGIN SOLUTION
        return int(scores.argmax())
        # END SOLUTION

# %% tags=["check"]
check("1.2", BestClip()(torch.tensor([0.1, 0.9, 0.3])), 1)
check("1.2", BestClip()(torch.tensor([0.5, 0.1, 0.3])), 0)

# %%
print(torch.arange(3).tolist())
plt.plot([0, 1], [0, 1])
plt.show()

# %%
def draw(query, height):
    """The curve of one query."""
    similarity = torch.linspace(0, height, 6)
    return draw_curve(1 + 2 * torch.arange(6), similarity, [(4, 8)], text=query, limits=(0, 1.2), duration=12)


Explorer(draw, query=["a cat", "a dog"], height=(0.1, 1.0), caption="The curve rises.", alt="A rising curve")
'''
