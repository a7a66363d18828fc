"""Trained models on disk: weights in safetensors, everything else in JSON, replaced as one.

A checkpoint of a run folder is `best.json` or `last.json`. It names its tensor files and their sha256; the
files lie beside it:

    best.json                      what the model is, what it was trained on, what it scores
    best-0a1b2c3d.safetensors      weights, and the table of word vectors
    last-4e5f6a7b.safetensors
    last-state-8c9d0e1f.safetensors    what training needs to go on: optimiser, random numbers

The JSON is replaced last, so a process that dies while it writes leaves the checkpoint that was there before.
`from_official` builds our models from the weights that authors released.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor, nn

import vmrlib
from vmrlib.data.files import write_bytes, write_text
from vmrlib.models.acb import ACB, ACBConfig
from vmrlib.models.mmn import MMN, MMNConfig
from vmrlib.models.msat import MSAT, MSATConfig
from vmrlib.models.reloclnet import ReLoCLNet, ReLoCLNetConfig
from vmrlib.models.ucofia_config import ClipSizes, UCoFiAConfig
from vmrlib.models.vtc import VTCConfig
from vmrlib.text import Vocabulary, WordVectors

__all__ = ["Checkpoint", "CheckpointError", "describe", "load", "read", "write"]

FORMAT = 1
MODELS = {
    "msat": (MSAT, MSATConfig),
    "acb": (ACB, ACBConfig),
    "mmn": (MMN, MMNConfig),
    "ucofia": (UCoFiAConfig.build, UCoFiAConfig),  # the class itself would load transformers
    "reloclnet": (ReLoCLNet, ReLoCLNetConfig),
}
NESTED = {"contrast": VTCConfig, "clip": ClipSizes}  # parts of a configuration that are one themselves
TABLE = "words.table"  # of the word vectors, among the weights
QUEUES = ("contrast.queue_", "contrast.place", "contrast.steps")  # buffers that only training needs


def __getattr__(name: str):
    if name == "from_official":  # it shares code with CLIP, and so imports transformers, which takes seconds
        from vmrlib.models.official import from_official

        return from_official
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class CheckpointError(ValueError):
    """A checkpoint that cannot be used; the message names the file, and the key where there is one."""


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A trained model with all it needs to read a sentence.

    `model` is in evaluation mode, on the CPU. `about`: config, features, dataset, metrics, step, epoch, seed.
    """

    model: nn.Module
    about: dict
    words: WordVectors
    vocabulary: Vocabulary


def describe(model: nn.Module, words: WordVectors, vocabulary: Vocabulary, **more) -> dict:
    """What a checkpoint says about a model: kind, configuration, words, and what else is given."""
    return {
        "format": FORMAT,
        "vmrlib": vmrlib.__version__,
        "model": type(model).__name__.lower(),
        "config": asdict(model.config),
        **more,
        "words": list(words.vocabulary.words),
        "vocabulary": list(vocabulary.words),
    }


def weights_of(model: nn.Module, words: WordVectors) -> dict[str, Tensor]:
    """The tensors of a checkpoint: the model's, and the table of word vectors without its row of zeros."""
    return dict(model.state_dict()) | {TABLE: words.table[:-1]}


def without_queues(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights that inference needs: not the queues of the contrastive loss, 205 MB as published."""
    return {name: value for name, value in weights.items() if not name.startswith(QUEUES)}


def restore(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Gives a model its weights; queues that are not there stay as they are.

    Raises RuntimeError for names and shapes that do not fit.
    """
    kept = {name: value for name, value in model.state_dict().items() if name.startswith(QUEUES)}
    model.load_state_dict(kept | dict(weights))


def write(
    folder: str | os.PathLike,
    name: str,
    about: Mapping,
    weights: Mapping[str, Tensor],
    state: Mapping[str, Tensor] | None = None,
) -> Path:
    """Writes the checkpoint `name` (best, last) of a run folder and returns its JSON file.

    It replaces the one of that name as a whole; tensor files that no JSON names any more are removed.
    Raises OSError when it cannot be written; the one before is then still there.
    """
    folder = Path(folder)
    path = folder / f"{name}.json"
    about = dict(about)
    for part, prefix, tensors in (("weights", name, weights), ("state", f"{name}-state", state)):
        if tensors is not None:
            data = safetensors.torch.save(
                {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
            )
            digest = hashlib.sha256(data).hexdigest()
            about[part] = {"file": f"{prefix}-{digest[:8]}.safetensors", "sha256": digest}
            write_bytes(folder / about[part]["file"], data)
    write_text(path, json.dumps(about, ensure_ascii=False, indent=1) + "\n")
    kept = {about[part]["file"] for part in ("weights", "state") if part in about}
    for file in [*folder.glob(f"{name}-*.safetensors"), *folder.glob(".*.tmp")]:
        if file.name not in kept:
            file.unlink(missing_ok=True)
    return path


def read(path: str | os.PathLike) -> tuple[dict, dict[str, Tensor], dict[str, Tensor]]:
    """What a checkpoint says, its weights and its state of training (empty where it has none).

    `path` is a JSON file, or a run folder, which stands for its `best.json` (`last.json` if there is none).
    Raises CheckpointError for a file that is missing, damaged or of another format.
    """
    path = json_of(path)
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no checkpoint (no such file)") from None
    except ValueError as error:
        raise CheckpointError(f"{path}: damaged ({error})") from None
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        found = about.get("format") if isinstance(about, dict) else type(about).__name__
        raise CheckpointError(f"{path}: format {found!r}, this version reads format {FORMAT}")
    tensors = [_tensors(path, about, "weights"), _tensors(path, about, "state") if "state" in about else {}]
    return about, *tensors


def json_of(path: str | os.PathLike) -> Path:
    """The JSON file that a run folder or a path to a checkpoint stands for."""
    path = Path(path)
    if not path.is_dir():
        return path
    best, last = path / "best.json", path / "last.json"
    return last if last.is_file() and not best.is_file() else best


def load(path: str | os.PathLike) -> Checkpoint:
    """The model of a run folder or JSON file, with its words.

    Raises CheckpointError for a file that is missing, damaged or of another format, an unknown model, and a
    configuration with a key too many or too few.
    """
    about, weights, _ = read(path)
    path = json_of(path)
    model = _build(path, about)
    try:
        words = WordVectors(about["words"], weights.pop(TABLE).numpy())
        vocabulary = Vocabulary(about["vocabulary"])
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: its words cannot be used ({error})") from None
    try:
        restore(model, weights)
    except RuntimeError as error:
        problem = str(error).strip().splitlines()[-1].strip()
        raise CheckpointError(f"{path}: the weights do not fit its config ({problem})") from None
    return Checkpoint(model.eval(), about, words, vocabulary)


def _build(path: Path, about: Mapping) -> nn.Module:
    """The model that the JSON describes, not yet trained."""
    kind = about.get("model")
    if kind not in MODELS:
        raise CheckpointError(f'{path}: field "model": expected one of {", ".join(MODELS)}, found {kind!r}')
    make, make_config = MODELS[kind]
    config, names = about.get("config"), [field.name for field in fields(make_config)]
    if not isinstance(config, dict):
        raise CheckpointError(f'{path}: field "config": expected an object, found {config!r}')
    for key in config:
        if key not in names:
            raise CheckpointError(f'{path}: field "config.{key}" is unknown to {make_config.__name__}')
    for field in fields(make_config):
        if field.name not in config and field.default is MISSING:
            raise CheckpointError(f'{path}: field "config.{field.name}" is missing')
    try:
        values = {key: _tuples(value) for key, value in config.items()}
        for name, part in NESTED.items():
            if values.get(name) is not None:
                values[name] = part(**{key: _tuples(value) for key, value in values[name].items()})
        return make(make_config(**values))
    except (AttributeError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{path}: no model can be built from its config ({error})") from None


def _tensors(path: Path, about: Mapping, part: str) -> dict[str, Tensor]:
    """The tensors of a file that the JSON names, checked against its sha256."""
    try:
        file, sha256 = path.parent / about[part]["file"], about[part]["sha256"]
        data = file.read_bytes()
    except (KeyError, TypeError):
        raise CheckpointError(f'{path}: field "{part}" is missing or names no file') from None
    except FileNotFoundError:
        raise CheckpointError(f"{file}: no such file, {path.name} names it") from None
    if hashlib.sha256(data).hexdigest() != sha256:
        raise CheckpointError(f"{file}: damaged (its sha256 is not that of {path.name})")
    try:
        return safetensors.torch.load(data)
    except SafetensorError as error:
        raise CheckpointError(f"{file}: no readable safetensors file ({error})") from None


def _tuples(value):
    """Lists of JSON as the tuples that a configuration has."""
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
