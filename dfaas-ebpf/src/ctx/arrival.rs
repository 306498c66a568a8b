//! A packet at the interface, before the kernel has made a socket buffer of it.

use core::ptr::{copy_nonoverlapping, from_mut};

use aya_ebpf::{bindings::xdp_md, programs::XdpContext};

use super::{LEAD_BYTES, Start};

/// A packet that arrives.
pub(crate) struct Arrival {
    xdp: *mut xdp_md,
}

impl Arrival {
    #[inline(always)]
    pub(crate) fn new(ctx: &XdpContext) -> Self {
        Self { xdp: ctx.ctx }
    }
}

impl Start for Arrival {
    #[inline(always)]
    fn read_behind_lead<T>(&self, value: &mut T) -> Option<()> {
        let length = size_of::<T>() - LEAD_BYTES;
        // SAFETY: the context is valid for the program's run, and so are the bytes between both pointers. The value
        // consists of integers, and has as many bytes behind its lead.
        unsafe {
            let (start, end) = ((*self.xdp).data as usize, (*self.xdp).data_end as usize);
            if start + length > end {
                return None;
            }
            let to = from_mut(value).cast::<u8>().add(LEAD_BYTES).cast::<u16>();
            copy_nonoverlapping(start as *const u16, to, length / 2);
        }
        Some(())
    }
}
