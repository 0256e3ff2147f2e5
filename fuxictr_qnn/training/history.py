"""What a line of history.jsonl, an evaluation, holds beside its metrics."""

NOT_METRICS = {"evaluation", "epoch", "step", "train_loss", "learning_rate", "best", "lr_cut", "seconds"}
