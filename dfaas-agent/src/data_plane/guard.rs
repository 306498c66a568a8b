//! The guard before the data plane: attached, told whom to keep out.

use std::{
    collections::BTreeSet,
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, anyhow, ensure};
use aya::{
    Ebpf,
    maps::{Array, LpmTrie, MapData, lpm_trie::Key},
    programs::{ProgramError, Xdp, XdpMode, links::FdLink},
};
use clap::ValueEnum;
use dfaas_common::{
    guard::{ADDRESS_BITS, BLOCKED, Guard},
    meter::Limit,
    packet::Address,
};
use ipnet::IpNet;
use serde::Serialize;
use tracing::{info, warn};

use super::{pins::Pins, take};
use crate::followed_file::{self, FollowedFile};

/// The name of its pin.
const PIN: &str = "guard";

/// Where the guard stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
pub(crate) enum GuardMode {
    /// There is none.
    Off,
    /// In the interface's driver where it can, else before the kernel's stack.
    Auto,
    /// In the interface's driver.
    Native,
    /// Before the kernel's stack, which has made packets already.
    Generic,
}

/// What the guard has to know.
#[derive(Clone, Debug)]
pub(crate) struct GuardConfig {
    pub(crate) mode: GuardMode,
    /// How many connections a network may begin, in 1/s; may be infinite.
    pub(crate) syn_rate_rps: f64,
    pub(crate) block_file: Option<PathBuf>,
}

/// The sources that a file blocks, an address or prefix a line.
pub(crate) const fn blocked(file: Option<PathBuf>) -> FollowedFile<BTreeSet<IpNet>> {
    FollowedFile::new(file, parse)
}

fn parse(text: &str) -> Result<BTreeSet<IpNet>> {
    let networks: BTreeSet<IpNet> = followed_file::lines(text).map(network).collect::<Result<_>>()?;
    ensure!(
        networks.len() <= BLOCKED,
        "{} prefixes are more than the {BLOCKED} that can be blocked",
        networks.len()
    );
    Ok(networks)
}

fn network(text: &str) -> Result<IpNet> {
    let network = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    network
        .map(|network| network.trunc())
        .map_err(|_| anyhow!("{text:?} is neither an address nor a prefix such as 192.0.2.0/24"))
}

/// A guard that stands.
pub(super) struct GuardMaps {
    settings: Guard,
    guard: Array<MapData, Guard>,
    trie: LpmTrie<MapData, Address, u32>,
    file: FollowedFile<BTreeSet<IpNet>>,
    blocked: BTreeSet<IpNet>,
}

impl GuardMaps {
    /// Puts the guard before the interface. Dropping the object takes it away.
    pub(super) fn attach(
        ebpf: &mut Ebpf,
        interface: &str,
        config: &GuardConfig,
        pins: Option<&Pins>,
    ) -> Result<Option<Self>> {
        let pin = pins.map(|pins| pins.path(PIN));
        if config.mode == GuardMode::Off {
            // An agent before this one may have had one.
            let _none = pin.map(fs::remove_file);
            return Ok(None);
        }
        let maps = Self::new(ebpf, config)?;
        attach(ebpf, interface, config.mode, pin.as_deref())?;
        Ok(Some(maps))
    }

    /// Tells the maps what the guard has to know before it stands.
    fn new(ebpf: &mut Ebpf, config: &GuardConfig) -> Result<Self> {
        let mut maps = Self {
            settings: Guard {
                syns: Limit::new(config.syn_rate_rps, config.syn_rate_rps, 0),
                ..Guard::default()
            },
            guard: Array::try_from(take(ebpf, "GUARD")?)?,
            trie: LpmTrie::try_from(take(ebpf, "BLOCKED")?)?,
            file: blocked(config.block_file.clone()),
            blocked: BTreeSet::new(),
        };
        maps.write_settings()?;
        maps.follow()?;
        Ok(maps)
    }

    /// Blocks whom the file names, and nobody else.
    pub(super) fn follow(&mut self) -> Result<()> {
        let Some(networks) = self.file.follow()? else {
            return Ok(());
        };
        // Who stays out by another prefix than before is never let in between, where there is room for both.
        let has_room = self.blocked.union(&networks).count() <= BLOCKED;
        if !has_room {
            self.let_in_but(&networks)?;
        }
        for network in networks.difference(&self.blocked) {
            self.trie
                .insert(&key(network), 1, 0)
                .with_context(|| format!("blocking {network}"))?;
        }
        if has_room {
            self.let_in_but(&networks)?;
        }
        info!(prefixes = networks.len(), "Others are blocked than before");
        self.settings.blocked = networks.len() as u32;
        self.blocked = networks;
        self.write_settings()
    }

    /// Lets in whom the file does not name any more.
    fn let_in_but(&mut self, networks: &BTreeSet<IpNet>) -> Result<()> {
        for network in self.blocked.difference(networks) {
            self.trie
                .remove(&key(network))
                .with_context(|| format!("letting {network} in again"))?;
        }
        Ok(())
    }

    fn write_settings(&mut self) -> Result<()> {
        self.guard.set(0, self.settings, 0).context("writing GUARD")
    }
}

fn attach(ebpf: &mut Ebpf, interface: &str, mode: GuardMode, pin: Option<&Path>) -> Result<()> {
    let program: &mut Xdp = ebpf
        .program_mut("guard")
        .context("the object has no program guard")?
        .try_into()?;
    program.load().context("loading the program guard")?;
    if let Some(pin) = pin {
        // What it blocks is in maps of its own, and an interface takes one guard at a time.
        let _none = fs::remove_file(pin);
    }
    let attached = match mode {
        GuardMode::Off => return Ok(()),
        GuardMode::Native => program.attach(interface, XdpMode::Driver),
        GuardMode::Generic => program.attach(interface, XdpMode::Skb),
        GuardMode::Auto => attach_anyhow(program, interface),
    };
    let id = attached.with_context(|| {
        format!("attaching the guard to {interface}; --guard generic needs nothing of its driver")
    })?;
    if let Some(pin) = pin {
        let link: FdLink = program.take_link(id)?.try_into()?;
        link.pin(pin).context("pinning the guard")?;
    }
    info!(interface, ?mode, "Attached the guard");
    Ok(())
}

fn attach_anyhow(program: &mut Xdp, interface: &str) -> Result<aya::programs::xdp::XdpLinkId, ProgramError> {
    program.attach(interface, XdpMode::Driver).or_else(|error| {
        warn!(interface, error = %anyhow!(error), "The driver takes no guard; it stands before the kernel's stack");
        program.attach(interface, XdpMode::Skb)
    })
}

fn key(network: &IpNet) -> Key<Address> {
    match network {
        IpNet::V4(network) => Key::new(
            ADDRESS_BITS - 32 + u32::from(network.prefix_len()),
            Address::from_ipv4(network.network().octets()),
        ),
        IpNet::V6(network) => Key::new(
            network.prefix_len().into(),
            Address::from_ipv6(network.network().octets()),
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, net::Ipv4Addr};

    use super::*;
    use crate::data_plane::{ProgramLevel, program};

    #[test]
    fn lines_are_addresses_or_prefixes() {
        let networks = parse("# scanners\n192.0.2.7\n198.51.100.9/24\n2001:db8::/32\n").unwrap();
        let texts: Vec<String> = networks.iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["192.0.2.7/32", "198.51.100.0/24", "2001:db8::/32"]);
        let error = format!("{:#}", parse("example.org\n").unwrap_err());
        assert!(error.contains("\"example.org\" is neither"), "{error}");
    }

    #[test]
    fn as_many_as_there_is_room_for_give_way_to_as_many_others() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("blocked");
        let all = |first: u8| -> String {
            let numbers = 0..BLOCKED as u16;
            let addresses =
                numbers.map(|number| Ipv4Addr::from([first, 1, (number >> 8) as u8, number as u8]));
            addresses.map(|address| format!("{address}\n")).collect()
        };
        fs::write(&file, all(10)).unwrap();
        let config = GuardConfig {
            mode: GuardMode::Auto,
            syn_rate_rps: f64::INFINITY,
            block_file: Some(file.clone()),
        };
        let mut guard = GuardMaps::new(
            &mut program::load(1_024, ProgramLevel::Off, None).unwrap(),
            &config,
        )
        .unwrap();
        let is_blocked =
            |guard: &GuardMaps, address: &str| guard.trie.get(&key(&network(address).unwrap()), 0).is_ok();
        assert!(is_blocked(&guard, "10.1.63.255") && !is_blocked(&guard, "11.1.0.0"));
        fs::write(&file, all(11)).unwrap();
        guard.follow().unwrap();
        assert!(is_blocked(&guard, "11.1.63.255") && !is_blocked(&guard, "10.1.0.0"));
        fs::write(&file, all(10) + "192.0.2.1\n").unwrap();
        let error = format!("{:#}", guard.follow().unwrap_err());
        assert!(
            error.contains("16385 prefixes are more than the 16384"),
            "{error}"
        );
        assert!(is_blocked(&guard, "11.1.0.0"), "what was said before holds");
    }

    #[test]
    fn prefixes_of_ipv4_stand_among_those_of_ipv6() {
        let of = |text: &str| key(&network(text).unwrap());
        assert_eq!(of("192.0.2.0/24").prefix_len(), 120);
        assert_eq!(of("192.0.2.0/24").data(), Address::from_ipv4([192, 0, 2, 0]));
        assert_eq!(of("2001:db8::/32").prefix_len(), 32);
        assert_eq!(of("0.0.0.0/0").prefix_len(), 96);
    }
}
