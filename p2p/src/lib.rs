//! Carries bytes between nodes: identities, the libp2p mesh, streams, frames.
