"""The embedding store: card, schema, parts, merge, reading; layouts of other tools."""
