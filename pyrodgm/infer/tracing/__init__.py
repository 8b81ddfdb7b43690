"""Programs as graphs of tensor operations, and the contexts in which they run."""
