"""A trained model behind OpenAI's chat completions over HTTP."""
