"""Where the batches of a training run come from: one file for each kind of data."""
