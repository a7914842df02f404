"""A run as one ONNX file: how it is written (which needs torch), and how it is used (which does not)."""
