"""The cost of a model: parameters, multiply-adds, CPU time."""
