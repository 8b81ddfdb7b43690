"""Training: step, loop, feeds, optimisers and schedules, run folder, checkpoint."""
