"""Configurations: what is wrong in them is said with file and key; the shipped ones are as published."""

from pathlib import Path

import pytest

from vmrlib.configuration import PRESETS, ConfigurationError, parse_change, read_config
from vmrlib.models.acb import ACBConfig
from vmrlib.models.msat import MSATConfig
from vmrlib.models.vtc import VTCConfig

CONFIGS = Path(__file__).resolve().parent.parent / "configs"
GOOD = """
model: {preset: stage, dim: 64}
data: {dataset: stage, train: train, val: val}
features: [{extractor: stage-clip, seconds_per_clip: 1}]
words: stage
training: {steps: 10, learning_rate: 1e-3}
"""


def written(tmp_path, text: str) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_configuration_by_hand(tmp_path):
    config = read_config(written(tmp_path, GOOD))
    assert config.model.config(vocabulary=9) == MSATConfig.stage(dim=64, vocabulary=9)
    assert config.features[0].extractor == "stage-clip" and config.features[0].seconds_per_clip == 1.0
    assert config.training.learning_rate == 1e-3, "YAML 1.1 takes 1e-3 for text"
    assert config.training.steps == 10 and config.data.test == () and config.data.fraction == 1.0


def test_values_can_be_replaced(tmp_path):
    changes = dict(
        map(parse_change, ["training.steps=null", "training.epochs=3", "features.0.seconds_per_clip=2"])
    )
    changes |= dict(map(parse_change, ["data.test=[test-iid, test-verb]", "model.layers=1", "words=letters"]))
    config = read_config(written(tmp_path, GOOD), changes)
    assert config.training.epochs == 3.0 and config.training.steps is None
    assert config.features[0].seconds_per_clip == 2.0 and config.data.test == ("test-iid", "test-verb")
    assert config.model.config().layers == 1 and config.words == "letters"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("1e-3", "fast", "training.learning_rate: expected a number, found 'fast'"),
        ("1e-3", "true", "training.learning_rate: expected a number, found True"),
        ("steps: 10", "steps: 10.5", "training.steps: expected a whole number, found 10.5"),
        ("steps: 10", "stps: 10", "training.stps: unknown key"),
        ("steps: 10, ", "", "training: say either epochs or steps"),
        ("steps: 10", "steps: -1", "training.steps: expected a number above 0, found -1"),
        ("steps: 10", "steps: 10, metric: R@9", "training.metric: expected"),
        ("steps: 10", "steps: 10, convention: mine", "training.convention: convention must be"),
        ("steps: 10", "steps: 10, schedule: steep", "training.schedule: expected one of constant"),
        ("steps: 10", "steps: 10, schedule: [x]", "training.schedule.0: expected a whole number"),
        ("steps: 10", "steps: 10, schedule: [2, 2]", "training.schedule: expected epochs above 0 that rise"),
        ("words: stage", "", "words: is missing"),
        ("words: stage", "words: 3", "words: expected text, found 3"),
        ("words: stage", "words: stage\nwords: stage", "the key 'words' is there twice"),
        ("val: val", "val: val, val: test", "the key 'val' is there twice"),
        ("train: train, ", "", "data.train: is missing"),
        (
            "preset: stage",
            "preset: large",
            f"model.preset: expected one of {', '.join(PRESETS)}, found 'large'",
        ),
        ("preset: stage, ", "", "model.preset: expected one of"),
        ("dim: 64", "dims: 64", "model.dims: unknown key"),
        ("dim: 64", "dim: big", "model.dim: expected a whole number, found 'big'"),
        ("dim: 64", "heads: 0", "model.heads: expected a number above 0, found 0"),
        ("dim: 64", "stride: 0", "model.stride: expected a number above 0, found 0"),
        ("dim: 64", "layers: -1", "model.layers: expected a number above 0, found -1"),
        ("dim: 64", "dropout: 1", "model.dropout: expected a number from 0 to below 1, found 1.0"),
        ("val: val", "val: val, negatives: -1", "data.negatives: expected 0 or more, found -1"),
        ("val: val", "val: val, videos: 0", "data.videos: expected a number above 0, found 0"),
        ("steps: 10", "steps: 10, device: mps", "training.device: mps has no float64"),
        ("dim: 64", "heads: 7", "model: dim 64 is no multiple of heads 7"),
        ("dim: 64", "contrast: {dim: 8}", "model.contrast.weight: is missing"),
        ("dim: 64", "contrast: {weight: 1, pool: max}", "model.contrast.pool: expected sum or mean"),
        ("dim: 64", "contrast: {weight: 1, momentum: null}", "model.contrast.momentum: without slow"),
        ("dim: 64", "contrast: {weight: 1, queue: 9}", "model.contrast.queue: unknown key"),
        ("dim: 64", "group: AAC", "model.group: unknown key"),
        ("preset: stage, dim: 64", "preset: acb_stage, group: ACA", "model.group: 'ACA' ends with A"),
        ("preset: stage, dim: 64", "preset: acb_stage, group: AXC", "model.group: expected letters A, B"),
        ("dim: 64", "weights: [1, 2]", "model.weights: expected 4 values, found [1, 2]"),
        ("dim: 64", "candidates: [[16, x]]", "model.candidates.0.1: expected a whole number, found 'x'"),
        ("extractor: stage-clip, ", "", "features.0: expected one of extractor"),
        ("extractor: stage-clip", "published: tacos-c3d", "features.0: published features need a path"),
        (
            "[{extractor: stage-clip, seconds_per_clip: 1}]",
            "simulated",
            "features: expected a list, found 'simulated'",
        ),
        ("{steps: 10, learning_rate: 1e-3}", "fast", "training: expected keys and values, found 'fast'"),
        ("words: stage", "words: [", "mine.yaml: "),
    ],
)
def test_what_is_wrong_is_said_with_file_and_key(tmp_path, old, new, message):
    assert old in GOOD
    path = written(tmp_path, GOOD.replace(old, new))
    with pytest.raises(ConfigurationError) as error:
        read_config(path)
    assert str(error.value).startswith(f"{path}: ") and message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_is_no_text_is_named(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_bytes(GOOD.replace("stage", "b\u00fchne").encode("latin-1"))
    with pytest.raises(ConfigurationError, match=r"mine.yaml: .*utf-8"):
        read_config(path)


def test_wrong_replacements_are_named(tmp_path):
    path = written(tmp_path, GOOD)
    for text, message in {
        "training.learning_rate=fast": "training.learning_rate: expected a number, found 'fast'",
        "features.3.store=x": "features.3.store: no entry '3' in a list of 1",
        "words.depth=1": "words.depth: words has no keys",
    }.items():
        with pytest.raises(ConfigurationError, match=message):
            read_config(path, dict([parse_change(text)]))
    with pytest.raises(ConfigurationError, match="expected KEY=VALUE"):
        parse_change("training.epochs")
    with pytest.raises(ConfigurationError):
        read_config(written(tmp_path, ""))
    with pytest.raises(OSError):
        read_config(tmp_path / "nowhere.yaml")


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_configuration_can_be_read(path):
    assert read_config(path).model.preset in PRESETS


def test_the_published_configurations_are_as_published():
    # section 6 of the specification
    tacos, activitynet = (read_config(CONFIGS / f"{name}.yaml") for name in ("tacos", "activitynet"))
    for config in (tacos, activitynet):
        training = config.training
        assert (training.batch_size, training.learning_rate, training.epochs) == (16, 1e-4, 100)
        assert (training.clip_norm, training.schedule, training.warmup_steps) == (10, "constant", 0)
        assert training.convention == "MSAT" and config.words == "word_vectors/glove.6B.300d.txt"
        assert config.model.changes == {}
    assert (tacos.training.evaluate_epochs, activitynet.training.evaluate_epochs) == (1, 0.25)
    assert tacos.features[0].published == "tacos-c3d"
    assert activitynet.features[0].published == "activitynet-c3d"
    assert activitynet.data.val == "val_1" and activitynet.data.test == ("val_2",)


def test_presets_of_asymmetric_co_attention_and_the_contrastive_loss(tmp_path):
    changes = dict(map(parse_change, ["model.contrast.weight=0.5", "model.contrast.clamp=[0.001, 0.5]"]))
    config = read_config(written(tmp_path, GOOD), changes).model.config()
    assert config == MSATConfig.stage(dim=64, contrast=VTCConfig(weight=0.5, clamp=(0.001, 0.5)))
    changes = dict(map(parse_change, ["model.preset=acb_stage", "model.contrast=null", "model.group=AC"]))
    config = read_config(written(tmp_path, GOOD), changes).model.config()
    assert config == ACBConfig.stage(dim=64, group="AC", contrast=None)


def test_a_part_of_the_contrastive_loss_leaves_the_rest_as_the_preset_has_it(tmp_path):
    changes = dict(map(parse_change, ["model.preset=acb_stage", "model.contrast.alpha=0"]))
    config = read_config(written(tmp_path, GOOD), changes).model.config()
    assert config == ACBConfig.stage(dim=64, contrast=VTCConfig.stage(alpha=0.0))


def test_true_states_need_a_length_of_clips(tmp_path):
    text = GOOD.replace("extractor: stage-clip, seconds_per_clip: 1", "extractor: oracle")
    with pytest.raises(ConfigurationError, match=r"features.0: the extractor oracle needs seconds_per_clip"):
        read_config(written(tmp_path, text))


def test_the_configurations_of_asymmetric_co_attention_are_as_released():
    # section 6 of the specification
    tacos, activitynet = (read_config(CONFIGS / f"acb_vtc_{name}.yaml") for name in ("tacos", "activitynet"))
    assert tacos.model.config() == ACBConfig.tacos() and activitynet.model.config() == ACBConfig.activitynet()
    for config, baseline in ((tacos, "tacos"), (activitynet, "activitynet")):
        same = read_config(CONFIGS / f"{baseline}.yaml")
        assert (config.data, config.features, config.words) == (same.data, same.features, same.words)
        assert (config.training.clip_norm, config.training.schedule) == (10, "constant")
        assert config.training.convention == "MSAT"
    assert (tacos.training.batch_size, tacos.training.learning_rate, tacos.training.epochs) == (6, 5e-5, 100)
    training = activitynet.training
    assert (training.batch_size, training.learning_rate, training.epochs) == (64, 1e-4, 51)
    assert (tacos.training.evaluate_epochs, training.evaluate_epochs) == (1, 0.25)
