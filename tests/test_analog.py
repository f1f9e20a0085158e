"""Networks on analog chips: published errors of a matrix product, and what a chip keeps."""

import statistics
from dataclasses import replace

import pytest
import torch
from torch import nn

from netadapt.cli import main
from netadapt.config import Recipe
from netadapt.config.rungs import Rung
from netadapt.dry_run import _scored
from netadapt.export.analog import (
    AnalogLayer,
    analog_score,
    on_chip,
    quantized,
    score_on,
    training_on,
)
from netadapt.platforms import open_platform
from netadapt.platforms.accelerators.noise import (
    NOISES,
    PCM,
    RRAM,
    SIMPLE,
    AnalogHardware,
    Converters,
    Noise,
)
from netadapt.training.programming import program, training_noise

PERFECT = Noise("perfect", "none", 1.0, ((0.0, (0.0,)),))
DAY_S = 86_400.0


def product_error(fan_in, hardware, chips=6):
    """Standard deviation of the error over that of the result; normal weights, ReLU inputs."""
    found = []
    for seed in range(chips):
        source = torch.Generator().manual_seed(seed)
        layer = nn.Linear(fan_in, 64, bias=False)
        with torch.no_grad():
            layer.weight.copy_(torch.randn(64, fan_in, generator=source) / fan_in**0.5)
            inputs = torch.randn(512, fan_in, generator=source).clamp_min(0)
            exact = layer(inputs)
            analog = on_chip(layer, hardware, 1000 + seed)(inputs)
        found.append(float((analog - exact).std() / exact.std()))
    return statistics.fmean(found)


@pytest.mark.parametrize(
    ("noise", "seconds", "weights_alone", "with_converters"),
    [
        (PCM, 25.0, 0.117, 0.124),
        (PCM, DAY_S, 0.167, 0.176),
        (RRAM, 1.0, 0.155, 0.159),
        (RRAM, DAY_S, 0.262, 0.265),
        (SIMPLE, 1.0, 0.094, 0.102),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_a_matrix_product_is_off_as_published_devices_are(
    noise, seconds, weights_alone, with_converters
):
    hardware = AnalogHardware(noise, seconds)
    assert product_error(576, replace(hardware, converters=None)) == pytest.approx(
        weights_alone, rel=0.07
    )
    assert product_error(576, hardware) == pytest.approx(with_converters, rel=0.07)


def test_converters_alone_disturb_small_products_more():
    converters = AnalogHardware(PERFECT)
    assert product_error(576, converters) == pytest.approx(0.038, rel=0.07)
    quiet = replace(converters, converters=Converters(adc_bits=8, output_noise=0.0))
    assert product_error(27, quiet) == pytest.approx(0.037, rel=0.07)
    assert product_error(27, converters) > 2 * product_error(576, converters)


@pytest.mark.parametrize(("kernel", "channels"), [(1, 27), (3, 3)])
def test_a_convolution_is_off_as_the_product_of_its_patches_is(kernel, channels):
    source = torch.Generator().manual_seed(0)
    conv = nn.Conv2d(channels, 64, kernel, bias=False)
    linear = nn.Linear(27, 64, bias=False)
    with torch.no_grad():
        conv.weight.copy_(torch.randn(conv.weight.shape, generator=source))
        linear.weight.copy_(conv.weight.reshape(64, 27))
        images = torch.randn(4, channels, 24, 24, generator=source).clamp_min(0)
        patches = nn.functional.unfold(images, kernel).transpose(1, 2)
        off = [
            float((on_chip(layer, AnalogHardware(PERFECT), 7)(inputs) - layer(inputs)).std())
            for layer, inputs in ((conv, images), (linear, patches))
        ]
    assert off[0] == pytest.approx(off[1], rel=0.05)


@pytest.mark.parametrize("layer", [
    nn.Conv2d(4, 8, 3, padding=1, groups=4), nn.Conv2d(4, 8, 3, stride=2, padding=2, dilation=2),
    nn.Conv2d(4, 8, 3, padding="same"), nn.Conv2d(4, 8, (1, 5), padding=(0, 4)),
    nn.Conv2d(4, 8, 3, padding=1, padding_mode="reflect"), nn.ConvTranspose2d(4, 8, 2, 2),
], ids=str)  # fmt: skip
def test_fine_converters_change_nothing(layer):
    images = torch.randn(2, 4, 9, 9, generator=torch.Generator().manual_seed(0))
    fine = Converters(input_bits=20, adc_bits=20, bound=60.0, output_noise=0.0)
    with torch.no_grad():
        chip = on_chip(layer, AnalogHardware(PERFECT, converters=fine), 0)
        assert torch.allclose(chip(images), layer(images), atol=1e-3)


def test_cells_that_cannot_be_switched_off_disturb_more():
    ideal = AnalogHardware(SIMPLE, converters=None)
    assert product_error(144, replace(ideal, on_off=10.0)) > 1.15 * product_error(144, ideal)


def test_without_rescaling_drift_shrinks_every_output():
    torch.manual_seed(0)
    layer = nn.Linear(256, 64, bias=False)
    inputs = torch.randn(64, 256)
    hardware = AnalogHardware(PCM, 1000.0, converters=None)
    with torch.no_grad():
        exact = layer(inputs).norm()
        drifted = on_chip(layer, replace(hardware, rescaled=False), 0)(inputs).norm() / exact
        rescaled = on_chip(layer, hardware, 0)(inputs).norm() / exact
    assert drifted == pytest.approx((1020 / 20) ** -0.055, abs=0.04)
    assert rescaled == pytest.approx(1.0, abs=0.03)


def small_network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 8, 3, groups=8, padding=1, bias=False), nn.ReLU(),
        nn.ConvTranspose2d(8, 6, 2, stride=2), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(6, 5),
    ).eval()  # fmt: skip


def test_a_perfect_chip_computes_the_network():
    model = small_network()
    images = torch.randn(4, 3, 8, 8)
    with torch.no_grad():
        chip = on_chip(model, AnalogHardware(PERFECT, converters=None), 0)
        assert torch.allclose(chip(images), model(images), atol=1e-5)


def test_errors_of_programming_stay_with_a_chip_and_reads_differ():
    layer, images = nn.Linear(32, 4), torch.ones(1, 32)
    programmed_alone = AnalogHardware(SIMPLE, converters=None)
    with torch.no_grad():
        chip = on_chip(layer, programmed_alone, 0)
        assert torch.equal(chip(images), chip(images))
        assert not torch.equal(chip(images), on_chip(layer, programmed_alone, 1)(images))
        reading = on_chip(layer, AnalogHardware(PCM, converters=None), 0)
        assert not torch.equal(reading(images), reading(images))


def test_the_same_seed_draws_the_same_chips_and_leaves_the_model_alone():
    model, images = small_network(), torch.randn(2, 3, 8, 8)
    before = {name: value.clone() for name, value in model.state_dict().items()}

    def metric(chip):
        return float(chip(images).sum())

    first = analog_score(model, metric, AnalogHardware(), chips=3, seed=7)
    assert first == analog_score(model, metric, AnalogHardware(), chips=3, seed=7)
    assert len(set(first.scores)) == 3
    assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())


def test_a_score_is_mean_and_spread_over_chips():
    values = iter([1.0, 2.0, 3.0])
    found = analog_score(nn.Linear(2, 2), lambda _: next(values), AnalogHardware(), chips=3)
    assert (found.mean, found.spread) == (2.0, 1.0)


def test_a_layer_used_twice_is_on_the_chip_once():
    shared = nn.Linear(4, 4)
    chip = on_chip(nn.Sequential(shared, nn.ReLU(), shared), AnalogHardware(), 0)
    assert isinstance(chip[0], AnalogLayer)
    assert chip[0] is chip[2]


def test_a_dry_run_counts_the_scores_on_every_chip():
    """Six are scored as they are after a part of their steps, the best two then on ten chips."""
    rungs = {0: Rung(6, 0.25), 1: Rung(2)}
    assert _scored(rungs, chips=10) == 6 + 2 * 10
    assert _scored({0: Rung(3)}, chips=1) == 3


def test_inputs_are_rounded_to_signed_steps():
    assert quantized(torch.tensor([1.0, -1.0, 0.4]), 2).tolist() == [1.0, -1.0, 0.0]
    assert quantized(torch.tensor([0.3]), 3).tolist() == pytest.approx([1 / 3])


def test_outputs_beyond_the_bound_are_clipped():
    layer = nn.Linear(100, 1, bias=False)
    nn.init.ones_(layer.weight)
    hardware = AnalogHardware(PERFECT, converters=Converters(output_noise=0.0))
    with torch.no_grad():
        assert float(on_chip(layer, hardware, 0)(torch.ones(1, 100))) == pytest.approx(12.0)


def test_programming_errors_of_the_latest_known_time_hold():
    assert RRAM.programming_at(0.5) == RRAM.programming_at(1.0)
    assert RRAM.programming_at(DAY_S + 1)[0] == pytest.approx(0.701 / 40)
    assert {"pcm", "rram", "simple"} == set(NOISES)


def test_each_output_has_its_own_scale():
    weight = torch.tensor([[1.0, -2.0], [0.1, 0.05]])
    cells = program(weight, AnalogHardware(PERFECT), torch.Generator())
    assert cells.scale.flatten().tolist() == pytest.approx([2.0, 0.1])
    assert cells.weight.flatten().tolist() == pytest.approx([0.5, -1.0, 1.0, 0.5])


def test_training_meets_another_chip_at_each_step_and_evaluation_none():
    layer, inputs = nn.Linear(16, 4), torch.ones(1, 16)
    weight = layer.weight
    with training_noise(layer, AnalogHardware(PCM)):
        assert not torch.equal(layer(inputs), layer(inputs))
        layer.eval()
        assert torch.equal(layer(inputs), nn.functional.linear(inputs, weight, layer.bias))
        layer.train()(inputs).sum().backward()
    assert layer.weight is weight
    assert torch.equal(weight.grad, torch.ones(4, 16))
    assert set(layer.state_dict()) == {"weight", "bias"}


def device(uri):
    return open_platform(uri).describe()


def test_a_device_scores_a_model_on_its_chips_and_others_as_it_is():
    model, images = small_network(), torch.ones(1, 3, 8, 8)

    def metric(scored):
        return float(scored(images).sum())

    with torch.no_grad():
        exact = metric(model)
        assert score_on(device("crossbar:"), model, metric).scores == (exact,)
        assert score_on(device("eyeriss:"), model, metric).scores == (exact,)
        noisy = score_on(device("crossbar:?noise=simple&chips=3"), model, metric)
    assert len(noisy.scores) == 3
    assert exact not in noisy.scores
    assert noisy.spread > 0


def test_a_run_meets_an_energy_budget_and_says_that_it_is_modelled(tmp_path, capsys):
    uri = "crossbar:?noise=pcm&chips=3"
    with pytest.raises(SystemExit) as stop:
        main(["adapt", "tests.examples:small_net", "--task", "tests.examples:stripes", "--on", uri,
              "--budget", "energy=60%", "--epochs", "1", "--batch-size", "32",
              "--short-steps", "1", "--long-epochs", "1", "--finalists", "1",
              "--initial-reduction", "40%", "--noise-aware-training",
              "--run", str(tmp_path / "run"), "-q"])  # fmt: skip
    printed = capsys.readouterr().out
    assert stop.value.code == 0
    assert "energy, modelled" in printed
    assert "energy: within the budget" in printed
    assert "test top-1 accuracy, 3 chips" in printed


def test_noise_aware_training_needs_a_device_with_noise(capsys, tmp_path):
    with pytest.raises(SystemExit) as stop:
        main(["adapt", "tests.examples:small_net", "--task", "tests.examples:stripes",
              "--on", "eyeriss:", "--budget", "energy=60%", "--noise-aware-training",
              "--run", str(tmp_path / "run"), "-q"])  # fmt: skip
    assert stop.value.code == 2
    assert "needs a device with noise, and eyeriss: has none" in capsys.readouterr().err


def test_training_takes_the_noise_of_the_device_if_the_recipe_asks():
    layer, inputs = nn.Linear(16, 4), torch.ones(1, 16)
    info = device("crossbar:?noise=pcm")
    with training_on(info, layer, Recipe(noise_aware=False), 0):
        assert torch.equal(layer(inputs), layer(inputs))
    with training_on(info, layer, Recipe(noise_aware=True), 0):
        assert not torch.equal(layer(inputs), layer(inputs))
