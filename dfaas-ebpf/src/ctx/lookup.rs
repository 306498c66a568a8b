//! A connection that looks for a listener.

use aya_ebpf::{bindings::bpf_sk_lookup, programs::SkLookupContext};
use dfaas_common::{maps::FlowKey, packet::Address};

/// `AF_INET6`
const AF_INET6: u32 = 10;

/// A connection that looks for a listener.
pub(crate) struct Lookup {
    lookup: *mut bpf_sk_lookup,
}

impl Lookup {
    #[inline(always)]
    pub(crate) fn new(ctx: &SkLookupContext) -> Self {
        Self { lookup: ctx.lookup }
    }

    /// The port that the connection asks for.
    #[inline(always)]
    pub(crate) fn port(&self) -> u16 {
        // SAFETY: the context is valid for the program's run; the field is in host order.
        unsafe { (*self.lookup).local_port as u16 }
    }

    /// The address that it asks for, which need not be one of the service's.
    #[inline(always)]
    pub(crate) fn local(&self) -> Address {
        // SAFETY: as in `key`.
        unsafe {
            let ipv4 = (&raw const (*self.lookup).local_ip4).read_volatile();
            let ipv6 = &raw const (*self.lookup).local_ip6;
            let words = [0, 1, 2, 3].map(|index| ipv6.cast::<u32>().add(index).read_volatile());
            if (*self.lookup).family == AF_INET6 {
                Address::from_words(words)
            } else {
                Address::from_ipv4_word(ipv4)
            }
        }
    }

    /// The key of the client whose connection this would be.
    #[inline(always)]
    pub(crate) fn key(&self) -> FlowKey {
        // All are read, each by itself: of a choice the compiler makes an offset, and the verifier refuses that
        // ("dereference of modified ctx ptr").
        // SAFETY: the context is valid for the program's run; addresses and the remote port are in network order.
        unsafe {
            let ipv4 = (&raw const (*self.lookup).remote_ip4).read_volatile();
            let ipv6 = &raw const (*self.lookup).remote_ip6;
            let words = [0, 1, 2, 3].map(|index| ipv6.cast::<u32>().add(index).read_volatile());
            FlowKey {
                remote: if (*self.lookup).family == AF_INET6 {
                    Address::from_words(words)
                } else {
                    Address::from_ipv4_word(ipv4)
                },
                remote_port: ((*self.lookup).remote_port as u16).to_ne_bytes(),
                local_port: self.port().to_be_bytes(),
            }
        }
    }

    /// Whether this is TCP.
    #[inline(always)]
    pub(crate) fn is_tcp(&self) -> bool {
        // SAFETY: the context is valid for the program's run.
        unsafe { (*self.lookup).protocol == 6 }
    }
}
