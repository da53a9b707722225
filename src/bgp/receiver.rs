//! The passive side that only listens: what a neighbour announces to us, decoded.
