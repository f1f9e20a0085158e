"""What a board says of itself; and one whose sensor is there as long as a file is not."""

from dataclasses import dataclass
from pathlib import Path

from netadapt.errors import DeviceError
from netadapt.platforms.synthetic import SyntheticPlatform

INFO = {
    "kind": "info", "device": "board", "machine": "x86_64", "runtime": "onnxruntime 1.30",
    "block": 8, "layout": "NCHWc", "cache_mb": 1.0, "processors": 4, "clock": "cpu",
    "sensor": "rapl:package-0", "providers": ["cpu"], "sensors": {"rapl": "rapl:package-0"},
}  # fmt: skip


@dataclass(frozen=True)
class Unplugged(SyntheticPlatform):
    """Its sensor is gone after so many asked-for networks, until the file ``mended`` is there."""

    after: int = 0
    mended: str = ""

    def measure_networks(self, models, effort=None, progress=None):
        """What the board tells."""
        asked = Path(self.mended).with_suffix(".asked")
        count = len(asked.read_bytes()) if asked.exists() else 0
        if count >= self.after and not Path(self.mended).exists():
            raise DeviceError("The energy sensor synthetic:board cannot be read any more.")
        with asked.open("ab") as file:
            file.write(b".")
        return super().measure_networks(models, *([effort] if effort else []), progress)


def unplugged(after: str, mended: str) -> Unplugged:
    """``tests.boards:unplugged?after=9&mended=FILE``."""
    return Unplugged(energy="sensor", after=int(after), mended=mended)
