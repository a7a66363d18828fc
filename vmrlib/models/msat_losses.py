"""What MSAT learns from: targets on the boundary points, and four losses (section 4 of its specification).

All positions are in cells: a moment of seconds divided by duration / N. A sample whose moment is NaN has none
in its video: no point is a start, a middle or an end, and no candidate has any IoU. A mean over the samples
of a batch divides by the number of samples that a process has *on average*, so that several processes, whose
gradients are averaged, step exactly as one would with all of their samples.
"""

import torch
import torch.distributed
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

# Width of the bell around a boundary and around the middle, as shares of the moment's length; the middle's
# value above which it counts as 1, the values below which they count as 0, and what a boundary must have to
# be regressed.
BOUNDARY_WIDTH, MIDDLE_WIDTH = 0.25, 0.21233
MIDDLE_PEAK = 0.78
BOUNDARY_FLOOR, MIDDLE_FLOOR = 0.1353, 0.0625
NEAR = 0.4
LEAST_IOU = 0.5


def stage_targets(
    moments_cell: Float[Tensor, "B 2"], points: int, peak: float
) -> Float[Tensor, "B 3 {points}"]:
    """How much each boundary point is the start, the end, the middle of the moment: bells, cut to 0 and 1.

    Values from `peak` (of the middle: 0.78) count as 1, small ones as 0. A moment shorter than the grid may
    reach no point; then the nearest one becomes 1.
    """
    start, end = moments_cell.double().unbind(dim=1)
    length = end - start
    t = torch.arange(points, device=moments_cell.device, dtype=torch.float64)

    def bell(centre: Tensor, width: float) -> Tensor:
        return torch.exp(-0.5 * ((t - centre[:, None]) / (width * length)[:, None]) ** 2)

    def nearest(values: Tensor) -> Tensor:
        return F.one_hot(values.argmax(dim=1), points).bool()

    rows = []
    for centre in (start, end):
        bells = bell(centre, BOUNDARY_WIDTH)
        cut = bells.masked_fill(bells < BOUNDARY_FLOOR, 0.0).masked_fill(bells >= peak, 1.0)
        none_near = ~(cut > NEAR).any(dim=1, keepdim=True)
        rows.append(cut.masked_fill(none_near & nearest(bells), 1.0))
    bells = bell((start + end) / 2, MIDDLE_WIDTH)
    cut = bells.masked_fill(bells < MIDDLE_FLOOR, 0.0).masked_fill(bells >= MIDDLE_PEAK, 1.0)
    rows.append(cut.masked_fill((cut == 0).all(dim=1, keepdim=True) & nearest(bells), 1.0))
    targets = torch.stack(rows, dim=1).float()
    return targets.masked_fill(absent(moments_cell)[:, None, None], 0.0)


def regression_cells(targets: Float[Tensor, "B 3 T"]) -> tuple[Int[Tensor, " R"], Int[Tensor, "R 2"]]:
    """The sample and the moment (i, j) of all pairs of points near the true start and end.

    They need not be candidates, and i may exceed j.
    """
    near = (targets[:, 0] >= NEAR)[:, :, None] & (targets[:, 1] >= NEAR)[:, None, :]
    found = near.nonzero()
    return found[:, 0], found[:, 1:]


def absent(moments_cell: Float[Tensor, "B 2"]) -> Bool[Tensor, " B"]:
    """Samples whose video does not hold the moment."""
    return moments_cell.isnan().any(dim=1)


def stage_loss(logits: Float[Tensor, "B 3 T"], targets: Float[Tensor, "B 3 T"]) -> Float[Tensor, ""]:
    """L_stage: cross entropy times the squared error (which has a gradient), summed over the points."""
    per_point = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    per_sample = (per_point * (logits.sigmoid() - targets) ** 2).sum(dim=2).mean(dim=1)
    return per_sample.sum() / samples(len(logits), logits)


def regression_loss(
    offsets: Float[Tensor, "R 2"],
    cells: Int[Tensor, "R 2"],
    sample: Int[Tensor, " R"],
    moments_cell: Float[Tensor, "B 2"],
) -> Float[Tensor, ""]:
    """L_reg: how far, in cells, the moved boundaries are from the true ones, of moments near the true one."""
    batch = len(moments_cell)
    wanted = (moments_cell[sample] - cells).to(offsets.dtype)
    distance = (offsets - wanted).abs().mean(dim=1)
    share = 1 / torch.bincount(sample, minlength=batch).to(offsets.dtype)
    present = samples((~absent(moments_cell)).sum(), offsets)
    return (distance * share[sample]).sum() / present.where(present > 0, 1)


def iou_loss(
    logits: Float[Tensor, "B K"],
    offsets: Float[Tensor, "B K 2"],
    cells: Int[Tensor, "K 2"],
    moments_cell: Float[Tensor, "B 2"],
) -> Float[Tensor, ""]:
    """L_iou: the score of a candidate should be the IoU of its moved boundaries with the truth, 0 below 0.5.

    Candidates whose start was moved behind their end do not count. The wanted IoU has no gradient, the factor
    of the squared error has one. The released code calls this `bce_rescale_loss`, but nothing is rescaled.
    """
    moved = (cells + offsets).detach()
    start, end = moved.unbind(dim=-1)
    true_start, true_end = moments_cell.to(moved.dtype)[:, None].unbind(dim=-1)
    overlap = (torch.minimum(end, true_end) - torch.maximum(start, true_start)).clamp_min(1e-10)
    hull = (torch.maximum(end, true_end) - torch.minimum(start, true_start)).clamp_min(1e-7)
    iou = (overlap / hull).masked_fill(absent(moments_cell)[:, None], 0.0)
    wanted = iou.masked_fill(iou < LEAST_IOU, 0.0)
    valid = start < end
    factor = (logits.sigmoid() - wanted) ** 2
    # A video that does not hold the moment has no factor: it would spare those that look much like it.
    factor = torch.where(absent(moments_cell)[:, None], 1.0, factor)
    per_moment = factor * F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    per_sample = (per_moment * valid).sum(dim=1) / valid.sum(dim=1).clamp_min(1)
    return per_sample.sum() / samples(len(logits), logits)


def words_loss(
    logits: Float[Tensor, "W V"], labels: Int[Tensor, "B L"], hidden: Bool[Tensor, "B L"]
) -> Float[Tensor, ""]:
    """L_mlm: cross entropy of the hidden words, summed, over the number of samples that hide one.

    Words with a negative label are left out.
    """
    total = F.cross_entropy(logits, labels[hidden].clamp_min(-1), ignore_index=-1, reduction="sum")
    count = samples((hidden & (labels >= 0)).any(dim=1).sum(), logits)
    return total / count.where(count > 0, 1)


def samples(count: int | Tensor, like: Tensor) -> Float[Tensor, ""]:
    """`count` on average over the processes; itself where there is only one."""
    count = torch.as_tensor(count, device=like.device, dtype=like.dtype)
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        count = count.clone()
        torch.distributed.all_reduce(count)
        count = count / torch.distributed.get_world_size()
    return count
