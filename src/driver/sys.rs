//! What no library of ours asks of the system: socket options, and one of the allocator's. The only unsafe code of the tree is
//! in this file.
#![expect(unsafe_code, reason = "setsockopt, getsockopt and mallopt with what socket2, rustix and nix do not know")]

use std::ffi::c_int;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd};

use crate::config::Secret;
use crate::prefix::Prefix;

/// From now on segments from and to `peers` carry a signature (RFC 2385), and those without or with a wrong one are
/// dropped; of several prefixes that cover a peer the longest counts. On a socket that connects: before it does. On one
/// that listens: for what these peers will connect, any time; `None` takes the secret away again.
///
/// # Errors
/// The system's word when it has no TCP-MD5, or no memory for one more secret.
pub(super) fn set_tcp_md5(socket: &impl AsFd, peers: &Prefix, secret: Option<&Secret>) -> io::Result<()> {
    let octets = secret.map(Secret::expose).unwrap_or_default();
    let mut key = [0; Secret::MAX];
    let Some(room) = key.get_mut(..octets.len()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    room.copy_from_slice(octets);
    let is_host = *peers == Prefix::host(peers.address());
    let (name, flags) = if is_host { (libc::TCP_MD5SIG, 0) } else { (TCP_MD5SIG_EXT, TCP_MD5SIG_FLAG_PREFIX) };
    // Without TCP_MD5SIG_FLAG_IFINDEX the kernel takes the secret whatever the interface or VRF.
    let option = TcpMd5 {
        peer: Address::from(peers.address()),
        flags,
        prefix_length: peers.len(),
        key_length: u16::try_from(octets.len()).unwrap_or(u16::MAX),
        interface: 0,
        key,
    };
    set(socket, libc::IPPROTO_TCP, name, &option)
}

/// From now on segments with a TTL or hop limit below `least` are dropped (RFC 5082), before they can do anything.
///
/// # Errors
/// The system's word.
pub(super) fn set_least_received_ttl(socket: &impl AsFd, peer: IpAddr, least: u8) -> io::Result<()> {
    let least = c_int::from(least);
    match peer {
        IpAddr::V4(_) => set(socket, libc::IPPROTO_IP, libc::IP_MINTTL, &least),
        IpAddr::V6(_) => set(socket, libc::IPPROTO_IPV6, libc::IPV6_MINHOPCOUNT, &least),
    }
}

/// Of ICMP messages (IPv4) only those of these types are received from now on: by a raw socket, and types below 32.
///
/// # Errors
/// The system's word.
pub(super) fn set_icmp_types(socket: &impl AsFd, types: &[u8]) -> io::Result<()> {
    // `struct icmp_filter` of `linux/icmp.h`, in which a bit that is set blocks a type.
    const ICMP_FILTER: c_int = 1;
    let passed = types.iter().filter_map(|kind| 1u32.checked_shl(u32::from(*kind)));
    let blocked = !passed.fold(0, |all, bit| all | bit);
    set(socket, libc::SOL_RAW, ICMP_FILTER, &blocked)
}

/// Of ICMPv6 messages only those of these types are received from now on.
///
/// # Errors
/// The system's word.
pub(super) fn set_icmp6_types(socket: &impl AsFd, types: &[u8]) -> io::Result<()> {
    // `struct icmp6_filter` (RFC 3542 §3.2), in which a bit that is set blocks a type.
    const ICMP6_FILTER: c_int = 1;
    let mut blocked = [u32::MAX; 8];
    for kind in types {
        if let Some(word) = blocked.get_mut(usize::from(*kind >> 5)) {
            *word &= !(1 << (kind & 31));
        }
    }
    set(socket, libc::IPPROTO_ICMPV6, ICMP6_FILTER, &blocked)
}

/// `linux/tcp.h`: as TCP_MD5SIG, and the flags count.
const TCP_MD5SIG_EXT: c_int = 32;
/// And so does the prefix length.
const TCP_MD5SIG_FLAG_PREFIX: u8 = 1;

/// `struct tcp_md5sig` of `linux/tcp.h`.
#[repr(C)]
struct TcpMd5 {
    peer: Address,
    flags: u8,
    prefix_length: u8,
    key_length: u16,
    interface: c_int,
    key: [u8; Secret::MAX],
}

/// `struct sockaddr_storage` with a `sockaddr_in` or `sockaddr_in6` in it, whose port and scope are 0.
#[repr(C, align(8))]
struct Address {
    family: libc::sa_family_t,
    port: u16,
    rest: [u8; 124],
}

// Neither has padding, and the kernel wants this very size.
const _: () = assert!(size_of::<Address>() == size_of::<libc::sockaddr_storage>());
const _: () = assert!(size_of::<TcpMd5>() == 128 + 8 + Secret::MAX);

impl From<IpAddr> for Address {
    fn from(address: IpAddr) -> Address {
        let mut rest = [0; 124];
        let family = match address {
            IpAddr::V4(address) => {
                rest[..4].copy_from_slice(&address.octets());
                libc::AF_INET
            }
            IpAddr::V6(address) => {
                // After the flow information.
                rest[4..20].copy_from_slice(&address.octets());
                libc::AF_INET6
            }
        };
        Address { family: family as libc::sa_family_t, port: 0, rest }
    }
}

/// The supplementary groups of the process at the other end of a Unix socket, as they were when it connected.
///
/// # Errors
/// The system's word.
pub(super) fn peer_groups(socket: &impl AsFd) -> io::Result<Vec<libc::gid_t>> {
    // `asm-generic/socket.h`, of Linux 4.13.
    const SO_PEERGROUPS: c_int = 59;
    // A process has no more (NGROUPS_MAX), and few have more than some.
    for room in [64, 65_536] {
        let mut groups = vec![0; room];
        let mut length = size_of_val(groups.as_slice()) as libc::socklen_t;
        let (descriptor, pointer) = (socket.as_fd().as_raw_fd(), groups.as_mut_ptr().cast());
        // SAFETY: the descriptor is open for as long as it is borrowed; `pointer` leads to `length` octets of ours, which
        // the kernel may fill with whatever number, and keeps no pointer to.
        let done = unsafe { libc::getsockopt(descriptor, libc::SOL_SOCKET, SO_PEERGROUPS, pointer, &raw mut length) };
        if done == 0 {
            groups.truncate(length as usize / size_of::<libc::gid_t>());
            return Ok(groups);
        }
        let error = io::Error::last_os_error();
        if error.raw_os_error() != Some(libc::ERANGE) {
            return Err(error);
        }
    }
    Err(io::Error::from_raw_os_error(libc::ERANGE))
}

/// Has large blocks, such as the text of a status, given back to the system as soon as they are free. Left to itself, the
/// C library keeps blocks of the size that has been freed last, and of all sizes what is between others. Elsewhere than in
/// GNU's there is nothing to be done.
pub(super) fn give_back_large_blocks() {
    #[cfg(target_env = "gnu")]
    {
        const LARGE: c_int = 1 << 20;
        // SAFETY: it takes the allocator's own locks, and a value that is not wanted changes nothing.
        let _as_well_without = unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE) };
    }
}

/// `T` must have no padding.
fn set<T>(socket: &impl AsFd, level: c_int, name: c_int, value: &T) -> io::Result<()> {
    let pointer = std::ptr::from_ref(value).cast();
    let length = size_of::<T>() as libc::socklen_t;
    // SAFETY: the descriptor is open for as long as it is borrowed; `pointer` leads to `length` octets that are all
    // initialised and that the kernel only reads, and keeps no pointer to.
    let done = unsafe { libc::setsockopt(socket.as_fd().as_raw_fd(), level, name, pointer, length) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
