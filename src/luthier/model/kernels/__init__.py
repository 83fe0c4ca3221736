"""Fused pieces of a model, each behind a switch of ``runtime.kernels``; none changes a result beyond rounding."""
