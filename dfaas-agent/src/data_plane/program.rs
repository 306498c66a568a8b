//! The eBPF object: loaded, told its settings, attached.

use std::{
    fs,
    net::{Ipv4Addr, Ipv6Addr},
};

use anyhow::{Context, Result, bail, ensure};
use aya::{
    Ebpf, EbpfLoader, Pod,
    maps::{Array, MapData},
};
use dfaas_common::{
    decide::Answer,
    maps::{
        self, Config, DATA_IN_SYN_FROM_ALL, DATA_IN_SYN_FROM_PEERS, DATA_IN_SYN_LOCAL, LOCAL, LOCAL_IPV6,
        PROXY, PROXY_COMES, PROXY_IPV6, REPLY_BYTES, Reply, STAMP_BYTES,
    },
    packet::{Address, fold},
    tcp_options::OUR_WINDOW_SCALE,
};
use tracing::warn;

use super::{
    DataInSyn, DataPlaneConfig, attached,
    pins::{self, Pins},
    program_log::{self, ProgramLevel},
    sysctls::Sysctls,
};
use crate::{clock, links::Link};

/// IPv4 and TCP headers without options.
const HEADERS_BYTES: u16 = 40;
/// A whole request, stamp included, has to fit into one segment of plain Ethernet, whatever the link could carry.
const LINK_BYTES_MAX: u16 = 1_500;
/// The least that every IPv4 link carries is 68 bytes; below this a request's head would rarely fit.
const LINK_BYTES_MIN: u16 = 576;

/// The least room for first segments.
const HELD_MIN: u32 = 512;
/// How many entries of a table whose oldest go first a kernel keeps aside for each CPU (`LOCAL_FREE_TARGET` in
/// `kernel/bpf/bpf_lru_list.c`; smaller in small tables since Linux 6.16). Where that is all of the table, a CPU recycles its
/// newest entries.
const KEPT_ASIDE: u32 = 128;

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/dfaas-ebpf"));

/// Loads the object with room for so many clients' connections and a log up to a level; nothing is attached yet. Maps that
/// are pinned are those of the agent before this one.
pub(super) fn load(flows_max: u32, log: ProgramLevel, pins: Option<&Pins>) -> Result<Ebpf> {
    // Before 5.11 maps count against RLIMIT_MEMLOCK; afterwards the limit does not matter.
    let unlimited = rustix::process::Rlimit {
        current: None,
        maximum: None,
    };
    let _not_permitted = rustix::process::setrlimit(rustix::process::Resource::Memlock, unlimited);
    let level = log as u8;
    let mut loader = EbpfLoader::new();
    for (name, size) in flow_maps(flows_max, possible_cpus()) {
        loader.map_max_entries(name, size);
    }
    for name in pins::MAPS.into_iter().chain([pins::NAMES]) {
        if let Some(pins) = pins {
            loader.map_pin_path(name, pins.path(name));
        }
    }
    program_log::set_up(&mut loader, &level);
    loader.load(OBJECT).context("loading the eBPF maps and programs")
}

/// The maps that hold connections, in the proportions that they have where there are [`maps::CLIENTS`].
///
/// Those whose oldest entries go first have room beside what each of these CPUs keeps aside.
fn flow_maps(flows_max: u32, cpus: u32) -> [(&'static str, u32); 5] {
    let scaled = |size: usize| {
        let size = size as u64 * u64::from(flows_max) / maps::CLIENTS as u64;
        u32::try_from(size).unwrap_or(u32::MAX).max(HELD_MIN)
    };
    let recycled = |size: usize| scaled(size).max(cpus.saturating_mul(2 * KEPT_ASIDE));
    [
        ("CLIENTS", flows_max),
        ("UPSTREAMS", scaled(maps::UPSTREAMS)),
        ("OPENING", recycled(maps::OPENINGS)),
        ("HELD", recycled(maps::HELDS)),
        ("AHEAD", recycled(maps::HELDS)),
    ]
}

/// How many CPUs the kernel is prepared for; 1 if it does not say.
fn possible_cpus() -> u32 {
    let cpus = aya::util::nr_cpus().ok();
    cpus.and_then(|cpus| u32::try_from(cpus).ok()).unwrap_or(1)
}

/// What an agent before this one has set, if its maps are here.
pub(super) fn before(ebpf: &mut Ebpf) -> Result<Option<Config>> {
    let settings = array::<Config>(ebpf, "CONFIG")?
        .get(&0, 0)
        .context("reading CONFIG")?;
    Ok((settings != Config::default()).then_some(settings))
}

/// The settings that the programs need before they see a packet. Connections that there are already need the same secret
/// and a clock that goes on.
pub(super) fn configure(ebpf: &mut Ebpf, config: &DataPlaneConfig, before: Option<Config>) -> Result<Config> {
    const OF_LISTENERS: u32 = LOCAL_IPV6 | PROXY | PROXY_IPV6 | PROXY_COMES;
    let fresh = Config {
        secret: secret()?,
        attended_until_ns: clock::monotonic_ns().saturating_add(config.unattended.as_nanos() as u64),
        ..Config::default()
    };
    let before = before.unwrap_or(fresh);
    let settings = Config {
        addresses: addresses(config.address, config.address_ipv6),
        port: config.port.to_be_bytes(),
        segment_bytes: segment_size(link_bytes(&config.interface)?),
        nat_first: config.nat_ports.0,
        nat_mask: port_mask(config.nat_ports)?,
        flags: LOCAL | syn_flags(config.data_in_syn) | before.flags & OF_LISTENERS,
        ..before
    };
    array::<Config>(ebpf, "CONFIG")?
        .set(0, settings, 0)
        .context("writing CONFIG")?;
    let mut replies = array::<Reply>(ebpf, "REPLIES")?;
    for answer in Answer::ALL {
        for (ends, text) in [
            (true, answer.response()),
            (false, &answer.kept_response().concat()),
        ] {
            replies
                .set(answer.number(ends).into(), reply(text), 0)
                .context("writing REPLIES")?;
        }
    }
    Ok(settings)
}

/// The most that a client may send in a segment: what the link carries less the room for a stamp, in whole units of the
/// window, so that a window can be exactly one segment.
const fn segment_size(link_bytes: u16) -> u16 {
    let unit = 1 << OUR_WINDOW_SCALE;
    (link_bytes - HEADERS_BYTES - STAMP_BYTES as u16) / unit * unit
}

/// Loads everything and lets it go again.
pub(super) fn try_load() -> Result<()> {
    let mut ebpf = load(maps::CLIENTS as u32, ProgramLevel::Off, None)?;
    attached::load(&mut ebpf)
}

/// Lets the stack take data in SYNs where a listener asks for it (bit 2 of `tcp_fastopen`).
///
/// Returns whether it does. The sysctl belongs to this network namespace.
pub(super) fn allow_data_in_syn(sysctls: &Sysctls) -> bool {
    const PATH: &str = "/proc/sys/net/ipv4/tcp_fastopen";
    const SERVER: u32 = 2;
    let Some(bits) = fs::read_to_string(PATH)
        .ok()
        .and_then(|text| text.trim().parse::<u32>().ok())
    else {
        return false;
    };
    if bits & SERVER != 0 {
        return true;
    }
    let result = sysctls.set(PATH, &bits.to_string(), &(bits | SERVER).to_string());
    if let Err(error) = &result {
        warn!(%error, "Requests are replayed after the handshake; set net.ipv4.tcp_fastopen=3 to send them in SYNs");
    }
    result.is_ok()
}

/// Keeps the kernel from giving our source ports to sockets of this host.
pub(super) fn reserve_ports((first, last): (u16, u16), sysctls: &Sysctls) {
    const PATH: &str = "/proc/sys/net/ipv4/ip_local_reserved_ports";
    let ours = format!("{first}-{last}");
    let Ok(reserved) = fs::read_to_string(PATH) else {
        return;
    };
    let reserved = reserved.trim();
    if reserved.split(',').any(|range| range == ours) {
        return;
    }
    let both = if reserved.is_empty() {
        ours
    } else {
        format!("{reserved},{ours}")
    };
    if let Err(error) = sysctls.set(PATH, reserved, &both) {
        warn!(%error, "Set net.ipv4.ip_local_reserved_ports={both}, or local sockets may collide with forwarded ones");
    }
}

fn link_bytes(interface: &str) -> Result<u16> {
    let link = Link::find(interface)?.with_context(|| format!("there is no interface {interface}"))?;
    let bytes = u16::try_from(link.mtu).unwrap_or(u16::MAX).min(LINK_BYTES_MAX);
    if bytes < LINK_BYTES_MIN {
        bail!("{interface} carries {bytes} bytes a packet; {LINK_BYTES_MIN} are needed: raise its MTU");
    }
    Ok(bytes)
}

fn port_mask((first, last): (u16, u16)) -> Result<u16> {
    let count = u32::from(last) + 1 - u32::from(first).min(u32::from(last));
    if !count.is_power_of_two() {
        bail!("ports {first} to {last} are {count}; their number must be a power of two, as in 40960-57343");
    }
    Ok((count - 1) as u16)
}

/// Both addresses of a node as the kernel has them.
pub(super) fn addresses(ipv4: Ipv4Addr, ipv6: Option<Ipv6Addr>) -> [Address; 2] {
    let ipv6 = ipv6.map_or(Address::NONE, |address| Address::from_ipv6(address.octets()));
    [Address::from_ipv4(ipv4.octets()), ipv6]
}

fn syn_flags(data_in_syn: DataInSyn) -> u32 {
    match data_in_syn {
        DataInSyn::Never => 0,
        DataInSyn::Peers => DATA_IN_SYN_LOCAL | DATA_IN_SYN_FROM_PEERS,
        DataInSyn::Always => DATA_IN_SYN_LOCAL | DATA_IN_SYN_FROM_PEERS | DATA_IN_SYN_FROM_ALL,
    }
}

fn reply(text: &str) -> Reply {
    let mut reply = Reply {
        length: text.len() as u32,
        sum: 0,
        bytes: [0; REPLY_BYTES],
    };
    reply.bytes[..text.len()].copy_from_slice(text.as_bytes());
    let words = reply
        .bytes
        .chunks_exact(2)
        .map(|pair| u64::from(u16::from_ne_bytes([pair[0], pair[1]])));
    reply.sum = fold(words.sum()).into();
    reply
}

/// A new key for sequence numbers and ports. So few bytes come at once, or not at all.
fn secret() -> Result<[u64; 2]> {
    let mut halves = [[0; 8]; 2];
    for half in &mut halves {
        let drawn = rustix::rand::getrandom(half, rustix::rand::GetRandomFlags::empty());
        let length = drawn.context("drawing the secret of sequence numbers")?;
        ensure!(length == 8, "the kernel gave {length} random bytes of 8");
    }
    Ok(halves.map(u64::from_ne_bytes))
}

fn array<'a, T: Pod>(ebpf: &'a mut Ebpf, name: &str) -> Result<Array<&'a mut MapData, T>> {
    let map = ebpf
        .map_mut(name)
        .with_context(|| format!("the object has no map {name}"))?;
    Array::try_from(map).with_context(|| format!("opening {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_are_scaled_together() {
        let whole = flow_maps(maps::CLIENTS as u32, 4);
        assert_eq!(whole[1], ("UPSTREAMS", maps::UPSTREAMS as u32));
        assert_eq!(whole[3], ("HELD", maps::HELDS as u32));
        let small = flow_maps(1024, 2).map(|(_, size)| size);
        assert_eq!(small, [1024, 1536, 512, 512, 512]);
    }

    #[test]
    fn tables_whose_oldest_go_first_have_room_on_many_cpus() {
        for cpus in [5, 64, 512] {
            let sizes = flow_maps(16_384, cpus);
            for (name, size) in sizes.into_iter().skip(2) {
                assert!(size >= 2 * cpus * KEPT_ASIDE, "{name}: {size} for {cpus}");
            }
        }
    }
}
