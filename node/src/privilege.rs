//! The one privilege that a node can use: sending raw packets.
//!
//! A program may be allowed to take a privilege that it does not hold yet: a container of a user other than root gets
//! `CAP_NET_RAW` through the program's file alone (capabilities(7), "File capabilities"), and the file of our image only permits
//! it, because a file that demands it could not be started at all where the runtime took it away.

/// Takes the right to send raw packets where this process may have it. Called before there is a second thread: the others
/// inherit it.
pub(crate) fn take_raw_packets() {
    #[cfg(target_os = "linux")]
    {
        use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
        let Ok(mut held) = capabilities(None) else { return };
        if held.permitted.contains(CapabilitySet::NET_RAW) && !held.effective.contains(CapabilitySet::NET_RAW) {
            held.effective |= CapabilitySet::NET_RAW;
            // Where even that is forbidden the engine finds no raw socket, scans with connections, and says so.
            let _ = set_capabilities(None, held);
        }
    }
}
