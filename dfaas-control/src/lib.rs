//! The mind of the agent: messages, node table and strategies, without I/O, clock or randomness.
