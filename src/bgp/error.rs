//! NOTIFICATIONs: what went wrong, in the protocol's own numbers (RFC 4271 §4.5 and §6, IANA BGP Error Codes).

/// A NOTIFICATION message. A decode error *is* the NOTIFICATION it causes: there is no second table to keep in step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    /// Error code.
    pub code: u8,
    /// Error subcode; 0 is Unspecific.
    pub subcode: u8,
    /// Depends on code and subcode; for Cease/2 and Cease/4 a text (RFC 9003).
    pub data: Vec<u8>,
}
