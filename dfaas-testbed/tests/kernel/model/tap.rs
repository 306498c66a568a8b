//! What programs send by `bpf_clone_redirect`: read from the interface that their packets are at.

use std::{num::NonZeroU32, os::fd::OwnedFd};

use dfaas_testbed::Namespace;
use rustix::{
    io::Errno,
    net::{AddressFamily, Protocol, RecvFlags, SocketType, recv, socket},
};

/// `ETH_P_ALL`, in network order.
const ALL: u32 = 0x0300;
/// The interface in the namespace.
const INTERFACE: &str = "model0";
const ETHERTYPE_IPV4: [u8; 2] = [8, 0];

/// An interface in a namespace of its own, at which all packets are seen.
pub(super) struct Tap {
    /// The network that this thread is in, and the other end of the interface.
    _namespaces: [Namespace; 2],
    socket: OwnedFd,
    pub(super) interface: u32,
}

impl Tap {
    /// Makes the interface. The calling thread has to be in the first namespace.
    pub(super) fn new(namespaces: [Namespace; 2]) -> Self {
        let [near, far] = &namespaces;
        near.ip(&format!(
            "link add {INTERFACE} type veth peer name model1 netns {}\nlink set {INTERFACE} up\n",
            far.pid()
        ))
        .unwrap();
        far.ip("link set model1 up\n").unwrap();
        let protocol = NonZeroU32::new(ALL).map(Protocol::from_raw);
        let socket = socket(AddressFamily::PACKET, SocketType::RAW, protocol).unwrap();
        let shown = near
            .output("ip", &["-oneline", "link", "show", INTERFACE])
            .unwrap();
        let shown = String::from_utf8(shown.stdout).unwrap();
        let interface = shown.split(':').next().unwrap().trim().parse().unwrap();
        Self {
            _namespaces: namespaces,
            socket,
            interface,
        }
    }

    /// Takes the frames that were seen since the last call.
    pub(super) fn take(&self) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        let mut buffer = vec![0; 70_000];
        loop {
            match recv(&self.socket, &mut buffer[..], RecvFlags::DONTWAIT) {
                Ok((length, _)) if buffer[12..14] == ETHERTYPE_IPV4 => frames.push(buffer[..length].to_vec()),
                Ok(_) => {}
                Err(Errno::AGAIN) => return frames,
                Err(error) => panic!("reading the interface: {error}"),
            }
        }
    }
}
