"""What the trainer will see: the first batch, or one row on its way, with the reason for every mark."""
