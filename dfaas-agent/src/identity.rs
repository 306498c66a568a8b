//! The node's key: an Ed25519 private key in a PEM file, as `openssl genpkey -algorithm ed25519` writes it.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use dfaas_control::NodeId;
use libp2p::PeerId;
use libp2p::identity::{Keypair, ed25519};
use tempfile::NamedTempFile;

const PEM_BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const PEM_END: &str = "-----END PRIVATE KEY-----";
/// What stands before the 32 bytes of the key in the file. RFC 8410, section 7: version 0, algorithm 1.3.101.112, and
/// the key as an octet string in an octet string.
const DER_PREFIX: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];
/// A key file has some 120 bytes; more than this is something else.
const FILE_BYTES_MAX: u64 = 4096;

/// Reads the key in `path`, or makes a new one there, readable by its owner only.
///
/// # Errors
///
/// Fails as [`load`] does, and if the file or the directory it stands in cannot be made.
pub(crate) fn load_or_create(path: &Path) -> Result<Keypair> {
    if !exists(path)? {
        create(path).with_context(|| format!("create the key file {}", path.display()))?;
    }
    load(path)
}

/// Reads the key in `path`.
///
/// # Errors
///
/// Fails if the file is missing, open to others than its owner, or holds anything but an Ed25519 private key.
pub(crate) fn load(path: &Path) -> Result<Keypair> {
    let text = read_private(path)?;
    decode(&text).with_context(|| {
        format!(
            "read the key file {path}: restore it from a copy, or delete it to get a new key, and with it a new identity",
            path = path.display()
        )
    })
}

/// The identity that belongs to `keypair`.
pub(crate) fn node_id(keypair: &Keypair) -> NodeId {
    peer_name(keypair.public().to_peer_id())
}

/// The identity of the node that libp2p calls `peer`.
pub(crate) fn peer_name(peer: PeerId) -> NodeId {
    NodeId::new(peer.to_base58()).expect("a peer id is short and base 58")
}

fn exists(path: &Path) -> Result<bool> {
    path.try_exists()
        .with_context(|| format!("look for the key file {}", path.display()))
}

/// Reads a file of secrets that is of its owner only.
pub(crate) fn read_private(path: &Path) -> Result<String> {
    let shown = path.display();
    let file = File::open(path).with_context(|| format!("open the key file {shown}"))?;
    let metadata = file
        .metadata()
        .with_context(|| format!("inspect the key file {shown}"))?;
    if !metadata.is_file() {
        bail!("the key file {shown} is not a regular file: name a file");
    }
    let mode = metadata.mode() & 0o777;
    if mode & 0o077 != 0 {
        bail!(
            "the key file {shown} has mode {mode:04o}, so others than its owner may use it: run `chmod 600 {shown}`"
        );
    }
    let mut text = String::new();
    file.take(FILE_BYTES_MAX)
        .read_to_string(&mut text)
        .with_context(|| format!("read the key file {shown}"))?;
    Ok(text)
}

fn create(path: &Path) -> Result<()> {
    let parent = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        Some(_) | None => Path::new("."),
    };
    create_private_folder(parent)?;
    let key = encode(&ed25519::Keypair::generate());
    // Private by itself, under a name that no other process has.
    let mut temporary = NamedTempFile::new_in(parent)?;
    temporary.write_all(key.as_bytes())?;
    temporary.as_file().sync_all()?;
    // The key of an agent that was quicker is never replaced.
    match temporary.persist_noclobber(path) {
        Ok(_) => {}
        Err(error) if error.error.kind() == ErrorKind::AlreadyExists => return Ok(()),
        Err(_) => create_in_place(path, &key)?,
    }
    Ok(File::open(parent)?.sync_all()?)
}

/// For file systems that can neither link nor rename without replacing, as some of 9p and NFS.
fn create_in_place(path: &Path, key: &str) -> Result<()> {
    match write_private(path, key) {
        Err(error) if is_there_already(&error) => Ok(()),
        Err(error) => {
            // Half of a key is none.
            fs::remove_file(path).ok();
            Err(error)
        }
        Ok(()) => Ok(()),
    }
}

fn is_there_already(error: &anyhow::Error) -> bool {
    let kind = error.downcast_ref().map(std::io::Error::kind);
    kind == Some(ErrorKind::AlreadyExists)
}

/// Makes a folder that only its owner may look into, if it is not there.
pub(crate) fn create_private_folder(path: &Path) -> Result<()> {
    Ok(DirBuilder::new().recursive(true).mode(0o700).create(path)?)
}

/// Writes a new file of secrets.
pub(crate) fn write_private(path: &Path, text: &str) -> Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    Ok(())
}

fn encode(keypair: &ed25519::Keypair) -> String {
    let der = [DER_PREFIX.as_slice(), keypair.secret().as_ref()].concat();
    format!("{PEM_BEGIN}\n{}\n{PEM_END}\n", STANDARD.encode(der))
}

fn decode(text: &str) -> Result<Keypair> {
    let (_, rest) = text
        .split_once(PEM_BEGIN)
        .context("no PEM block PRIVATE KEY in it")?;
    let (body, _) = rest.split_once(PEM_END).context("its PEM block has no end")?;
    let body: String = body.split_ascii_whitespace().collect();
    let der = STANDARD.decode(body).context("its PEM block is not base 64")?;
    let seed = der
        .strip_prefix(&DER_PREFIX)
        .context("its key is not of the kind Ed25519")?;
    Keypair::ed25519_from_bytes(seed.to_vec()).context("its key has the wrong length")
}

#[cfg(test)]
mod tests;
