//! A fixed set of threads that run blocking probes.
