"""UCoFiA on a GPU: a training step and a comparison give what the CPU gives; noise is drawn there."""

from copy import deepcopy

import pytest
import torch
from test_ucofia import WITH_CLIP, build, pixels

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def move(batch: dict, device: str) -> dict:
    return {name: value.to(device) for name, value in batch.items()}


@pytest.fixture
def pair():
    """The same model and batch on both devices, with the same noise."""
    model, batch = build(WITH_CLIP).train(), pixels()
    noise = model.selection.draw(torch.zeros(9, 9))
    models = {device: deepcopy(model).to(device) for device in ("cpu", "cuda")}
    for device, each in models.items():
        each.selection.draw = lambda scores, device=device: noise.to(device)
    return {device: (each, move(batch, device)) for device, each in models.items()}


def test_a_training_step_is_that_of_the_cpu(pair):
    losses = {}
    for device, (model, batch) in pair.items():
        losses[device] = model.loss(model(batch), batch)["total"]
        losses[device].backward()
    assert losses["cuda"].device.type == "cuda"
    torch.testing.assert_close(losses["cuda"].cpu(), losses["cpu"], rtol=1e-4, atol=1e-5)
    on_gpu = dict(pair["cuda"][0].named_parameters())
    for name, parameter in pair["cpu"][0].named_parameters():
        if parameter.grad is not None:
            largest = parameter.grad.abs().max().item()
            error = (on_gpu[name].grad.cpu() - parameter.grad).abs().max().item()
            assert error <= 2e-3 * largest + 1e-5, f"gradient of {name}: {error:.1e} of {largest:.1e}"


def test_similarities_are_those_of_the_cpu_and_in_full_precision(pair):
    levels = {}
    for device, (model, batch) in pair.items():
        with torch.no_grad(), torch.autocast(device, torch.bfloat16, enabled=False):
            levels[device] = model.eval()(batch)["levels"].cpu()
    torch.testing.assert_close(levels["cuda"], levels["cpu"], rtol=1e-3, atol=1e-3)
    model, batch = pair["cuda"]
    with torch.no_grad(), torch.autocast("cuda", torch.bfloat16):
        assert model(batch)["levels"].dtype == torch.float32


def test_noise_is_drawn_on_the_gpu_from_its_own_seed():
    selection, scores = build(WITH_CLIP).selection.cuda(), torch.zeros(4, 9, device="cuda")
    selection.generator = torch.Generator("cuda").manual_seed(1)
    first = selection.draw(scores)
    selection.generator.manual_seed(1)
    assert first.device.type == "cuda" and torch.equal(selection.draw(scores), first)
