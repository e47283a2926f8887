"""Students in use, in torch or ONNX: features of recordings, of long recordings in parts, and of streams."""
