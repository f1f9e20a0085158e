"""What travels to a device: standard library, numpy and onnxruntime alone (but :mod:`.program`)."""
