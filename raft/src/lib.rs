//! Who looks where: the replicated job log, its state machine and its store.
