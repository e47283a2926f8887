"""Students in use: one call for those in torch and those in ONNX."""
