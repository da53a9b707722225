//! What `herald status` shows, taken from the cores at one moment.
