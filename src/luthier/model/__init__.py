"""The model: its tokenizer, where its weights come from, what is added to them, how they are saved."""
