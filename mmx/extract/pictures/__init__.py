"""A picture file to the pixels an encoder expects: the rule, decoding, on a CPU or on a GPU."""
