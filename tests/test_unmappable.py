"""What hardware on paper cannot compute, and what is no hardware, through every command."""

import pytest
from torch import nn

from netadapt.cli import main
from netadapt.platforms import PLATFORMS, open_platform
from netadapt.platforms.accelerators.platform import ModelledPlatform

NAME = "tests.test_unmappable"


class Volume(nn.Module):
    """A network with a 3-d convolution."""

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        self.flat = nn.Conv2d(3, 8, 3, padding=1)
        self.deep = nn.Conv3d(8, 8, 1)
        self.head = nn.Linear(8, num_classes)

    def forward(self, images):
        return self.head(self.deep(self.flat(images).relu().unsqueeze(2)).mean((2, 3, 4)))


def volume(num_classes: int = 10) -> nn.Module:
    """``tests.test_unmappable:volume``."""
    return Volume(num_classes)


def upward(num_classes: int = 10) -> nn.Module:
    """Ends in a transposed convolution before its classifier."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.ConvTranspose2d(8, 8, 2, 2),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, num_classes),
    )  # fmt: skip


def sparse(num_classes: int = 10) -> nn.Module:
    """Begins with a convolution that is strided and dilated."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 2, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(8, num_classes),
    )  # fmt: skip


@pytest.fixture
def run(capsys, tmp_path):
    """Exit code and errors of a command in an empty folder, where it must leave nothing."""

    def netadapt(command, model, uri):
        given = {
            "adapt": ["--data", "digits", "--budget", "energy=50%", "--run", str(tmp_path / "run")],
            "inspect": ["--input-size", "32"],
            "measure": ["--input-size", "32"],
            "table build": ["--input-size", "32", "-o", str(tmp_path / "t.csv")],
        }[command]
        with pytest.raises(SystemExit) as stop:
            main([*command.split(), f"{NAME}:{model}", *given, "--on", uri])
        assert not list(tmp_path.iterdir())
        return stop.value.code, capsys.readouterr().err.strip()

    return netadapt


MODELLED = ("eyeriss:", "crossbar:", "optical:", "optical:?kind=mesh", "optical:?kind=link")
COMMANDS = ("adapt", "inspect", "measure", "table build")


def test_no_modelled_platform_is_missing_here():
    """A scheme that opens without more is modelled, or listed as measured."""
    known = {uri.partition(":")[0] for uri in MODELLED}
    others = {"ort", "ssh", "replay", "synthetic"}
    assert known | others == set(PLATFORMS)
    assert all(isinstance(open_platform(uri), ModelledPlatform) for uri in MODELLED)


@pytest.mark.parametrize("command", COMMANDS[:3])
@pytest.mark.parametrize(
    ("uri", "model", "layer"),
    [
        *[(uri, "volume", "deep (conv_nd 8>8") for uri in MODELLED],
        ("eyeriss:", "upward", "2 (conv_transpose 8>8 k2x2"),
        ("eyeriss:", "sparse", "0 (conv 3>8 k3x3 s2x2 p2x2 d2x2"),
    ],
)
def test_a_layer_that_cannot_be_mapped_ends_a_command_by_name(run, command, uri, model, layer):
    code, said = run(command, model, uri)
    assert code == 3
    assert said.startswith(f"Error: Layer {layer}")
    assert "cannot be mapped" in said
    assert "hoose other hardware" in said
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize("uri", MODELLED)
def test_no_table_is_built_of_hardware_on_paper(run, uri):
    code, said = run("table build", "volume", uri)
    assert code == 2
    assert "does not time layers" in said


@pytest.mark.parametrize("command", COMMANDS)
def test_a_noise_preset_that_does_not_exist_ends_every_command(run, command):
    code, said = run(command, "volume", "crossbar:?noise=pmc")
    assert (code, said) == (2, "Error: There is no noise preset 'pmc'; did you mean pcm?")


@pytest.mark.parametrize("uri", ["ort:cpu?energy=coal", "ssh://nowhere.invalid?energy=coal"])
@pytest.mark.parametrize("command", COMMANDS)
def test_a_sensor_that_does_not_exist_ends_every_command(run, command, uri):
    code, said = run(command, "volume", uri)
    assert code == 2
    assert "no energy sensor 'coal'; choose rapl, nvml" in said
