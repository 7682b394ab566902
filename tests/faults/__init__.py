"""A test for each fault that an actor, its callers or the machine can have, by its number."""
