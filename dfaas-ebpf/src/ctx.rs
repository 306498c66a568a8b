//! The window into packets: every access to one goes through here.

mod arrival;
mod lookup;
mod remembered;

use core::{
    arch::asm,
    mem::offset_of,
    ptr::{self, from_mut, from_ref},
};

use aya_ebpf::{
    bindings::{
        __sk_buff, BPF_F_INGRESS, BPF_F_PSEUDO_HDR, BPF_F_RECOMPUTE_CSUM, TC_ACT_SHOT, TC_ACT_UNSPEC,
    },
    helpers::{
        bpf_clone_redirect, bpf_csum_diff, bpf_csum_level, bpf_ktime_get_ns, bpf_l4_csum_replace,
        bpf_redirect, bpf_redirect_neigh, bpf_skb_change_tail, bpf_skb_load_bytes, bpf_skb_store_bytes,
    },
    programs::TcContext,
};
use dfaas_common::{
    http::{ChunkLine, HELD_BYTES, Words},
    maps::{Client, Held, Locked, REPLY_BYTES, Reply, STAMP_BYTES, Stamp},
    packet::{Address, Ipv4Translated, Ipv6Frame, TCP_TRANSLATED_BYTES, Tcp, is_of_vlan},
};

pub(crate) use self::{arrival::Arrival, lookup::Lookup};
use crate::maps::{Scratch, Seen};

/// What frames have before their first byte in memory, so that their IP header is aligned.
const LEAD_BYTES: usize = 2;

/// A packet whose first bytes can be read.
pub(crate) trait Start {
    /// Reads the first bytes of the frame into a value with a lead of two bytes; nothing if there are too few.
    fn read_behind_lead<T>(&self, value: &mut T) -> Option<()>;
}

/// Reads the headers of a plain TCP segment. Returns whether it is one.
#[inline(always)]
pub(crate) fn read_headers(start: &impl Start, seen: &mut Seen) -> bool {
    if start.read_behind_lead(&mut seen.ipv4).is_none() {
        return false;
    }
    if seen.ipv4.is_plain_tcp() {
        seen.headers = seen.ipv4.headers();
        return true;
    }
    let is_ipv6 = Ipv6Frame::is_ethertype(seen.ipv4.ethernet.ethertype);
    if !is_ipv6 || start.read_behind_lead(&mut seen.ipv6).is_none() || !seen.ipv6.is_plain_tcp() {
        return false;
    }
    seen.headers = seen.ipv6.headers();
    true
}

/// A helper of the kernel refused.
pub(crate) struct HelperFailed;

/// The mark of packets that are done: those that one program sends to the hook of the other must not be looked at
/// again. Marks do not travel between hosts or network namespaces.
const DONE: u32 = 0x0df_aa5;

/// `bpf_csum_diff` takes no more than this at once before kernel 6.13.
const CHUNK_BYTES: usize = 512;
/// The size of a buffer that can be summed up.
pub(crate) const SUMMED_BYTES: usize = HELD_BYTES + 8;

/// A packet at one of the hooks of traffic control.
pub(crate) struct Packet {
    skb: *mut __sk_buff,
}

impl Packet {
    #[inline(always)]
    pub(crate) fn new(ctx: &TcContext) -> Self {
        Self { skb: ctx.skb.skb }
    }

    /// The packet that a global function is called for.
    #[inline(always)]
    pub(crate) fn of(skb: *mut __sk_buff) -> Self {
        Self { skb }
    }

    /// Calls a global function, which looks the scratch space up by itself and returns whether a helper failed.
    #[inline(always)]
    pub(crate) fn call(
        &self,
        scratch: &mut Scratch,
        function: impl Fn(*mut __sk_buff) -> u32,
    ) -> Result<(), HelperFailed> {
        expose(scratch);
        done(function(self.skb).into())
    }

    /// Asks a global function about the packet.
    #[inline(always)]
    pub(crate) fn ask(&self, function: impl Fn(*mut __sk_buff) -> u32) -> bool {
        function(self.skb) != 0
    }

    /// Reads the headers of a plain TCP segment. Returns whether it is one.
    ///
    /// By a call, so that the verifier forgets of which version of IP it was, and does not look at all that follows for
    /// each.
    #[inline(never)]
    pub(crate) fn read_headers(&self, seen: &mut Seen) -> bool {
        read_headers(self, seen)
    }

    /// Reads a router's message that an IPv4 packet was too big, and what it quotes; the first bytes of the frame have
    /// been read. Returns whether it is one.
    #[inline(always)]
    pub(crate) fn read_ipv4_too_big(&self, seen: &mut Seen) -> bool {
        seen.ipv4.is_icmp()
            && self.read_behind_lead(&mut seen.ipv4_too_big).is_some()
            && seen.ipv4_too_big.quotes(&mut seen.quoted)
    }

    /// Likewise in IPv6.
    #[inline(always)]
    pub(crate) fn read_ipv6_too_big(&self, seen: &mut Seen) -> bool {
        Ipv6Frame::is_ethertype(seen.ipv4.ethernet.ethertype)
            && seen.ipv6.is_icmp()
            && self.read_behind_lead(&mut seen.ipv6_too_big).is_some()
            && seen.ipv6_too_big.quotes(&mut seen.quoted)
    }

    /// Reads `length` bytes, 1 to [`HELD_BYTES`], into a buffer that has room for as many.
    #[inline(always)]
    pub(crate) fn read(&self, offset: u32, buffer: *mut u8, length: u32) -> Result<(), HelperFailed> {
        let length = bounded(length)?;
        // SAFETY: the buffer has room for the bounded length.
        done(unsafe { bpf_skb_load_bytes(self.skb.cast(), offset, buffer.cast(), length) })
    }

    /// Writes `length` bytes, 1 to [`HELD_BYTES`], from a buffer that has as many.
    #[inline(always)]
    pub(crate) fn write(&self, offset: u32, buffer: *const u8, length: u32) -> Result<(), HelperFailed> {
        let length = bounded(length)?;
        // SAFETY: the buffer holds the bounded length.
        let result = unsafe {
            bpf_skb_store_bytes(
                self.skb.cast(),
                offset,
                buffer.cast(),
                length,
                BPF_F_RECOMPUTE_CSUM.into(),
            )
        };
        done(result)
    }

    /// Reads a value of a fixed size.
    #[inline(always)]
    pub(crate) fn read_value<T>(&self, offset: u32, value: &mut T) -> Result<(), HelperFailed> {
        // SAFETY: the bytes of `value` are writable, and its users hold integers only.
        let result = unsafe {
            let size = size_of::<T>() as u32;
            bpf_skb_load_bytes(self.skb.cast(), offset, from_mut(value).cast(), size)
        };
        done(result)
    }

    /// Reads `length` bytes, 1 to 16, of a chunk's line.
    #[inline(always)]
    pub(crate) fn read_line(
        &self,
        offset: u32,
        line: &mut ChunkLine,
        length: u32,
    ) -> Result<(), HelperFailed> {
        let length = masked::<15>(length.wrapping_sub(1).into()) as u32 + 1;
        // SAFETY: the line has room for the masked length.
        let result = unsafe {
            let to = line.0.as_mut_ptr();
            bpf_skb_load_bytes(self.skb.cast(), offset, to.cast(), length)
        };
        done(result)
    }

    /// Reads the options of a TCP header, 1 to 40 bytes.
    #[inline(always)]
    pub(crate) fn read_options(
        &self,
        offset: u32,
        buffer: &mut [u8; 64],
        length: u32,
    ) -> Result<(), HelperFailed> {
        let length = masked::<63>(length.wrapping_sub(1).into()) as u32 + 1;
        // SAFETY: the buffer has room for the masked length.
        done(unsafe { bpf_skb_load_bytes(self.skb.cast(), offset, buffer.as_mut_ptr().cast(), length) })
    }

    /// Reads a name of 1 to 64 bytes.
    #[inline(always)]
    pub(crate) fn read_name(
        &self,
        offset: u32,
        buffer: &mut [u8; 64],
        length: u32,
    ) -> Result<(), HelperFailed> {
        self.read_options(offset, buffer, length)
    }

    /// Writes a stamp.
    #[inline(always)]
    pub(crate) fn write_stamp(&self, offset: u32, stamp: &Stamp) -> Result<(), HelperFailed> {
        let length = masked::<{ STAMP_BYTES as i32 - 1 }>(stamp.length.wrapping_sub(1).into()) as u32 + 1;
        // SAFETY: the stamp holds the masked length.
        let result = unsafe {
            let from = stamp.bytes.as_ptr();
            bpf_skb_store_bytes(
                self.skb.cast(),
                offset,
                from.cast(),
                length,
                BPF_F_RECOMPUTE_CSUM.into(),
            )
        };
        done(result)
    }

    /// Writes one of our answers.
    #[inline(always)]
    pub(crate) fn write_reply(&self, offset: u32, reply: &Reply) -> Result<(), HelperFailed> {
        let less_one = masked::<255>(reply.length.wrapping_sub(1).into());
        if less_one >= REPLY_BYTES as u64 {
            return Err(HelperFailed);
        }
        // SAFETY: the reply holds the bounded length.
        let result = unsafe {
            let from = reply.bytes.as_ptr();
            bpf_skb_store_bytes(
                self.skb.cast(),
                offset,
                from.cast(),
                less_one as u32 + 1,
                BPF_F_RECOMPUTE_CSUM.into(),
            )
        };
        done(result)
    }

    /// Writes a value of a fixed size.
    #[inline(always)]
    pub(crate) fn write_value<T>(&self, offset: u32, value: &T) -> Result<(), HelperFailed> {
        // SAFETY: the bytes of `value` are readable.
        let result = unsafe {
            let size = size_of::<T>() as u32;
            bpf_skb_store_bytes(
                self.skb.cast(),
                offset,
                from_ref(value).cast(),
                size,
                BPF_F_RECOMPUTE_CSUM.into(),
            )
        };
        done(result)
    }

    /// Writes whole headers, which have a lead of two bytes.
    #[inline(always)]
    pub(crate) fn write_headers<T>(&self, frame: &T) -> Result<(), HelperFailed> {
        // SAFETY: the frame holds its lead and as many bytes as are read behind it.
        let result = unsafe {
            let from = from_ref(frame).cast::<u8>().add(2);
            let size = size_of::<T>() as u32 - 2;
            bpf_skb_store_bytes(self.skb.cast(), 0, from.cast(), size, BPF_F_RECOMPUTE_CSUM.into())
        };
        done(result)
    }

    /// Writes a TCP header up to its checksum, which is the caller's: what it changes here must be told to
    /// [`Self::update_checksum`].
    #[inline(always)]
    pub(crate) fn write_translated(&self, offset: u32, tcp: &Tcp) -> Result<(), HelperFailed> {
        self.overwrite(offset, from_ref(tcp).cast(), TCP_TRANSLATED_BYTES as u32)
    }

    /// Writes the addresses of an IPv4 packet, its header's checksum, and the TCP header up to its own.
    #[inline(always)]
    pub(crate) fn write_ipv4_translated(&self, new: &Ipv4Translated) -> Result<(), HelperFailed> {
        const BYTES: usize = offset_of!(Ipv4Translated, tcp) + TCP_TRANSLATED_BYTES - 2;
        // SAFETY: behind the lead there are as many bytes.
        let from = unsafe { from_ref(new).cast::<u8>().add(2) };
        self.overwrite(Ipv4Translated::OFFSET as u32, from, BYTES as u32)
    }

    /// Writes source and destination of an IPv6 packet.
    #[inline(always)]
    pub(crate) fn write_ipv6_addresses(&self, new: &[Address; 2]) -> Result<(), HelperFailed> {
        self.overwrite(
            Ipv6Frame::ADDRESSES_OFFSET as u32,
            new.as_ptr().cast(),
            size_of::<[Address; 2]>() as u32,
        )
    }

    /// Writes bytes without a look at checksums.
    #[inline(always)]
    fn overwrite(&self, offset: u32, from: *const u8, length: u32) -> Result<(), HelperFailed> {
        // SAFETY: the callers have as many bytes there.
        done(unsafe { bpf_skb_store_bytes(self.skb.cast(), offset, from.cast(), length, 0) })
    }

    /// Adds a difference of header fields to the checksum of the TCP header at an offset.
    #[inline(always)]
    pub(crate) fn update_checksum(&self, tcp_offset: u32, difference: u64) -> Result<(), HelperFailed> {
        self.replace_checksum(tcp_offset, difference, 0)
    }

    /// Adds a difference of the pseudo-header's addresses to it.
    #[inline(always)]
    pub(crate) fn update_pseudo_checksum(
        &self,
        tcp_offset: u32,
        difference: u64,
    ) -> Result<(), HelperFailed> {
        self.replace_checksum(tcp_offset, difference, BPF_F_PSEUDO_HDR.into())
    }

    #[inline(always)]
    fn replace_checksum(&self, tcp_offset: u32, difference: u64, flags: u64) -> Result<(), HelperFailed> {
        let offset = tcp_offset + offset_of!(Tcp, checksum) as u32;
        let carried = (difference >> 32) + (difference & 0xffff_ffff);
        let folded = (carried >> 32) + (carried & 0xffff_ffff);
        // SAFETY: the helper checks the offset against the packet.
        done(unsafe { bpf_l4_csum_replace(self.skb, offset, 0, folded, flags) })
    }

    /// Makes the packet this long, headers included.
    #[inline(always)]
    pub(crate) fn resize(&self, length: u32) -> Result<(), HelperFailed> {
        // SAFETY: the helper checks the length; no pointer into the packet is kept anywhere.
        done(unsafe { bpf_skb_change_tail(self.skb, length, 0) })
    }

    /// The verdict that sends the packet out of the interface at which it is.
    #[inline(always)]
    pub(crate) fn out(&self) -> i32 {
        self.mark(DONE);
        // SAFETY: plain helper call.
        unsafe { bpf_redirect(self.interface(), 0) as i32 }
    }

    /// The verdict that lets the packet come in for the local stack, past the ingress program.
    #[inline(always)]
    pub(crate) fn to_stack(&self) -> i32 {
        self.mark(DONE);
        // SAFETY: plain helper call.
        unsafe { bpf_redirect(self.interface(), BPF_F_INGRESS.into()) as i32 }
    }

    /// Whether the interface has verified the segment's checksum (`CHECKSUM_UNNECESSARY`; since Linux 5.8 it can be asked).
    #[inline(always)]
    pub(crate) fn is_verified(&self) -> bool {
        const QUERY: u64 = 0;
        // SAFETY: plain helper call, which changes nothing for a query.
        unsafe { bpf_csum_level(self.skb, QUERY) >= 0 }
    }

    /// Whether one of our programs has handled this packet.
    #[inline(always)]
    pub(crate) fn is_done(&self) -> bool {
        // SAFETY: the context is valid for the program's run.
        unsafe { (*self.skb).mark == DONE }
    }

    /// Whether the local stack remembers the connection as one that has ended.
    #[inline(always)]
    pub(crate) fn has_ended(&self) -> bool {
        remembered::dfaas_has_ended(self.skb) != 0
    }

    /// How long the frame is, in bytes.
    #[inline(always)]
    pub(crate) fn length(&self) -> u32 {
        // SAFETY: the context is valid for the program's run.
        unsafe { (*self.skb).len }
    }

    /// Whether the packet is of a VLAN, whose tag is beside it: there it belongs to another interface.
    ///
    /// A tag that says a priority alone is taken off by the stack, and the packet belongs here.
    #[inline(always)]
    pub(crate) fn is_of_vlan(&self) -> bool {
        // SAFETY: the context is valid for the program's run.
        unsafe { (*self.skb).vlan_present != 0 && is_of_vlan((*self.skb).vlan_tci as u16) }
    }

    /// Whether a VLAN's tag is beside the packet.
    #[inline(always)]
    pub(crate) fn has_vlan_tag(&self) -> bool {
        // SAFETY: the context is valid for the program's run.
        unsafe { (*self.skb).vlan_present != 0 }
    }

    /// Sends a copy of the packet out of the interface at which it is.
    #[inline(always)]
    pub(crate) fn copy_out(&self) {
        self.mark(DONE);
        // SAFETY: no pointer into the packet is kept anywhere.
        let _lost = unsafe { bpf_clone_redirect(self.skb, self.interface(), 0) };
        self.mark(0);
    }

    /// Lets a copy of the packet come in for the local stack.
    #[inline(always)]
    pub(crate) fn copy_to_stack(&self) {
        self.mark(DONE);
        // SAFETY: no pointer into the packet is kept anywhere.
        let _lost = unsafe { bpf_clone_redirect(self.skb, self.interface(), BPF_F_INGRESS.into()) };
        self.mark(0);
    }

    #[inline(always)]
    fn mark(&self, mark: u32) {
        // SAFETY: the context is valid for the program's run, and the mark may be written.
        unsafe { (*self.skb).mark = mark };
    }

    /// The verdict that routes the packet and sends it to the next hop.
    #[inline(always)]
    pub(crate) fn route(&self) -> i32 {
        self.mark(DONE);
        // SAFETY: without parameters the kernel looks the next hop up itself.
        unsafe { bpf_redirect_neigh(self.interface(), ptr::null_mut(), 0, 0) as i32 }
    }

    #[inline(always)]
    fn interface(&self) -> u32 {
        // SAFETY: the context is valid for the program's run.
        unsafe { (*self.skb).ifindex }
    }
}

impl Start for Packet {
    #[inline(always)]
    fn read_behind_lead<T>(&self, value: &mut T) -> Option<()> {
        // SAFETY: as many bytes are written as the value has behind its lead, and it consists of integers.
        let result = unsafe {
            let to = from_mut(value).cast::<u8>().add(LEAD_BYTES);
            bpf_skb_load_bytes(
                self.skb.cast(),
                0,
                to.cast(),
                (size_of::<T>() - LEAD_BYTES) as u32,
            )
        };
        (result == 0).then_some(())
    }
}

/// The verdict that lets a packet go on its way, past the programs and filters of others behind ours.
///
/// `TC_ACT_OK` would end the chain: no TCX program attached later and no classic filter would see the packet (Linux 6.6,
/// `sch_handle_ingress` in `net/core/dev.c`).
pub(crate) const PASS: i32 = TC_ACT_UNSPEC;

/// The verdict that drops a packet which has served its purpose.
#[inline(always)]
pub(crate) fn swallow() -> i32 {
    TC_ACT_SHOT
}

#[inline(always)]
fn done(result: i64) -> Result<(), HelperFailed> {
    if result == 0 { Ok(()) } else { Err(HelperFailed) }
}

/// A length from 1 to [`HELD_BYTES`].
#[inline(always)]
fn bounded(length: u32) -> Result<u32, HelperFailed> {
    let less_one = masked::<2047>(length.wrapping_sub(1).into());
    if less_one >= HELD_BYTES as u64 {
        Err(HelperFailed)
    } else {
        Ok(less_one as u32 + 1)
    }
}

/// Masks a number where the compiler cannot see it.
///
/// The verifiers of 5.10 and 6.1 want to see the bounds of a length right before its use ("min value is negative,
/// either use unsigned or 'var &= const'"); a mask that the compiler finds needless, it takes out.
#[inline(always)]
pub(crate) fn masked<const MASK: i32>(number: u64) -> u64 {
    let mut masked = number;
    // SAFETY: changes nothing but the register.
    unsafe { asm!("{0} &= {1}", inout(reg) masked, const MASK, options(pure, nomem, nostack)) };
    masked
}

/// Tells the compiler that what comes next may change a value by other ways than this reference.
#[inline(always)]
pub(crate) fn expose<T>(value: &mut T) {
    // SAFETY: changes nothing; without `nomem` all memory that the pointer leads to counts as changed.
    unsafe { asm!("{0} = {0}", in(reg) from_mut(value), options(nostack, preserves_flags)) };
}

/// Fills a client's entry with zeros where it is: made on the stack first, it would take a third of that.
#[inline(always)]
pub(crate) fn clear(client: &mut Locked<Client>) {
    // SAFETY: it consists of integers.
    unsafe { from_mut(client).write_bytes(0, 1) };
}

/// Reads a number that the compiler may not know already.
#[inline(always)]
pub(crate) fn forgotten(number: &u32) -> u32 {
    // SAFETY: a reference can be read.
    unsafe { from_ref(number).read_volatile() }
}

/// One of the scratch space's buffers as words.
#[inline(always)]
pub(crate) fn words(bytes: &[u8; HELD_BYTES]) -> &Words {
    const {
        assert!(offset_of!(Scratch, held) % align_of::<Words>() == 0);
        assert!(offset_of!(Held, bytes) % align_of::<Words>() == 0);
        assert!(offset_of!(Scratch, copy) % align_of::<Words>() == 0);
    }
    // SAFETY: as many bytes, aligned like that; values of maps are aligned to eight bytes.
    unsafe { &*from_ref(bytes).cast() }
}

/// The Internet checksum's sum over the first `length` bytes of a buffer of [`SUMMED_BYTES`].
///
/// The four bytes behind the length are overwritten with zeros.
#[inline(always)]
pub(crate) fn sum(buffer: &mut [u8; SUMMED_BYTES], length: u32) -> u32 {
    let length = (length & 2047) as usize;
    if length > HELD_BYTES {
        return 0;
    }
    let mut at = length;
    while at < length + 4 {
        buffer[at] = 0;
        at += 1;
    }
    let words = (length + 3) & !3;
    let mut sum = 0u32;
    let mut start = 0;
    while start < HELD_BYTES {
        if words > start {
            let rest = words - start;
            let size = if rest > CHUNK_BYTES { CHUNK_BYTES } else { rest };
            let size = masked::<511>(size as u64 - 1) as u32 + 1;
            // SAFETY: chunks lie within the buffer, which is aligned to words.
            sum = unsafe {
                let from = buffer.as_mut_ptr().add(start).cast::<u32>();
                bpf_csum_diff(ptr::null_mut(), 0, from, size, sum) as u32
            };
        }
        start += CHUNK_BYTES;
    }
    sum
}

/// Nanoseconds of the monotonic clock.
#[inline(always)]
pub(crate) fn now_ns() -> u64 {
    // SAFETY: plain helper call.
    unsafe { bpf_ktime_get_ns() }
}
