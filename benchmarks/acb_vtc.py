"""How fast asymmetric co-attention with the contrastive loss runs: vmrlib against a plain transcription.

    python benchmarks/acb_vtc.py [--quick]

As `msat.py`, whose figures these are: the published TACoS configuration with queues of 50,000 keys, the same
weights, queues and batch, dropout off, one thread. A training step ends when its keys are in the queue. Maps,
losses, gradients, queues and momentum encoders must be the same after every step.
"""

import msat
import torch
from reference import acb_vtc as plain

from vmrlib.models.acb import ACBConfig
from vmrlib.models.official import acb_vtc_names

RELEASED_GFLOP = 29.4  # of the released code, forward, per sample

CONFIG = ACBConfig.tacos(dropout=0.0)
SIZES = plain.Sizes(dropout=0.0)
MODULE = "bert_layer.vlbert.mplug."
QUEUES = [f"{MODULE}{name}" for name in ("image_queue", "text_queue", "idx_queue", "queue_ptr")]


class Plain(msat.Plain):
    """The transcription in benchmarks/reference/acb_vtc.py."""

    reference = plain

    def __init__(self):
        super().__init__()
        self.names = [part for parts in acb_vtc_names(CONFIG).values() for part in parts]

    def build(self) -> torch.nn.Module:
        return plain.PlainACB(SIZES)

    def inputs(self, batch: dict) -> list:
        return [*super().inputs(batch), batch["moments_cell"], batch["annotation"]]

    def official(self) -> dict:
        state = self.model.state_dict()
        return super().official() | {name: state[plain.plain_name(name)] for name in QUEUES}


class Ours(msat.Ours):
    """vmrlib's model."""

    name, config, names = "acb_vtc", CONFIG, acb_vtc_names(CONFIG)


def assert_equal_memories(sides: dict) -> None:
    """Queues and momentum encoders agree to rounding."""
    theirs, ours = sides["plain"].model.contrast, sides["ours"].model.contrast
    close = {"atol": 3e-5, "rtol": 0}
    torch.testing.assert_close(ours.queue_video.T, theirs.image_queue, **close)
    torch.testing.assert_close(ours.queue_words.T, theirs.text_queue, **close)
    assert torch.equal(ours.queue_ids, theirs.idx_queue[0]) and ours.place == theirs.queue_ptr
    for slow, name in (("video", "visual_encoder"), ("words_out", "text_proj")):
        expected = getattr(theirs, f"{name}_m").weight
        torch.testing.assert_close(getattr(ours.slow, slow).weight, expected, **close)


if __name__ == "__main__":
    sides = {"plain": Plain, "ours": Ours}
    msat.compare(__file__, __doc__, sides, RELEASED_GFLOP, assert_equal_memories)
