//! The harness for system tests: clusters of real processes, labs of network namespaces.
