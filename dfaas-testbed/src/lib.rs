//! Network namespaces, processes and federations for the demo and the tests.
