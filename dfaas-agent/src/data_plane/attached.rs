//! Programs at their hooks: attached, or put in the place of those of an agent before this one.

use std::{
    fs::{self, File},
    path::Path,
};

use anyhow::{Context as _, Result};
use aya::{
    Ebpf,
    programs::{
        LinkOrder, ProgramError, SchedClassifier, SkLookup, TcAttachType,
        links::{FdLink, PinnedLink},
        tc::{self, NlOptions, SchedClassifierLink, TcAttachOptions, TcHandle},
    },
    util::KernelVersion,
};

use super::pins::Pins;

/// Where the filters are among others of an interface, before 6.6: before those that have no place of their own (49152 and
/// down). By that, and by [`HANDLE`], the next agent finds them, and `dfaas-agent clean`.
const PRIORITY: u16 = 20_000;
const HANDLE: TcHandle = TcHandle::new(0, 0xdfaa);
pub(super) const HOOKS: [(&str, TcAttachType); 2] = [
    ("egress", TcAttachType::Egress),
    ("ingress", TcAttachType::Ingress),
];
pub(super) const LISTENER: &str = "listener";

/// Has the kernel examine the programs. What was there before goes on meanwhile.
pub(super) fn load(ebpf: &mut Ebpf) -> Result<()> {
    for (name, _) in HOOKS {
        let program = classifier(ebpf, name)?;
        program
            .load()
            .with_context(|| format!("loading the program {name}"))?;
    }
    look_up(ebpf)?.load().context("loading the program listener")
}

/// Attaches all three programs, which were loaded. Dropping the object detaches them, unless they are pinned.
pub(super) fn attach(ebpf: &mut Ebpf, interface: &str, pins: Option<&Pins>) -> Result<()> {
    attach_listener(look_up(ebpf)?, pins)?;
    for (name, direction) in HOOKS {
        let program = classifier(ebpf, name)?;
        let attached = if has_links() {
            attach_by_link(
                program,
                interface,
                direction,
                pins.map(|pins| pins.path(name)).as_deref(),
            )
        } else {
            attach_as_filter(program, interface, direction, pins.is_some())
        };
        attached.with_context(|| format!("attaching {name} to {interface}"))?;
    }
    Ok(())
}

/// Detaches filters that are there for longer than their agent. Links end with their pins.
pub(super) fn detach_filters(interface: &str) {
    if has_links() {
        return;
    }
    for (_, direction) in HOOKS {
        // Dropping it detaches the filter; that the interface is gone is as well.
        let _gone = SchedClassifierLink::attached(interface, direction, PRIORITY, HANDLE, None);
    }
}

/// TCX came with 6.6.
fn has_links() -> bool {
    KernelVersion::current().is_ok_and(|version| version >= KernelVersion::new(6, 6, 0))
}

fn attach_listener(program: &mut SkLookup, pins: Option<&Pins>) -> Result<()> {
    let namespace = File::open("/proc/self/ns/net").context("opening this network namespace")?;
    let link = program
        .attach(namespace)
        .context("attaching the socket look-up")?;
    let Some(pins) = pins else { return Ok(()) };
    // The one before is at work until this one is in its place: both say the same.
    let next = pins.path("listener-next");
    let _left_over = fs::remove_file(&next);
    let link: FdLink = program.take_link(link)?.into();
    link.pin(&next).context("pinning the socket look-up")?;
    fs::rename(&next, pins.path(LISTENER)).context("pinning the socket look-up")
}

fn attach_by_link(
    program: &mut SchedClassifier,
    interface: &str,
    direction: TcAttachType,
    pin: Option<&Path>,
) -> Result<()> {
    let order = || TcAttachOptions::TcxOrder(LinkOrder::default());
    let Some(pin) = pin else {
        program.attach_with_options(interface, direction, order())?;
        return Ok(());
    };
    if let Some(link) = link_before(interface, direction, pin)
        && program.attach_to_link(link).is_ok()
    {
        return Ok(());
    }
    let _left_over = fs::remove_file(pin);
    let id = program.attach_with_options(interface, direction, order())?;
    let link: FdLink = program.take_link(id)?.try_into()?;
    link.pin(pin)?;
    Ok(())
}

/// The pinned link, if it still is at this interface: it may have been renamed, or be gone.
fn link_before(interface: &str, direction: TcAttachType, pin: &Path) -> Option<SchedClassifierLink> {
    let link = FdLink::from(PinnedLink::from_pin(pin).ok()?);
    let program = link.info().ok()?.program_id();
    let (_, programs) = SchedClassifier::query_tcx(interface, direction).ok()?;
    let is_there = programs.iter().any(|there| there.id() == program);
    is_there.then(|| link.try_into().ok()).flatten()
}

/// A filter outlives its agent by itself. One that is there already is replaced.
fn attach_as_filter(
    program: &mut SchedClassifier,
    interface: &str,
    direction: TcAttachType,
    is_to_stay: bool,
) -> Result<()> {
    // That the qdisc exists already is no error.
    let _exists = tc::qdisc_add_clsact(interface);
    let options = NlOptions {
        priority: PRIORITY,
        handle: HANDLE,
        classid: None,
    };
    let attached = program.attach_with_options(interface, direction, TcAttachOptions::Netlink(options));
    let id = attached.or_else(|_exists| {
        let before = SchedClassifierLink::attached(interface, direction, PRIORITY, HANDLE, None)
            .map_err(|error| ProgramError::TcError(error.into()))?;
        program.attach_to_link(before)
    })?;
    if is_to_stay {
        // It has no more to it than where it is, which is known.
        std::mem::forget(program.take_link(id)?);
    }
    Ok(())
}

fn classifier<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut SchedClassifier> {
    let program = ebpf.program_mut(name);
    Ok(program
        .with_context(|| format!("the object has no program {name}"))?
        .try_into()?)
}

fn look_up(ebpf: &mut Ebpf) -> Result<&mut SkLookup> {
    let program = ebpf.program_mut(LISTENER);
    Ok(program
        .context("the object has no program listener")?
        .try_into()?)
}
