"""Quadratic neural networks for click-through-rate prediction, on FuxiCTR."""
