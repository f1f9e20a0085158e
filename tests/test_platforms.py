"""What each platform does beyond what all promise (see test_contracts.py)."""

import base64
import dataclasses

import onnx
import pytest

from netadapt.errors import DeviceError, TableError, UnknownName, UsageError
from netadapt.network import LayerShape
from netadapt.platforms import CANARY, OVERHEAD, REFILL, Effort, Workload, open_platform
from netadapt.platforms.ort.hygiene import disturbances, drift_remark
from netadapt.platforms.ort.options import Options
from netadapt.platforms.ort.platform import OrtPlatform
from netadapt.platforms.ort.probes import Probe, build
from netadapt.platforms.synthetic import CALL_S, SyntheticPlatform
from netadapt.tables.lookup import Entry, LookupTable

CONV = LayerShape("conv", 16, 32, (8, 8), (8, 8), bias=True, act="relu")
POOL = LayerShape("global_pool", 32, 32, (8, 8), (1, 1))
LAYERS = [OVERHEAD, CONV, POOL]
QUICK = Effort(warmups=1, passes=2, bursts=1, runs=3)
NET = build(Probe("layer", CONV))


def test_unknown_platforms_and_options():
    with pytest.raises(UnknownName, match="did you mean ort"):
        open_platform("orf:cpu")
    with pytest.raises(UnknownName, match="did you mean threads"):
        open_platform("ort:cpu?thread=2")
    with pytest.raises(UsageError, match="no number"):
        open_platform("ort:cpu?threads=many")
    with pytest.raises(UsageError, match="'most' is none of basic, extended, all"):
        open_platform("ort:cpu?level=most")
    with pytest.raises(UsageError, match="from 1 to 1024"):
        open_platform("ort:cpu?batch=0")
    for query in ("threads", "threads=", "threads=1&threads=2"):
        with pytest.raises(UsageError, match="Cannot read the options"):
            open_platform(f"ort:cpu?{query}")
    with pytest.raises(UsageError, match="no number"):
        open_platform("synthetic:?block=wide")
    with pytest.raises(UsageError, match="Give the table"):
        open_platform("replay:")
    with pytest.raises(DeviceError, match="No such file"):
        open_platform("replay:/nowhere.csv")


def test_an_absent_provider_is_refused_with_those_present():
    with pytest.raises(DeviceError, match=r"present: .*cpu"):
        open_platform("ort:abacus").describe()


def test_where_a_provider_compiles_whole_networks_sums_are_to_be_verified():
    azure = OrtPlatform("ort:azure", Options("azure"))  # in every wheel; the CPU does the work
    found = dict(azure.measure_layers([CONV], QUICK))
    assert found[CONV].clock == "wall"
    assert any("azure compiles stretches" in w and "table verify" in w
               for w in found[CONV].warnings)  # fmt: skip
    assert azure.measure_networks([Workload("net", NET, ())], QUICK)[0]["latency"].clock == "wall"


def test_in_8_bits_the_layout_is_nhwc_and_cold_weights_are_not_asked():
    platform = open_platform("ort:cpu?precision=int8")
    assert platform.describe().layout == "NHWC"
    assert platform.describe().precision == "int8"
    assert set(dict(platform.measure_layers([CONV, REFILL], QUICK))) == {CONV, CANARY}
    assert "precision=int8" in platform.uri


@pytest.mark.parametrize("saturates", [True, False, None])
def test_what_8_bits_are_quantized_to_follows_from_what_the_device_showed(saturates):
    """The plan that a device is sent is looked into; it answers with what its integers do."""
    sent = []

    def talk(link, settings, items):
        assert settings["integer_model"]
        sent.extend(item.model() for item in items)
        facts = {"device": "d", "machine": "m", "runtime": "r", "block": 8, "layout": "NCHWc"}
        yield {"kind": "info", **facts, "cache_mb": 1.0, "saturates": saturates,
               "processors": 2}  # fmt: skip
        yield {"kind": "done"}

    assert not OrtPlatform(talk=talk).describe().saturates
    platform = OrtPlatform(options=Options(precision="int8"), talk=talk)
    if saturates is None:
        with pytest.raises(DeviceError, match=r"cannot compute .* 8 bits.*precision=float32"):
            platform.describe()
        return
    assert platform.describe().saturates is saturates
    list(platform.measure_layers([CONV], QUICK))
    largest = 0
    for line in sent:
        model = onnx.load_from_string(base64.b64decode(line["model"]))
        fills = [n.attribute[0].t for n in model.graph.node if n.op_type == "ConstantOfShape"]
        for tensor in (*model.graph.initializer, *fills):
            if tensor.data_type == onnx.TensorProto.INT8:
                largest = max(largest, int(abs(onnx.numpy_helper.to_array(tensor)).max()))
    assert largest == (64 if saturates else 127)


def test_tables_of_devices_whose_integers_differ_are_not_mixed(tmp_path):
    device = SyntheticPlatform().describe()
    exact = dataclasses.replace(device, precision="int8")
    table = LookupTable(dataclasses.replace(exact, saturates=True))
    table.save(tmp_path / "t.csv")
    assert LookupTable.load(tmp_path / "t.csv").info == table.info
    with pytest.raises(TableError, match=r"\(saturates: True vs\. False, table first\)"):
        table.require(exact)
    text = (tmp_path / "t.csv").read_text().replace("# saturates: True\n", "")
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(TableError, match="lacks 'saturates'"):
        LookupTable.load(tmp_path / "t.csv")
    LookupTable(device).save(tmp_path / "t.csv")
    assert "saturates" not in (tmp_path / "t.csv").read_text()


def test_a_device_without_blocks_still_prefers_widths_of_vectors():
    info = open_platform("synthetic:?block=1").describe()
    assert (info.block, info.multiple) == (1, 8)
    assert open_platform("synthetic:?block=16").describe().multiple == 16


def test_ort_describes_this_machine():
    info = open_platform("ort:cpu?threads=2").describe()
    assert info.platform == "ort:cpu"
    assert info.threads == 2
    assert info.runtime.startswith("onnxruntime ")
    assert info.block in (1, 8, 16)


def test_ort_yields_what_it_could_time_before_it_complains():
    wrong = LayerShape("conv", 16, 16, (2, 2), (1, 1), (5, 5), groups=3)
    found = {}

    def measure():
        for shape, measurement in OrtPlatform().measure_layers([wrong, CONV], QUICK):
            found[shape] = measurement

    with pytest.raises(DeviceError, match="cannot run the layer conv 16>16"):
        measure()
    assert CONV in found


def test_ort_names_the_network_that_it_cannot_run():
    with pytest.raises(DeviceError, match="cannot run mynet: it is no ONNX model"):
        OrtPlatform().measure_networks([Workload("mynet", b"no model", ())], QUICK)
    wrong = build(Probe("layer", LayerShape("conv", 16, 16, (2, 2), (1, 1), (5, 5), groups=3)))
    with pytest.raises(DeviceError, match="cannot run mynet"):
        OrtPlatform().measure_networks([Workload("mynet", wrong, ())], QUICK)


def test_several_inputs_open_dimensions_and_integers():
    def value(name, kind, dims):
        return onnx.helper.make_tensor_value_info(name, kind, dims)

    real, whole = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64
    nodes = [
        onnx.helper.make_node("Gather", ["t", "i"], ["g"]),
        onnx.helper.make_node("Add", ["g", "x"], ["y"]),
    ]
    inputs = [value("t", real, ["N", 8]), value("i", whole, ["M"]), value("x", real, ["N", 8])]
    graph = onnx.helper.make_graph(nodes, "odd", inputs, [value("y", real, None)])
    opset = [onnx.helper.make_opsetid("", 17)]
    odd = onnx.helper.make_model(graph, opset_imports=opset, ir_version=9).SerializeToString()
    [readings] = OrtPlatform().measure_networks([Workload("odd", odd, ())], QUICK)
    measured = readings["latency"]
    assert len(measured.samples) == 6


def test_ort_says_what_was_not_as_it_should_be():
    platform = OrtPlatform()
    measured = platform.measure_networks([Workload("net", NET, ())], QUICK)[0]["latency"]
    assert any(warning.startswith("Only 6 runs") for warning in measured.warnings)


def test_ort_names_what_disturbs_and_its_remedy():
    state = {"load": 9.0, "processors": 2, "governor": "powersave", "temperature_c": 91.0}
    said = " ".join((*disturbances(state, threads=4), *drift_remark(0.3)))
    for word in ("load was 9.0", "cpupower", "throttled", "4 threads on 2", "varied by 30%"):
        assert word in said
    calm = {"load": 0.1, "processors": 2, "governor": None, "temperature_c": None}
    assert disturbances(calm, threads=2) == ()
    assert drift_remark(0.01) == ()


def test_an_unknown_activation_is_left_out_and_told():
    odd = dataclasses.replace(CONV, act="wobble")
    found = dict(OrtPlatform().measure_layers([odd], QUICK))
    assert any("wobble" in warning for warning in found[odd].warnings)


def test_more_passes_until_the_minimum_time():
    effort = Effort(warmups=0, passes=1, bursts=1, runs=1, min_seconds=0.002)
    measured = OrtPlatform().measure_networks([Workload("net", NET, ())], effort)[0]["latency"]
    assert sum(measured.samples) >= 0.002


def test_a_layer_that_more_runs_came_of_is_answered_again():
    def talk(link, settings, items):
        """A device that visits all once, as it was told to, and then goes on for a while."""
        yield {"kind": "info", "clock": "cpu", "processors": 2}
        for _ in range(3):
            for item in items:
                yield {"kind": "visit", "id": item.id, "ns": [2000, 1000, 3000]}
        yield {"kind": "done"}

    effort = dataclasses.replace(QUICK, passes=1, spread_s=0.3)
    found = [len(m.samples) for _, m in OrtPlatform(talk=talk).measure_layers([CONV], effort)]
    assert found == [3, 9]


def test_replay_answers_as_recorded_and_names_what_it_lacks(tmp_path):
    info = open_platform("synthetic:").describe()
    recorded = Entry(1e-5, 2e-5, 4e-5, 48)
    LookupTable(info, {OVERHEAD: Entry(1e-6, 1e-6, 1e-6, 48), CONV: recorded}).save(
        tmp_path / "t.csv"
    )
    platform = open_platform(f"replay:{tmp_path / 't.csv'}")
    [(_, measured)] = platform.measure_layers([CONV])
    assert (measured.p10, measured.median, measured.p90) == (1e-5, 2e-5, 4e-5)
    with pytest.raises(DeviceError, match="no recording of the layer global_pool"):
        list(platform.measure_layers([POOL]))
    with pytest.raises(DeviceError, match="cannot answer for net"):
        platform.measure_networks([Workload("net", b"", (POOL,))])
    with pytest.raises(DeviceError, match="not known"):
        platform.measure_networks([Workload("net.onnx", NET, ())])
    [network] = platform.measure_networks([Workload("net", b"", (CONV,))])
    assert network["latency"].p10 == pytest.approx(1.1e-5)


def test_a_table_of_another_block_is_refused():
    table = LookupTable(SyntheticPlatform(block=8).describe())
    with pytest.raises(TableError, match=r"block: 8 vs\. 16"):
        table.fill(SyntheticPlatform(block=16), [CONV])


def test_the_synthetic_device_is_flat_inside_a_block_and_steps_between():
    device = SyntheticPlatform(block=16, cold=0.0)

    def seconds(cout):
        return device.layer_s(dataclasses.replace(CONV, cout=cout))

    assert seconds(20) == seconds(32)
    step = seconds(48) - seconds(32)
    assert step > 0
    assert seconds(64) - seconds(48) == pytest.approx(step)
    assert seconds(33) > 2 * seconds(48)  # no multiple of 4


def test_the_synthetic_network_is_its_layers_its_call_and_its_cold_weights():
    device, free = SyntheticPlatform(cold=1e-3), SyntheticPlatform(cold=0.0)
    half = LayerShape("linear", 250, 500)  # 0.5 MB in a cache of 1 MB: half is found
    assert device.layer_s(half) == pytest.approx(free.layer_s(half) + 0.25e-3)
    assert device.truth([half]) == pytest.approx(CALL_S + device.layer_s(half))
    # four of them hold 2 MB: nothing is found, 2 MB are read
    expected = CALL_S + 4 * free.layer_s(half) + 2e-3
    assert device.truth([half] * 4) == pytest.approx(expected)


def test_a_table_of_the_synthetic_device_knows_what_cold_weights_cost():
    device = SyntheticPlatform(cold=1e-3)
    half, whole = LayerShape("linear", 250, 500), LayerShape("linear", 500, 500)
    table = LookupTable(device.describe()).fill(device, [half, whole])
    for layers in ([half], [half] * 4, [whole, half], [CONV, CONV][:0]):
        assert table.price(layers) == pytest.approx(device.truth(layers))


def test_synthetic_noise_is_seeded_and_only_adds():
    device = SyntheticPlatform(noise=0.1, seed=3)
    first, again = (dict(device.measure_layers([CONV]))[CONV] for _ in range(2))
    assert first == again
    assert min(first.samples) >= device.layer_s(CONV)
    other = dict(SyntheticPlatform(noise=0.1, seed=4).measure_layers([CONV]))[CONV]
    assert other != first
