//! Private federations: the key that all members share, and the line by which one invites another.

use std::{
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use libp2p::{Multiaddr, PeerId, multiaddr::Protocol, pnet::PreSharedKey};
use serde::{Deserialize, Serialize};

use crate::identity;

/// What an invitation begins with; the number is that of its form.
const PREFIX: &str = "dfaas1.";
const KEY_BYTES: usize = 32;
/// An invitation names a few nodes. One that is longer than this is none.
const INVITATION_BYTES_MAX: usize = 16 * 1024;

/// What a node has to know to join.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Invitation {
    /// The shared key, in base 64: who has it belongs to the federation.
    key: String,
    /// Where members can be met.
    addresses: Vec<Multiaddr>,
}

/// Where a node keeps what it was told of its federation.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    pub(crate) swarm_key: PathBuf,
    pub(crate) bootstrap: PathBuf,
}

impl Files {
    pub(crate) fn of(state_dir: &Path) -> Self {
        Self {
            swarm_key: state_dir.join("swarm.key"),
            bootstrap: state_dir.join("bootstrap"),
        }
    }
}

impl Invitation {
    /// The text that another node joins with, in one line.
    pub(crate) fn text(&self) -> String {
        let json = serde_json::to_vec(self).expect("texts are always JSON");
        format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(json))
    }

    /// Reads what [`Self::text`] made.
    ///
    /// # Errors
    /// A text that is none.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let text = text.trim();
        ensure!(
            text.len() <= INVITATION_BYTES_MAX,
            "the invitation is longer than any is"
        );
        let code = text.strip_prefix(PREFIX).with_context(|| {
            format!(
                "an invitation begins with {PREFIX:?}: copy all of the line that `federation new` printed"
            )
        })?;
        let json = URL_SAFE_NO_PAD
            .decode(code)
            .context("the invitation was cut off or changed on its way: copy it once more")?;
        let invitation: Self = serde_json::from_slice(&json)
            .context("the invitation was cut off or changed on its way: copy it once more")?;
        invitation.swarm_key()?;
        Ok(invitation)
    }

    /// The text of a `swarm.key`.
    fn swarm_key(&self) -> Result<String> {
        let key = URL_SAFE_NO_PAD.decode(&self.key);
        let key = key.ok().filter(|key| key.len() == KEY_BYTES);
        let key = key.with_context(|| format!("the invitation's key has not {KEY_BYTES} bytes"))?;
        let digits: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(format!("/key/swarm/psk/1.0.0/\n/base16/\n{digits}\n"))
    }
}

/// Founds a federation with this key, and returns the invitation to it.
///
/// # Errors
/// This node belongs to one already, or the key cannot be written.
pub(crate) fn found(files: &Files, key: [u8; KEY_BYTES], addresses: Vec<Multiaddr>) -> Result<Invitation> {
    let invitation = Invitation {
        key: URL_SAFE_NO_PAD.encode(key),
        addresses,
    };
    let shown = files.swarm_key.display();
    ensure!(
        !files.swarm_key.exists(),
        "this node belongs to a federation already, by {shown}: `federation invite` prints an invitation to it; move that file \
         away to found another"
    );
    keep(files, &invitation)?;
    Ok(invitation)
}

/// The invitation to the federation to which this node belongs.
///
/// # Errors
/// It belongs to none, or its key cannot be read.
pub(crate) fn invite(swarm_key: &Path, addresses: Vec<Multiaddr>) -> Result<Invitation> {
    let shown = swarm_key.display();
    ensure!(
        swarm_key.exists(),
        "there is no {shown}: `federation new` founds a federation"
    );
    let text = identity::read_private(swarm_key)?;
    ensure!(text.parse::<PreSharedKey>().is_ok(), "{shown} is no swarm.key");
    let digits = text.lines().last().unwrap_or_default().trim();
    let bytes = digits.as_bytes().chunks(2).map(|pair| {
        let pair = std::str::from_utf8(pair).ok()?;
        u8::from_str_radix(pair, 16).ok()
    });
    let key: Option<Vec<u8>> = bytes.collect();
    let key = key
        .filter(|key| key.len() == KEY_BYTES)
        .with_context(|| format!("the key in {shown} is not in base 16"))?;
    Ok(Invitation {
        key: URL_SAFE_NO_PAD.encode(key),
        addresses,
    })
}

/// Makes this node a member of the federation to which it was invited. Who is one already only meets more nodes.
///
/// # Errors
/// This node belongs to another one, or a file cannot be written.
pub(crate) fn join(files: &Files, invitation: &Invitation) -> Result<()> {
    if files.swarm_key.exists() {
        let shown = files.swarm_key.display();
        if identity::read_private(&files.swarm_key)? != invitation.swarm_key()? {
            bail!(
                "this node belongs to another federation, by {shown}: move that file away to leave it, then join again"
            );
        }
        return keep_addresses(files, invitation);
    }
    keep(files, invitation)?;
    keep_addresses(files, invitation)
}

fn keep(files: &Files, invitation: &Invitation) -> Result<()> {
    let file = &files.swarm_key;
    let write = || {
        if let Some(folder) = file.parent() {
            identity::create_private_folder(folder)?;
        }
        identity::write_private(file, &invitation.swarm_key()?)
    };
    write().with_context(|| format!("writing {}", file.display()))
}

fn keep_addresses(files: &Files, invitation: &Invitation) -> Result<()> {
    let file = &files.bootstrap;
    let known = fs::read_to_string(file).unwrap_or_default();
    let mut lines: Vec<String> = known.lines().map(str::to_owned).collect();
    for address in &invitation.addresses {
        let line = address.to_string();
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    fs::write(file, text).with_context(|| format!("writing {}", file.display()))
}

/// Where others can dial a node: at each address of its host, at the ports on which it listens, under its identity.
pub(crate) fn addresses(listen: &[Multiaddr], host: &[IpAddr], node: PeerId) -> Vec<Multiaddr> {
    let mut addresses = Vec::new();
    for address in listen {
        let protocols: Vec<Protocol<'_>> = address.iter().collect();
        let (ip, way) = match &protocols[..] {
            [Protocol::Ip4(ip), way @ ..] => (IpAddr::V4(*ip), way),
            [Protocol::Ip6(ip), way @ ..] => (IpAddr::V6(*ip), way),
            _ => continue,
        };
        let hosts: Vec<IpAddr> = if ip.is_unspecified() {
            let is_meant =
                |own: &&IpAddr| own.is_ipv4() == ip.is_ipv4() && !own.is_loopback() && !is_link_local(own);
            host.iter().filter(is_meant).copied().collect()
        } else {
            vec![ip]
        };
        for host in hosts {
            let start = [Protocol::from(host)].into_iter().chain(way.iter().cloned());
            addresses.push(start.chain([Protocol::P2p(node)]).collect());
        }
    }
    addresses
}

fn is_link_local(ip: &IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn who_is_invited_has_the_key_and_knows_whom_to_dial() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (founder, guest) = (Files::of(&one.path().join("state")), Files::of(other.path()));
        let address: Multiaddr = "/ip4/192.0.2.1/tcp/31600".parse().unwrap();
        let invitation = found(&founder, [7; KEY_BYTES], vec![address.clone()]).unwrap();
        let line = invitation.text();
        assert!(!line.contains(char::is_whitespace) && line.len() < 300, "{line}");
        let again = invite(&founder.swarm_key, vec![address]).unwrap();
        assert_eq!(again, invitation);
        join(&guest, &Invitation::parse(&format!(" {line}\n")).unwrap()).unwrap();
        let key = |files: &Files| fs::read_to_string(&files.swarm_key).unwrap();
        assert_eq!(key(&founder), key(&guest));
        assert!(key(&guest).parse::<PreSharedKey>().is_ok());
        assert_eq!(fs::metadata(&guest.swarm_key).unwrap().mode() & 0o777, 0o600);
        assert_eq!(
            fs::read_to_string(&guest.bootstrap).unwrap(),
            "/ip4/192.0.2.1/tcp/31600\n"
        );
        join(&guest, &invitation).unwrap();
        assert_eq!(fs::read_to_string(&guest.bootstrap).unwrap().lines().count(), 1);
    }

    #[test]
    fn nobody_loses_a_federation_by_mistake() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::of(folder.path());
        let error = invite(&files.swarm_key, vec![]).unwrap_err().to_string();
        assert!(error.contains("federation new"), "{error}");
        found(&files, [7; KEY_BYTES], vec![]).unwrap();
        let error = found(&files, [8; KEY_BYTES], vec![]).unwrap_err().to_string();
        assert!(error.contains("federation invite"), "{error}");
        let other = Invitation {
            key: URL_SAFE_NO_PAD.encode([8; KEY_BYTES]),
            addresses: vec![],
        };
        let error = join(&files, &other).unwrap_err().to_string();
        assert!(error.contains("belongs to another federation"), "{error}");
    }

    #[test]
    fn what_is_no_invitation_is_told() {
        let short = Invitation {
            key: URL_SAFE_NO_PAD.encode([8; 5]),
            addresses: vec![],
        };
        let good = Invitation {
            key: URL_SAFE_NO_PAD.encode([8; KEY_BYTES]),
            addresses: vec![],
        };
        let good = good.text();
        for (text, want) in [
            ("", "begins with"),
            ("hello", "begins with"),
            (&good[..good.len() - 3], "cut off or changed"),
            (&good.replace('.', ".!"), "cut off or changed"),
            (&short.text(), "has not 32 bytes"),
            (&"x".repeat(INVITATION_BYTES_MAX + 1), "longer than any"),
        ] {
            let error = format!("{:#}", Invitation::parse(text).unwrap_err());
            assert!(error.contains(want), "{text}: {error}");
        }
    }

    #[test]
    fn a_node_is_dialled_at_the_addresses_of_its_host() {
        let node = PeerId::random();
        let listen = [
            "/ip4/0.0.0.0/tcp/1",
            "/ip4/0.0.0.0/udp/1/quic-v1",
            "/ip6/2001:db8::1/tcp/2",
        ];
        let listen: Vec<Multiaddr> = listen.iter().map(|text| text.parse().unwrap()).collect();
        let host = ["127.0.0.1", "169.254.1.1", "10.0.0.1", "fe80::1", "2001:db8::9"];
        let host: Vec<IpAddr> = host.iter().map(|text| text.parse().unwrap()).collect();
        let texts: Vec<String> = addresses(&listen, &host, node)
            .iter()
            .map(ToString::to_string)
            .collect();
        let want = [
            "/ip4/10.0.0.1/tcp/1",
            "/ip4/10.0.0.1/udp/1/quic-v1",
            "/ip6/2001:db8::1/tcp/2",
        ];
        assert_eq!(texts, want.map(|way| format!("{way}/p2p/{node}")));
    }
}
