"""The drawn sample: a catalogue of made-up pictures and texts, and its users."""
