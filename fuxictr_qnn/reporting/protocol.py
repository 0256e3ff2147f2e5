"""The numbers of the protocol (docs/comparing.md); who only names them does not wait for scipy."""

LEVEL = 0.95  # of intervals; tests reject at 1 - LEVEL
POWER = 0.8  # with which a detectable difference is found
LEAST_SEEDS = 3  # fewer say nothing about the spread: no test is made
LEAST_GAIN = 0.0005  # AUC; less is a tie whatever the tests say
