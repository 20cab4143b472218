"""The embedding store: schema, plan, atomic writes, reading, SQL."""
