"""ONNX Runtime as a device: the platform, its probes, graphs and quantization."""
