"""From a checkpoint to a model folder: ONNX, parity check, card, golden outputs.

May read torch checkpoints and validation data; never a test split for choosing anything.
"""
