from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netadapt.platforms.measurement import DeviceInfo, Measurement, quantile

INFO = DeviceInfo("ort:cpu", "cpu", "x86_64", "onnxruntime 1.0")


def test_quantiles_interpolate():
    assert quantile([4, 1, 3, 2, 5], 0.5) == 3
    assert quantile([0, 10], 0.1) == pytest.approx(1)


def test_spread_is_the_interquartile_range_over_the_median():
    assert Measurement((1.0, 2.0, 3.0, 4.0, 5.0)).spread == pytest.approx(2 / 3)


@given(st.lists(st.floats(1e-6, 1), min_size=1))
def test_measurements_survive_json(samples):
    measurement = Measurement(tuple(samples), "wall", ("load",))
    assert Measurement.from_json(measurement.to_json()) == measurement
    assert measurement.p10 <= measurement.median <= measurement.p90


def test_drift_scales_every_sample():
    assert Measurement((1.0, 2.0)).scaled(0.5).samples == (0.5, 1.0)


def test_no_samples_is_no_measurement():
    with pytest.raises(ValueError, match="at least one"):
        Measurement(())


def test_devices_name_what_differs():
    assert INFO.differences(INFO) == []
    assert INFO.differences(replace(INFO, threads=2)) == ["threads: 1 vs. 2"]
    assert DeviceInfo.from_json(INFO.to_json()) == INFO


def test_saturation_is_told_of_integers_alone():
    int8 = replace(INFO, precision="int8")
    saturating = replace(int8, saturates=True)
    assert "saturates" not in INFO.to_json()
    assert (INFO.weight_bits, int8.weight_bits, saturating.weight_bits) == (8, 8, 7)
    for info in (int8, saturating):
        assert DeviceInfo.from_json(info.to_json()) == info
    assert int8.differences(saturating) == ["saturates: False vs. True"]


def test_noise_is_how_far_the_halves_of_the_runs_differ():
    assert Measurement((1.0,) * 9 + (1.2,) * 9).noise == pytest.approx(1 / 6)  # 1.0 against 1.2
    assert Measurement((2.0,)).noise == 0.0
    assert Measurement((1.0, 0.0)).noise == 0.0
