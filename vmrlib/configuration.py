"""The configuration of a training run: a YAML file, checked key by key, as frozen dataclasses.

    model:    {preset: stage}                              # MSATConfig.stage(); other keys change its fields
    data:     {dataset: stage, train: train, val: val}
    features: [{extractor: stage-clip, seconds_per_clip: 0.5}]
    words:    stage
    training: {steps: 1000, learning_rate: 1e-3}             # TrainingSettings

Every error names the file and the full key: `configs/stage.yaml: training.learning_rate: expected a number,
found 'fast'`.
"""

import os
import re
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass
from pathlib import Path

import yaml

from vmrlib.data.annotations import shown
from vmrlib.engine.settings import TrainingSettings
from vmrlib.models.acb import ACBConfig
from vmrlib.models.mmn import MMNConfig
from vmrlib.models.msat import MSATConfig
from vmrlib.models.reloclnet import ReLoCLNetConfig
from vmrlib.models.ucofia_config import UCoFiAConfig

PRESETS = {
    "stage": MSATConfig.stage,
    "tacos": MSATConfig.tacos,
    "activitynet": MSATConfig.activitynet,
    "acb_stage": ACBConfig.stage,
    "acb_tacos": ACBConfig.tacos,
    "acb_activitynet": ACBConfig.activitynet,
    "mmn_stage": MMNConfig.stage,
    "mmn_charades": MMNConfig.charades,
    "mmn_activitynet": MMNConfig.activitynet,
    "mmn_tacos": MMNConfig.tacos,
    "ucofia_stage": UCoFiAConfig.stage,
    "ucofia_msrvtt": UCoFiAConfig.msrvtt,
    "reloclnet_stage": ReLoCLNetConfig.stage,
    "reloclnet_tvr": ReLoCLNetConfig.tvr,
}
ModelConfig = MSATConfig | MMNConfig | UCoFiAConfig | ReLoCLNetConfig  # and what derives from them
NAMES = {float: "a number", int: "a whole number", bool: "true or false", str: "text"}


class ConfigurationError(ValueError):
    """A configuration that cannot be used; the message names file, key and value."""


@dataclass(frozen=True)
class ModelChoice:
    """A preset of a model's configuration, and the fields that are to differ from it."""

    preset: str
    changes: Mapping = field(default_factory=dict)

    @property
    def retrieves(self) -> bool:
        """Does the model find videos instead of moments?"""
        return PRESETS[self.preset].__self__ is UCoFiAConfig

    def config(self, **sizes) -> ModelConfig:
        """The model's configuration; `sizes` are those of the data, where no change sets them.

        Sizes that a model has not, such as a vocabulary to guess words from, are left out.
        """
        known = PRESETS[self.preset].__self__.__dataclass_fields__
        sizes = {name: value for name, value in sizes.items() if name in known}
        return PRESETS[self.preset](**(sizes | dict(self.changes)))


@dataclass(frozen=True)
class DataChoice:
    """What to train on: Stage, a public dataset, or JSONL files of your own (dataset: own).

    train, val, test: names of splits, or paths of JSONL files. fraction: of the training queries, drawn by
    seed. negatives: how often each training query also comes with a video that it is not true of.
    profile: of Stage. videos: of Stage, only the first so many of each split. train_videos: of Stage, so many
    videos to train on, more than the split has if wanted.
    """

    dataset: str
    train: str
    val: str
    test: tuple[str, ...] = ()
    fraction: float = 1.0
    negatives: int = 0
    profile: str = "open"
    videos: int | None = None
    train_videos: int | None = None

    def __post_init__(self):
        if self.negatives < 0:
            raise ValueError(f"data.negatives: expected 0 or more, found {self.negatives}")
        if not 0 < self.fraction <= 1:
            raise ValueError(f"data.fraction: expected a number in 0..1, found {self.fraction}")
        for name in ("videos", "train_videos"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"data.{name}: expected a number above 0, found {value}")


@dataclass(frozen=True)
class FeatureSource:
    """Where features come from: one of the first four.

    extractor: a specification as for `vmrlib extract`, for Stage, with its seconds_per_clip; or `oracle`, the
    true states of its actors.
    store: a folder that `vmrlib extract` wrote.
    published: a layout of `vmrlib.data.published`, with the path of its files.
    simulated: seeded noise in the shape of such a layout, or of `dim` numbers for every seconds_per_clip.
    """

    extractor: str | None = None
    store: str | None = None
    published: str | None = None
    simulated: str | None = None
    path: str | None = None
    seconds_per_clip: float | None = None
    dim: int | None = None

    def __post_init__(self):
        kinds = [name for name in ("extractor", "store", "published", "simulated") if getattr(self, name)]
        if len(kinds) != 1:
            raise ValueError(
                f"expected one of extractor, store, published, simulated, found {kinds or 'none'}"
            )
        if self.published and not self.path:
            raise ValueError("published features need a path")
        if self.extractor == "oracle" and self.seconds_per_clip is None:
            raise ValueError("the extractor oracle needs seconds_per_clip")


@dataclass(frozen=True)
class RunConfig:
    """One training run. words: `stage`, `letters`, or a file of word vectors (npz, or GloVe's txt)."""

    model: ModelChoice
    data: DataChoice
    features: tuple[FeatureSource, ...]
    words: str
    training: TrainingSettings


def read_config(path: str | os.PathLike, changes: Mapping[str, object] | None = None) -> RunConfig:
    """The configuration of a YAML file, with some values replaced: `{"training.epochs": 3}`.

    Raises ConfigurationError for a key that is unknown, missing, there twice, or of another type; OSError for
    a file that cannot be read.
    """
    try:
        values = yaml.load(Path(path).read_text(encoding="utf-8"), Loader=_Loader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: {' '.join(str(error).split())}") from None
    for key, value in (changes or {}).items():
        _replace(values, key.split("."), value, f"{path}: {key}")
    return _filled(RunConfig, values, f"{path}: ", "")


def parse_change(text: str) -> tuple[str, object]:
    """The key and the value of `training.epochs=3`; the value is YAML."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise ConfigurationError(f"--set {text}: expected KEY=VALUE, such as training.epochs=3")
    try:
        return key, yaml.load(value, Loader=_Loader)
    except yaml.YAMLError as error:
        raise ConfigurationError(f"--set {text}: {' '.join(str(error).split())}") from None


class _Loader(yaml.SafeLoader):
    """YAML where a key may be there once, and 1e-4 is a number (YAML 1.1 takes it for text)."""

    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key, (key_node, _) in zip(keys, node.value, strict=True):
            if keys.count(key) > 1:
                problem = f"the key {key!r} is there twice"
                raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def _filled(cls: type, values: object, file: str, key: str):
    """The dataclass `cls` from a mapping; `file` and `key` begin every message."""
    if not isinstance(values, dict):
        raise ConfigurationError(
            f"{file}{key or 'the file'}: expected keys and values, found {shown(values)}"
        )
    if cls is ModelChoice:
        values = _model(values, file, key)
    else:
        values = _checked(cls, values, file, key)
        for each in fields(cls):
            if each.name not in values and each.default is MISSING and each.default_factory is MISSING:
                raise ConfigurationError(f"{file}{_join(key, each.name)}: is missing")
    try:
        return cls(**values)
    except ConfigurationError:
        raise
    except ValueError as error:
        name = key.rpartition(".")[2]  # the message may begin with the last part of the key
        prefix = key.removesuffix(name) if not key or str(error).startswith(f"{name}.") else f"{key}: "
        raise ConfigurationError(f"{file}{prefix}{error}") from None


def _checked(cls: type, values: Mapping, file: str, key: str) -> dict:
    """The values with the types of the fields of `cls`; keys that are no field are an error."""
    hints = typing.get_type_hints(cls)
    for name in values:
        if name not in hints:
            raise ConfigurationError(f"{file}{_join(key, name)}: unknown key, there are {', '.join(hints)}")
    return {name: _typed(hints[name], value, file, _join(key, name)) for name, value in values.items()}


def _model(values: Mapping, file: str, key: str) -> dict:
    preset = values.get("preset")
    if preset not in PRESETS:
        found = "nothing" if preset is None else shown(preset)
        raise ConfigurationError(f"{file}{key}.preset: expected one of {', '.join(PRESETS)}, found {found}")
    kind = PRESETS[preset].__self__  # the class that the preset belongs to
    for part in ("contrast", "clip"):  # some of it is another's
        default = getattr(PRESETS[preset](), part, None)
        if default and isinstance(values.get(part), dict):
            values = values | {part: asdict(default) | values[part]}
    changes = _checked(kind, {k: v for k, v in values.items() if k != "preset"}, file, key)
    try:
        PRESETS[preset](**changes)
    except ValueError as error:  # they do not go together
        of_field = str(error).partition(":")[0] in kind.__dataclass_fields__
        raise ConfigurationError(f"{file}{key}{'.' if of_field else ': '}{error}") from None
    return {"preset": preset, "changes": changes}


def _typed(hint, value, file: str, key: str):
    """The value as the type `hint`: a whole number is a number, too, and a list becomes a tuple."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in arguments:
            return None
        kinds = [each for each in arguments if each is not type(None)]
        listed = isinstance(value, list | tuple)
        fitting = [each for each in kinds if (typing.get_origin(each) is tuple) == listed]
        return _typed((fitting or kinds)[0], value, file, key)
    if is_dataclass(hint):
        return _filled(hint, value, file, key)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise ConfigurationError(f"{file}{key}: expected a list, found {shown(value)}")
        hints = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else arguments
        if len(hints) != len(value):
            raise ConfigurationError(f"{file}{key}: expected {len(hints)} values, found {shown(value)}")
        pairs = enumerate(zip(hints, value, strict=True))
        return tuple(_typed(each, part, file, f"{key}.{number}") for number, (each, part) in pairs)
    right = isinstance(value, hint) or (hint is float and isinstance(value, int))
    if not right or (isinstance(value, bool) and hint is not bool):
        raise ConfigurationError(f"{file}{key}: expected {NAMES[hint]}, found {shown(value)}")
    return float(value) if hint is float else value


def _replace(values: object, keys: Sequence[str], value: object, where: str) -> None:
    """Sets a value below nested mappings and lists; parts of a key that are not there yet are made."""
    for position, key in enumerate(keys):
        last = position == len(keys) - 1
        if isinstance(values, list):
            if not key.isdecimal() or int(key) >= len(values):
                raise ConfigurationError(f"{where}: no entry {key!r} in a list of {len(values)}")
            key = int(key)
        elif not isinstance(values, dict):
            raise ConfigurationError(f"{where}: {'.'.join(keys[:position])} has no keys")
        if last:
            values[key] = value
        else:
            values = values[key] if isinstance(values, list) else values.setdefault(key, {})


def _join(key: str, name: object) -> str:
    return f"{key}.{name}" if key else str(name)
