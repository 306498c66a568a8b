//! `dfaas-agent check`: whether this host can run the data plane, thing by thing.

use std::fs;

use aya::{
    maps::MapType,
    programs::ProgramType,
    sys::{is_map_supported, is_program_supported},
};

use super::{listener, place, program};
use crate::links::Link;

/// sk_lookup came with 5.9, `bpf_redirect_neigh` with 5.10.
const KERNEL_MIN: (u32, u32) = (5, 10);
/// `include/uapi/linux/capability.h`
const CAPABILITIES: [(&str, u32, &str); 4] = [
    ("CAP_NET_ADMIN", 12, "attaches programs to interfaces"),
    ("CAP_SYS_PTRACE", 19, "borrows the platform's listener"),
    (
        "CAP_PERFMON",
        CAP_PERFMON,
        "lets programs compute with pointers to packets",
    ),
    ("CAP_BPF", CAP_BPF, "loads programs and maps"),
];
const CAP_SYS_ADMIN: u32 = 21;
const CAP_PERFMON: u32 = 38;
const CAP_BPF: u32 = 39;
/// What is said of a listener whose process cannot be found.
pub(crate) const NOT_IN_SIGHT: &str = "is a process that the agent cannot see: give both one PID namespace (docker run \
                                       --pid container:NAME), or run the agent on the host with --netns PID";

/// One line of `dfaas-agent check`.
#[derive(Clone, Debug)]
pub(crate) struct Finding {
    pub(crate) subject: &'static str,
    /// What was found, or what is missing and how to mend it.
    pub(crate) result: Result<String, String>,
}

/// Examines whether this host can run the data plane.
pub(crate) fn check(interface: Option<&str>, functions_port: u16) -> Vec<Finding> {
    vec![
        Finding {
            subject: "kernel",
            result: kernel(),
        },
        Finding {
            subject: "privilege",
            result: privilege(),
        },
        Finding {
            subject: "interface",
            result: link(interface),
        },
        Finding {
            subject: "programs",
            result: programs(),
        },
        Finding {
            subject: "data in SYN",
            result: data_in_syn(),
        },
        Finding {
            subject: "platform",
            result: lendable_platform(functions_port),
        },
    ]
}

/// Examines what a node without eBPF needs, but for HAProxy.
pub(crate) fn check_without_kernel(functions_port: u16) -> Vec<Finding> {
    vec![Finding {
        subject: "platform",
        result: platform(functions_port),
    }]
}

fn kernel() -> Result<String, String> {
    const PATH: &str = "/proc/sys/kernel/osrelease";
    let release = fs::read_to_string(PATH).map_err(|error| format!("{PATH}: {error}"))?;
    let release = release.trim();
    let (major, minor) = KERNEL_MIN;
    match version(release) {
        Some(running) if running >= KERNEL_MIN => Ok(format!("{release} is at least {major}.{minor}")),
        Some(_) => Err(format!(
            "{release} is older than {major}.{minor}: boot a newer kernel"
        )),
        None => Err(format!("{PATH} says {release:?}, which is no version")),
    }
}

/// Major and minor number of a kernel's release.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|character: char| !character.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn privilege() -> Result<String, String> {
    if place::is_user_namespace() {
        return Err(place::USER_NAMESPACE.to_owned());
    }
    let status =
        fs::read_to_string("/proc/self/status").map_err(|error| format!("/proc/self/status: {error}"))?;
    let effective = effective_capabilities(&status).ok_or("/proc/self/status has no line CapEff")?;
    let is_set = |capability: u32| effective >> capability & 1 == 1;
    // The two newest were part of it before 5.8, and still are (capabilities(7)).
    let has = |capability: u32| {
        is_set(capability) || matches!(capability, CAP_BPF | CAP_PERFMON) && is_set(CAP_SYS_ADMIN)
    };
    let missing: Vec<String> = CAPABILITIES
        .iter()
        .filter(|&&(_, number, _)| !has(number))
        .map(|(name, _, purpose)| format!("{name} ({purpose})"))
        .collect();
    if missing.is_empty() {
        return Ok(CAPABILITIES.map(|(name, _, _)| name).join(", "));
    }
    Err(format!(
        "missing {}: run as root, or give a container these with --cap-add",
        missing.join(", ")
    ))
}

fn effective_capabilities(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

fn link(interface: Option<&str>) -> Result<String, String> {
    let Some(name) = interface else {
        return Err("none was found: name one with --interface".to_owned());
    };
    match Link::find(name) {
        Ok(Some(link)) if link.is_ethernet() => Ok(format!("{name} is Ethernet")),
        Ok(Some(link)) => Err(format!(
            "{name} is not Ethernet (type {}): choose another with --interface, or take --data-plane haproxy",
            link.kind()
        )),
        Ok(None) => Err(format!("{name} is not there; `ip link` lists what there is")),
        Err(error) => Err(format!("{name}: {error:#}")),
    }
}

/// Loading is the only way to know what the verifier says; where bpf(2) is refused at all, that is told first.
fn programs() -> Result<String, String> {
    let tried = try_bpf().and_then(|()| program::try_load().map_err(|error| format!("{error:#}")));
    match tried {
        Ok(()) => Ok("the verifier accepts them".to_owned()),
        Err(text) => Err(format!("{text}{}", place::cause())),
    }
}

/// Makes a map and programs that do nothing, of the kinds that are needed.
fn try_bpf() -> Result<(), String> {
    for kind in [MapType::Array, MapType::LruHash, MapType::SockMap] {
        match is_map_supported(kind) {
            Ok(true) => {}
            Ok(false) => return Err(format!("this kernel has no maps of the kind {kind:?}")),
            Err(error) => return Err(format!("making a map: {}: {}", error.call, error.io_error)),
        }
    }
    for kind in [ProgramType::SchedClassifier, ProgramType::SkLookup] {
        match is_program_supported(kind) {
            Ok(true) => {}
            Ok(false) => return Err(format!("this kernel has no programs of the kind {kind:?}")),
            Err(error) => return Err(format!("loading a program: {error}")),
        }
    }
    Ok(())
}

fn data_in_syn() -> Result<String, String> {
    const PATH: &str = "/proc/sys/net/ipv4/tcp_fastopen";
    let bits = fs::read_to_string(PATH).map_err(|error| format!("{PATH}: {error}"))?;
    let can_write = fs::metadata(PATH).is_ok_and(|file| !file.permissions().readonly());
    match bits.trim().parse::<u32>() {
        Ok(bits) if bits & 2 != 0 => Ok("the stack takes it".to_owned()),
        Ok(_) if can_write => Ok("the agent will set net.ipv4.tcp_fastopen=3".to_owned()),
        _ => Ok("not available; requests are replayed (set net.ipv4.tcp_fastopen=3 for speed)".to_owned()),
    }
}

fn platform(functions_port: u16) -> Result<String, String> {
    match listener::find(functions_port) {
        Ok(Some(_)) => Ok(format!("listens on port {functions_port}")),
        Ok(None) => Ok(format!(
            "nobody listens on port {functions_port} yet; the agent waits for it"
        )),
        Err(error) => Err(format!("{error:#}")),
    }
}

/// The same for a platform whose listener is to be lent to the kernel.
fn lendable_platform(functions_port: u16) -> Result<String, String> {
    let find = || listener::find(functions_port).map_err(|error| format!("{error:#}"));
    if let Some(inode) = find()? {
        let borrowed = listener::borrow(inode).map_err(|error| format!("{error:#}"))?;
        // It may have ended between the two, which is no fault.
        if borrowed.is_none() && find()? == Some(inode) {
            return Err(format!("whoever listens on port {functions_port} {NOT_IN_SIGHT}"));
        }
    }
    platform(functions_port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_compared_by_number() {
        assert_eq!(version("6.18.44-fc"), Some((6, 18)));
        assert_eq!(version("5.10-rc1"), Some((5, 10)));
        assert!(version("5.9.16") < Some(KERNEL_MIN));
        assert_eq!(version("six"), None);
    }

    #[test]
    fn capabilities_are_read() {
        assert_eq!(
            effective_capabilities("Name:\tx\nCapEff:\t000001ffffffffff\n"),
            Some(0x1ff_ffff_ffff)
        );
        assert_eq!(effective_capabilities("Name:\tx\n"), None);
    }

    #[test]
    fn a_missing_interface_is_told() {
        assert!(link(Some("nosuch0")).unwrap_err().contains("nosuch0"));
        assert!(link(None).unwrap_err().contains("--interface"));
    }
}
