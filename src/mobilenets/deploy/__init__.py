"""A network as a device sees it, a short list of operators with folded weights, and its quantization and file formats."""
