//! How to look at a network: targets, ports, probes, states, findings, reports.
