"""Configurations of MMN: what is wrong is said, what is shipped is as published."""

from pathlib import Path

import pytest
import torch

from vmrlib.configuration import read_config
from vmrlib.models.mmn_config import MMNConfig

CONFIGS = Path(__file__).resolve().parent.parent / "configs"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"clips": 30}, "clips: 30 are no multiple of cells 12"),
        ({"kernel": 4, "layers": 3}, "kernel: 4 with layers 3"),
        ({"pooling_counts": (7, 4)}, "pooling_counts: they reach 15 clips ahead, there are 12"),
        ({"iou_range": (0.5, 0.5)}, "iou_range: expected two numbers, rising"),
        ({"group": 0}, "group: expected a number above 0, found 0"),
        ({"temperature_video": 0.0}, "temperature_video: expected a number above 0, found 0.0"),
        ({"text_heads": 7}, "dim_text: 64 is no multiple of text_heads 7"),
        ({"dropout": 1.0}, "dropout: expected a number from 0 to below 1, found 1.0"),
        ({"positives": 0}, "positives: expected a number above 0, found 0"),
        ({"positives": 79}, "positives: the map has 78 moments, found 79"),
        ({"pooling_counts": (3, 0)}, r"pooling_counts: expected numbers above 0, found \(3, 0\)"),
        ({"margin": -0.1}, "margin: expected 0 or more, found -0.1"),
        ({"nms_iou": 1.5}, r"nms_iou: expected an IoU in 0..1, found 1.5"),
    ],
)
def test_what_is_wrong_in_a_configuration_is_said(changes, message):
    with pytest.raises(ValueError, match=message):
        MMNConfig.stage(**changes)


# videos in a batch, on a GPU, rate, epochs, and those after which the rate is divided by ten: section 1.8 of
# the specification
PUBLISHED = {
    "charades": (48, 12, 1e-4, 18, [8, 13]),
    "activitynet": (48, 8, 8e-4, 18, [7, 15]),
    "tacos": (4, 2, 1.5e-3, 250, [130, 190]),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_shipped_configurations_are_as_published(name):
    config = read_config(CONFIGS / f"mmn_{name}.yaml")
    model, training = config.model.config(), config.training
    assert model == getattr(MMNConfig, name)()
    batch, of_gpu, rate, epochs, _ = PUBLISHED[name]
    assert (training.batch_size, training.learning_rate, training.epochs) == (batch, rate, epochs)
    assert model.group == of_gpu == training.batch_size // training.accumulation
    assert (training.clip_norm, training.seed) == (5, 25285)
    assert (model.dim, model.dim_maps, model.dim_joint, model.text_rate) == (512, 512, 256, 0.1)
    assert config.data.val not in config.data.test, "nothing is chosen on test"


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_rate_falls_when_that_of_the_released_code_does(name):
    settings, milestones = read_config(CONFIGS / f"mmn_{name}.yaml").training, PUBLISHED[name][-1]
    optimiser = torch.optim.AdamW([torch.zeros(1)], PUBLISHED[name][2])
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimiser, milestones, gamma=0.1)
    for epoch in range(int(settings.epochs)):
        rate = settings.learning_rate_at(step=0, total=1, epoch=epoch)
        assert rate == pytest.approx(optimiser.param_groups[0]["lr"]), epoch
        optimiser.step()
        schedule.step()


def test_the_sizes_of_the_data_are_those_of_the_model():
    choice = read_config(CONFIGS / "mmn_stage.yaml").model
    assert choice.config(dim_video=7, dim_words=9, vocabulary=5) == MMNConfig.stage(dim_video=7, dim_words=9)
