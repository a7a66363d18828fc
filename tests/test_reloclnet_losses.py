"""ReLoCLNet's losses, released and of the slides, worked by hand."""

import math

import pytest
import torch

from vmrlib.models import reloclnet_losses as losses
from vmrlib.models.reloclnet_slides import FrameDiscriminator, PooledContrast, contrast_of_pairs

SCORES = torch.tensor([[0.5, 0.7, 0.1], [0.2, 0.6, 0.3], [0.4, 0.1, 0.2]])


def softplus(x):
    return math.log1p(math.exp(x))


def test_labels_are_rounded_outwards_and_end_at_the_last_clip():
    mask = torch.arange(6) < torch.tensor([[6], [3], [1], [4]])  # the last moment is beyond its video
    moments = torch.tensor([[1.2, 2.1], [2.9, 3.0], [0.0, 1.0], [7.0, 9.0]], dtype=torch.float64)
    assert losses.span_labels(moments, mask).tolist() == [[1, 3], [2, 2], [0, 0], [3, 3]]


def test_both_cross_entropies_are_added():
    start, end = torch.zeros(2, 4), torch.tensor([[math.log(3.0), 0.0, -1e10, -1e10]] * 2)
    loss = losses.span_loss(start, end, torch.tensor([[2, 0], [0, 1]]))
    assert loss.item() == pytest.approx(math.log(4) + (math.log(4 / 3) + math.log(4)) / 2)


def test_negatives_are_found_by_their_rank_below_the_right_one():
    ranks = torch.tensor([1, 2, 1])  # sorted without the diagonal: 1 0.7, 2 0.1; 2 0.3, 0 0.2; 0 0.4, 1 0.1
    assert losses.negatives(SCORES, ranks).tolist() == [1, 0, 0]
    hinge = losses.ranking_loss(SCORES, ranks, margin=0.1)
    assert hinge.item() == pytest.approx((0.3 + 0.0 + 0.3) / 3, abs=1e-6)
    soft = losses.ranking_loss(SCORES, ranks, 0.1, "lse")
    assert soft.item() == pytest.approx((softplus(0.2) + softplus(-0.4) + softplus(0.2)) / 3, abs=1e-6)


def test_the_slides_average_over_all_negatives():
    loss = losses.ranking_loss(SCORES, None, margin=0.1)
    assert loss.item() == pytest.approx((0.3 + 0.0 + 0.0 + 0.0 + 0.3 + 0.0) / 6, abs=1e-6)


@pytest.mark.parametrize(("samples", "pool", "most"), [(8, None, 7), (8, 3, 3), (3, 20, 2), (2, 1, 1)])
def test_ranks_are_drawn_from_all_negatives_or_the_pool(samples, pool, most):
    draws = torch.rand(60, samples, 2, generator=torch.Generator().manual_seed(0))
    drawn = torch.stack([losses.drawn_ranks(each, pool) for each in draws])
    assert drawn.shape == (60, 2, samples) and set(drawn.flatten().tolist()) == set(range(1, most + 1))
    assert losses.drawn_ranks(torch.zeros(samples, 2), pool).max() == 1
    assert losses.drawn_ranks(torch.ones(samples, 2), pool).min() == most


def test_a_batch_of_one_has_no_negative():
    one = torch.ones(1, 1, requires_grad=True)
    ranks = losses.drawn_ranks(torch.rand(1, 2), None)
    for given in (None, ranks[0]):
        losses.ranking_loss(one, given, 0.1).backward()
    assert one.grad.item() == 0


def test_the_best_clip_stands_for_a_video_and_padding_does_not():
    vectors = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    middle = torch.tensor([[[[1.0, 5.0], [3.0, 0.0], [9.0, 9.0]], [[0.0, 2.0], [0.0, 1.0], [9.0, 9.0]]]])
    mask = torch.tensor([[True, True, False]])
    assert losses.video_similarity(vectors, middle, mask).item() == pytest.approx((3.0 + 2.0) / 2)


def test_the_right_pair_counts_twice_so_the_loss_ends_at_the_logarithm_of_two():
    similarity = torch.tensor([[2.0, 0.0], [1.0, 3.0]])
    first = math.log(2 * math.exp(2) + math.exp(0) + math.exp(1)) - 2
    second = math.log(2 * math.exp(3) + math.exp(1) + math.exp(0)) - 3
    assert losses.video_contrast(similarity).item() == pytest.approx((first + second) / 2)
    perfect = losses.video_contrast(50.0 * torch.eye(3))
    assert perfect.item() == pytest.approx(math.log(2), abs=1e-5)


def test_frames_of_the_moment_should_be_alike_and_others_not():
    similarity = torch.tensor([[[1.0, 2.0, -1.0, 50.0]]])  # clips 0 and 1 of the moment, 2 outside, 3 padding
    mask = torch.tensor([[True, True, True, False]])
    inside = math.log(2) - (softplus(-1.0) + softplus(-2.0)) / 2
    outside = softplus(-1.0) - math.log(2)
    loss = losses.frame_contrast(similarity, torch.tensor([[0, 1]]), mask)
    assert loss.tolist() == pytest.approx([outside - inside])
    whole = losses.frame_contrast(similarity, torch.tensor([[0, 2]]), mask)
    alike = math.log(2) - (softplus(-1.0) + softplus(-2.0) + softplus(1.0)) / 3
    assert whole.tolist() == pytest.approx([-alike]), "nothing is outside"
    slides = losses.frame_contrast(similarity, torch.tensor([[0, 1]]), mask, shift=0.0)
    assert slides.tolist() == pytest.approx([softplus(-1.0) + (softplus(-1.0) + softplus(-2.0)) / 2])


def test_clips_of_a_moment_include_that_of_its_end():
    assert losses.clips_inside(torch.tensor([[1, 3], [2, 2]]), 5).long().tolist() == [
        [0, 1, 1, 1, 0],
        [0, 0, 1, 0, 0],
    ]


def test_the_contrast_of_the_slides_counts_every_pair_once():
    model = PooledContrast(2, 1)
    with torch.no_grad():
        model.pooling[0].weight.zero_()  # the mean of the clips
        for layer in (model.video_out[0], model.query_out[0]):
            layer.weight.copy_(torch.eye(2))
            layer.bias.zero_()
    vectors = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]])
    middle = torch.tensor([[[[2.0, 1.0], [4.0, 1.0]]], [[[0.0, 5.0], [7.0, 7.0]]]])
    mask = torch.tensor([[True, True], [True, False]])
    assert model.pooled(middle, mask)[0].tolist() == [[3.0, 1.0], [0.0, 5.0]]
    first = math.log(math.exp(3) + math.exp(0) + math.exp(1)) - 3  # row 3 0, column 3 1
    second = math.log(math.exp(5) + math.exp(1) + math.exp(0)) - 5  # row 1 5, column 0 5
    logits = model(vectors, middle, mask)
    assert logits.tolist() == [[[3.0, 0.0], [1.0, 5.0]]]
    assert contrast_of_pairs(logits).item() == pytest.approx((first + second) / 2, rel=1e-5)
    one = model(vectors[:1], middle[:1], mask[:1])
    assert contrast_of_pairs(one).item() == pytest.approx(0.0, abs=1e-6)


def test_the_discriminator_is_a_bilinear_form():
    model = FrameDiscriminator(2, 2)
    with torch.no_grad():
        model.forms[0].weight.copy_(torch.tensor([[1.0, 2.0], [0.0, 0.0]]))
        model.bias.copy_(torch.tensor([0.5, 0.0]))
    vectors = torch.tensor([[[1.0, 9.0], [0.0, 0.0]]])
    middle = torch.tensor([[[[1.0, 1.0], [0.0, -1.0]], [[1.0, 1.0], [1.0, 1.0]]]])
    found = model(vectors, middle)
    assert found[0, 0].tolist() == pytest.approx([1.0 + 2.0 + 0.5, -2.0 + 0.5])  # q^T W h + b
    assert found[0, 1].tolist() == [0.0, 0.0]
