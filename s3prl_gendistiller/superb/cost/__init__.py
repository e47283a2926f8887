"""What a model costs: parameters, multiply-adds, CPU time."""
