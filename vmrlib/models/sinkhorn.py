"""Biases that keep a few videos, or texts, from being everybody's answer: Sinkhorn at test time.

exp(X) is scaled by a_i and b_j so that all rows and all columns have the same sum; the log of a column's
factor, added to its scores, takes away what the column owes to being similar to everything. X compares the
test videos with *reference* texts, as a rule the training texts, never the texts that are to be found
(UCoFiA's specification, section 7; the method is that of NCL, EMNLP 2022). All in logarithms: nothing
underflows, however far scores are apart.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

ITERATIONS = 4  # as released; on coarse similarities that is not yet convergence


class ReferenceSetError(ValueError):
    """Reference queries that cannot be used; the message names one of them."""


def sinkhorn(
    scores: Float[Tensor, "... R C"], iterations: int = ITERATIONS
) -> tuple[Float[Tensor, "... R"], Float[Tensor, "... C"]]:
    """Biases of the rows and of the columns, each the logarithm of a distribution, from logits of pairs.

    Computed in float64: in float32 the iterations add up their rounding to a millionth of the bias.
    Raises ValueError for a number of iterations below 1.
    """
    if iterations < 1:
        raise ValueError(f"iterations: expected 1 or more, found {iterations}")
    logits = scores.double()
    columns = -logits.logsumexp(dim=-2)
    for _ in range(iterations):
        rows = -(logits + columns[..., None, :]).logsumexp(dim=-1)
        columns = -(logits + rows[..., :, None]).logsumexp(dim=-2)
    return rows.log_softmax(dim=-1).to(scores), columns.log_softmax(dim=-1).to(scores)


@dataclass(frozen=True)
class Retrieval:
    """Scores of test texts and test videos, and what they are made of.

    scores (A, B): mean over the levels of similarity + biases, the same for both directions, since the bias
    of a text changes no rank among videos, nor that of a video one among texts.
    text_bias (3, A), video_bias (3, B): zeros where there was nothing to refer to.
    protocol: `no bias`, `training queries`, or `transductive`; results name it.
    """

    scores: Float[Tensor, "A B"]
    levels: Float[Tensor, "3 A B"]
    text_bias: Float[Tensor, "3 A"]
    video_bias: Float[Tensor, "3 B"]
    protocol: str


def normalised(
    levels: Float[Tensor, "3 A B"],
    reference_texts: Float[Tensor, "3 R B"] | None = None,
    reference_videos: Float[Tensor, "3 A V"] | None = None,
    iterations: int = ITERATIONS,
    transductive: bool = False,
) -> Retrieval:
    """Scores for both directions: every level gets its biases before the mean over levels is taken.

    reference_texts: their similarities with the test videos. reference_videos: those of the test texts with
    them. transductive: some of these are of the test. Raises ValueError for iterations below 1.
    """
    text_bias, video_bias = levels.new_zeros(levels.shape[:2]), levels.new_zeros(levels.shape[::2])
    if reference_texts is not None:
        video_bias = torch.stack([sinkhorn(level, iterations)[1] for level in reference_texts])
    if reference_videos is not None:
        # transposed, as released: which side begins matters while it has not converged
        text_bias = torch.stack([sinkhorn(level.mT, iterations)[1] for level in reference_videos])
    scores = (levels + text_bias[..., None] + video_bias[:, None]).mean(dim=0)
    biased = reference_texts is not None or reference_videos is not None
    protocol = "transductive" if biased and transductive else "training queries" if biased else "no bias"
    return Retrieval(scores, levels, text_bias, video_bias, protocol)


def check_ids(kind: str, ids: Sequence[str], number: int) -> None:
    """Raises ReferenceSetError unless each of `number` texts, or videos, has an id, and there are any."""
    if not number or len(ids) != number:
        raise ReferenceSetError(f"{kind}: {len(ids)} ids for {number} of them")


def overlap(kind: str, reference: Sequence[str], test: Sequence[str], transductive: bool) -> bool:
    """Is any of the reference one of the test?

    Raises ReferenceSetError where one is, but for `transductive`: biases from the test are another protocol,
    whose scores compare with no others.
    """
    known = set(test)
    found = [each for each in reference if each in known]
    if found and not transductive:
        raise ReferenceSetError(
            f"{kind}: {found[0]!r} is one of the test (of {len(found)}); biases from the test are another "
            "protocol: transductive=True"
        )
    return bool(found)
