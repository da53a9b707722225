//! The sockets to the kernel: one that hears news of addresses and links, one that asks and has things done.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{RecvFlags, sockopt};

use crate::driver::netlink::kernel::{
    BUFFER, IPV4_ADDRESS, IPV6_ADDRESS, LINK, PATIENCE, TURN, make_room, receive, send, socket,
};
use crate::driver::netlink::message::address::{
    Address, AddressAnswer, AddressEvent, add_request, address_answers, address_events, addresses_question,
    remove_request,
};
use crate::driver::netlink::message::{Link, links_question};
use crate::prefix::Prefix;

/// Something to be done with an address, on the interface of this number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Request {
    Add(Prefix, u32),
    Remove(Prefix, u32),
}

/// Everything that is there.
#[derive(Debug, Default)]
pub(super) struct Inventory {
    pub(super) links: Vec<Link>,
    pub(super) addresses: Vec<Address>,
}

/// The sockets.
pub(super) struct Kernel {
    news: OwnedFd,
    requests: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Kernel {
    /// From here on nothing is missed.
    pub(super) fn open() -> io::Result<Kernel> {
        let (news, requests) = (socket(LINK | IPV4_ADDRESS | IPV6_ADDRESS)?, socket(0)?);
        make_room(&news)?;
        make_room(&requests)?;
        sockopt::set_socket_timeout(&requests, sockopt::Timeout::Recv, Some(PATIENCE))?;
        Ok(Kernel { news, requests, sequence: 0, buffer: vec![0; BUFFER] })
    }

    /// Readable when there is news.
    pub(super) fn ear(&self) -> &OwnedFd {
        &self.news
    }

    /// Takes a bounded amount of news. Whether that was all, and whether some was lost.
    ///
    /// # Errors
    /// When nothing will ever come.
    pub(super) fn hear(&mut self, tell: &mut dyn FnMut(AddressEvent)) -> io::Result<(bool, bool)> {
        let mut lost = false;
        for _ in 0..TURN {
            match receive(&self.news, &mut self.buffer, RecvFlags::DONTWAIT) {
                Ok(bytes) => address_events(bytes).for_each(&mut *tell),
                Err(Errno::AGAIN) => return Ok((true, lost)),
                Err(Errno::INTR) => {}
                Err(Errno::NOBUFS) => lost = true,
                Err(error) => return Err(error.into()),
            }
        }
        Ok((false, lost))
    }

    /// All links and addresses.
    ///
    /// # Errors
    /// When the kernel does not tell all; it may some time later.
    pub(super) fn list(&mut self) -> io::Result<Inventory> {
        let mut inventory = Inventory::default();
        for question in [links_question, addresses_question] {
            self.sequence = self.sequence.wrapping_add(1);
            send(&self.requests, &question(self.sequence))?;
            let mut more = true;
            while more {
                let sequence = self.sequence;
                for answer in self.answers(&|given| given == sequence)? {
                    match answer {
                        AddressAnswer::Link(link) => inventory.links.push(link),
                        AddressAnswer::There(address) => inventory.addresses.push(address),
                        AddressAnswer::Done { interrupted: false } => more = false,
                        AddressAnswer::Done { interrupted: true } => return Err(Errno::AGAIN.into()),
                        AddressAnswer::Result(_, number) => return Err(io::Error::from_raw_os_error(number)),
                    }
                }
            }
        }
        Ok(inventory)
    }

    /// Has these done, in order and all at once, and says what became of each: done (0), or the kernel's error number.
    ///
    /// # Errors
    /// When it is not known what became of them.
    pub(super) fn carry_out(&mut self, requests: &[Request]) -> io::Result<Vec<i32>> {
        let first = self.sequence.wrapping_add(1);
        let mut bytes = Vec::new();
        for request in requests {
            self.sequence = self.sequence.wrapping_add(1);
            bytes.extend(match request {
                Request::Add(prefix, interface) => add_request(self.sequence, prefix, *interface),
                Request::Remove(prefix, interface) => remove_request(self.sequence, prefix, *interface),
            });
        }
        send(&self.requests, &bytes)?;
        let index = |sequence: u32| sequence.wrapping_sub(first) as usize;
        let mut results: BTreeMap<usize, i32> = BTreeMap::new();
        while results.len() < requests.len() {
            for answer in self.answers(&|sequence| index(sequence) < requests.len())? {
                if let AddressAnswer::Result(sequence, number) = answer {
                    results.insert(index(sequence), number);
                }
            }
        }
        Ok(results.into_values().collect())
    }

    /// What is there in answer to the last questions, and nothing of those before.
    fn answers(&mut self, sequences: &dyn Fn(u32) -> bool) -> io::Result<Vec<AddressAnswer>> {
        loop {
            match receive(&self.requests, &mut self.buffer, RecvFlags::empty()) {
                Ok(bytes) => return Ok(address_answers(bytes, sequences).collect()),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}
