//! Reads passwords and tokens, from files that are the daemon's alone.

use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::load::{content, open};
use crate::config::{BearerToken, Secret};

/// The password in a file.
///
/// # Errors
/// What is the matter with the file, without a word of what is in it. One that others may open holds no secret.
pub(super) fn read(path: &Path) -> Result<Secret, String> {
    Secret::from_file(&closed(path)?)
}

/// The bearer token in a file.
///
/// # Errors
/// As [`read`].
pub(super) fn read_token(path: &Path) -> Result<BearerToken, String> {
    BearerToken::from_file(&closed(path)?)
}

/// The content of a file that is the daemon's alone.
fn closed(path: &Path) -> Result<Vec<u8>, String> {
    let (file, metadata) = open(path)?;
    let mode = metadata.permissions().mode() & 0o777;
    // With an access list the group's bits are not the group's, but what the list may grant at most (acl(5)).
    let closed = mode & 0o007 == 0 && (mode & 0o070 == 0 || has_one_reader(&file));
    if !closed {
        return Err(format!("is open to others than its owner (mode {mode:04o}): make it 0600 or 0400"));
    }
    content(path, file)
}

/// Whether an access list grants something to one user at most, and to nobody else: so systemd hands a credential of
/// root's to the user that a service runs as.
fn has_one_reader(file: &File) -> bool {
    /// Larger ones are for more than one reader.
    const SIZE: usize = 256;
    let mut list = [0; SIZE];
    let length = rustix::fs::fgetxattr(file, "system.posix_acl_access", &mut list[..]).unwrap_or(0);
    list.get(..length).is_some_and(grants_to_one)
}

/// `struct posix_acl_xattr_header` and `posix_acl_xattr_entry` of `linux/posix_acl_xattr.h`, little-endian.
fn grants_to_one(list: &[u8]) -> bool {
    const VERSION: [u8; 4] = 2_u32.to_le_bytes();
    const OWNER: u16 = 0x01;
    const USER: u16 = 0x02;
    const MASK: u16 = 0x10;
    let Some(entries) = list.strip_prefix(&VERSION) else { return false };
    let mut users = 0;
    for entry in entries.chunks(8) {
        let [tag_low, tag_high, granted_low, granted_high, _, _, _, _] = *entry else { return false };
        let granted = [granted_low, granted_high] != [0, 0];
        match u16::from_le_bytes([tag_low, tag_high]) {
            OWNER | MASK => {}
            USER if granted => users += 1,
            _ if granted => return false,
            _ => {}
        }
    }
    users <= 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(entries: &[(u16, u16, u32)]) -> Vec<u8> {
        let mut list = 2_u32.to_le_bytes().to_vec();
        for (tag, granted, id) in entries {
            list.extend([&tag.to_le_bytes()[..], &granted.to_le_bytes(), &id.to_le_bytes()].concat());
        }
        list
    }

    #[test]
    fn an_access_list_may_name_one_reader() {
        const NOBODY: u32 = u32::MAX;
        let (owner, group, mask, other) = ((1, 4, NOBODY), (4, 0, NOBODY), (16, 4, NOBODY), (32, 0, NOBODY));
        let credential = list(&[owner, (2, 4, 64123), group, mask, other]);
        assert!(grants_to_one(&credential));
        for open in [
            list(&[owner, (2, 4, 1), (2, 4, 2), group, mask, other]),
            list(&[owner, (2, 4, 1), (4, 4, NOBODY), mask, other]),
            list(&[owner, (2, 4, 1), group, (8, 4, 5), mask, other]),
            list(&[owner, (2, 4, 1), group, mask, (32, 4, NOBODY)]),
            credential[..credential.len() - 1].to_vec(),
            credential[4..].to_vec(),
            Vec::new(),
        ] {
            assert!(!grants_to_one(&open), "{open:?}");
        }
    }
}
