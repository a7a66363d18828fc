"""One training step of every model on a GPU gives the losses and gradients that it gives on the CPU."""

from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from test_acb import BOTH
from test_acb import make_batch as make_acb_batch
from test_msat import SMALL, for_inference, make_batch
from test_reloclnet import SMALL as SMALL_RELOCLNET
from test_reloclnet import make_batch as make_reloclnet_batch
from toy_mmn import make_batch as make_mmn_batch
from toy_mmn import small_model

from vmrlib.models.acb import ACB
from vmrlib.models.msat import MSAT
from vmrlib.models.reloclnet import ReLoCLNet

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

# name: a model without dropout, with weights far from zero, and a batch to learn from
MODELS = {
    "msat": lambda: (MSAT(replace(SMALL, initial_std=0.3)), make_batch()),
    "acb_vtc": lambda: (ACB(replace(BOTH, initial_std=0.3)), make_acb_batch()),
    # all negatives: sampled ones are drawn on the device, and are others there
    "reloclnet": lambda: (ReLoCLNet(replace(SMALL_RELOCLNET, negatives="all")), make_reloclnet_batch()),
    "mmn": lambda: (small_model(), make_mmn_batch()),
}


def move(batch: dict, device: str) -> dict:
    return {name: value.to(device) if torch.is_tensor(value) else value for name, value in batch.items()}


@pytest.fixture(params=MODELS)
def pair(request):
    """The same model and batch on both devices."""
    torch.manual_seed(0)
    model, batch = MODELS[request.param]()
    return {device: (deepcopy(model).to(device), move(batch, device)) for device in ("cpu", "cuda")}


def test_a_training_step_is_that_of_the_cpu(pair):
    losses = {}
    for device, (model, batch) in pair.items():
        optimiser = torch.optim.SGD(model.train().parameters(), lr=1e-2)
        losses[device] = model.loss(model(batch), batch)
        losses[device]["total"].backward()
        optimiser.step()
    for name, value in losses["cpu"].items():
        assert losses["cuda"][name].device.type == "cuda"
        torch.testing.assert_close(losses["cuda"][name].cpu(), value, rtol=1e-4, atol=1e-5, msg=name)
    on_gpu = dict(pair["cuda"][0].named_parameters())
    for name, parameter in pair["cpu"][0].named_parameters():
        torch.testing.assert_close(on_gpu[name].cpu(), parameter, rtol=1e-3, atol=1e-4, msg=name)
        if not parameter.requires_grad:  # slow encoders
            continue
        largest = parameter.grad.abs().max().item()
        error = (on_gpu[name].grad.cpu() - parameter.grad).abs().max().item()
        assert error <= 2e-3 * largest + 1e-5, f"gradient of {name}: {error:.1e} of {largest:.1e}"


def test_moments_are_those_of_the_cpu(pair):
    found = {
        device: model.eval().localise(for_inference(batch), top=1) for device, (model, batch) in pair.items()
    }
    for (moments, scores), (same, same_scores) in zip(found["cuda"], found["cpu"], strict=True):
        assert moments.device.type == "cpu"
        torch.testing.assert_close(moments, same, rtol=1e-4, atol=1e-3)
        torch.testing.assert_close(scores, same_scores, rtol=1e-3, atol=1e-4)


def test_the_seconds_of_mmn_are_those_of_the_cpu_to_the_last_bit():
    # many IoUs lie exactly at the threshold of the suppression: other seconds would leave other moments
    model, batch = small_model(), for_inference(make_mmn_batch())
    model.config = replace(
        model.config, clips=24, cells=12
    )  # no power of two, by which any division is exact
    batch["duration"] = torch.linspace(7.3, 131.7, len(batch["duration"]), dtype=torch.float64)
    cells = torch.ones(12, 12).triu().nonzero()
    noise = torch.rand(len(batch["duration"]), len(cells), generator=torch.Generator().manual_seed(0))
    found = {}
    for device in ("cpu", "cuda"):
        outputs = {"cells": cells, "contrast_scores": torch.zeros_like(noise), "iou_logits": noise}
        model.forward = lambda batch, outputs=outputs, device=device: move(outputs, device)
        found[device] = model.localise(move(batch, device), top=5)
    for (moments, _), (same, _) in zip(found["cuda"], found["cpu"], strict=True):
        assert torch.equal(moments, same)


def test_a_step_in_half_precision_is_near_the_full_one(pair):
    model, batch = pair["cuda"]
    full = model.train().loss(model(batch), batch)["total"].item()
    with torch.autocast("cuda", torch.bfloat16):
        outputs = model(batch)
    outputs = {name: value.float() if value.is_floating_point() else value for name, value in outputs.items()}
    half = model.loss(outputs, batch)["total"]
    half.backward()
    assert half.item() == pytest.approx(full, rel=0.1)
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.requires_grad)


def test_the_queue_on_a_gpu_holds_the_keys_of_the_cpu(pair):
    queues = {}
    for device, (model, batch) in pair.items():
        if getattr(model.config, "contrast", None) is None:
            return
        model.train()(batch)
        model.after_step()
        queues[device] = {name: value for name, value in model.state_dict().items() if "queue" in name}
    for name, value in queues["cpu"].items():
        assert queues["cuda"][name].device.type == "cuda"
        torch.testing.assert_close(queues["cuda"][name].cpu(), value, rtol=0, atol=1e-4, msg=name)


def test_starts_and_ends_are_not_rounded_to_tf32():
    torch.manual_seed(0)
    model = ReLoCLNet(SMALL_RELOCLNET)
    similarity, mask = 10 * torch.randn(50, SMALL_RELOCLNET.clips), torch.ones(50, SMALL_RELOCLNET.clips) > 0
    with torch.no_grad():
        expected = torch.stack(model.span_logits(similarity, mask))
        found = torch.stack(model.cuda().span_logits(similarity.cuda(), mask.cuda()))
    torch.testing.assert_close(found.cpu(), expected, rtol=1e-5, atol=1e-5)
