use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

/// What `openssl genpkey -algorithm ed25519` printed once; its identity was computed from `openssl pkey -pubout`.
const OPENSSL_KEY: &str = "-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIKZhL6nJD76qoBLgw/VvZGdi5BH/LAuDKCDZWQtOmlmP
-----END PRIVATE KEY-----
";
const OPENSSL_ID: &str = "12D3KooWDZ3JhNfXuAa45LAupXfujbY23kqReX22gGiGj3RiXAMd";

#[test]
fn a_new_key_is_private_and_stays() {
    let directory = Directory::new();
    let path = directory.0.join("state/agent/key.pem");
    let first = node_id(&load_or_create(&path).unwrap());
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    assert_eq!(
        fs::metadata(path.parent().unwrap()).unwrap().mode() & 0o777,
        0o700
    );
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    assert_eq!(node_id(&load_or_create(&path).unwrap()), first);
    assert_eq!(node_id(&load(&path).unwrap()), first);
}

#[test]
fn a_key_made_meanwhile_is_not_replaced() {
    let directory = Directory::new();
    let path = directory.write(OPENSSL_KEY, 0o600);
    create(&path).unwrap();
    assert_eq!(node_id(&load(&path).unwrap()).as_str(), OPENSSL_ID);
    assert_eq!(fs::read_dir(&directory.0).unwrap().count(), 1);
}

#[test]
fn a_key_is_made_where_files_can_neither_be_linked_nor_renamed() {
    let directory = Directory::new();
    let path = directory.0.join("key.pem");
    create_in_place(&path, OPENSSL_KEY).unwrap();
    assert_eq!(node_id(&load(&path).unwrap()).as_str(), OPENSSL_ID);
    create_in_place(&path, &encode(&ed25519::Keypair::generate())).unwrap();
    assert_eq!(node_id(&load(&path).unwrap()).as_str(), OPENSSL_ID);
}

#[test]
fn processes_of_one_number_make_one_key() {
    let directory = Directory::new();
    let path = directory.0.join("key.pem");
    // What an agent with the same number in another container has just begun.
    fs::write(
        directory.0.join(format!("key.pem.{}.tmp", std::process::id())),
        "",
    )
    .unwrap();
    load_or_create(&path).unwrap();
}

#[test]
fn openssl_keys_are_read_and_written() {
    let keypair = decode(OPENSSL_KEY).unwrap();
    assert_eq!(node_id(&keypair).as_str(), OPENSSL_ID);
    assert_eq!(encode(&keypair.try_into_ed25519().unwrap()), OPENSSL_KEY);
    assert!(decode(&OPENSSL_KEY.replace('\n', "\r\n")).is_ok());
}

#[test]
fn a_key_open_to_others_is_refused_with_its_remedy() {
    for mode in [0o640, 0o604, 0o620, 0o610] {
        let directory = Directory::new();
        let path = directory.write(OPENSSL_KEY, mode);
        let want = format!("run `chmod 600 {}`", path.display());
        assert!(refusal(&path).ends_with(&want), "{}", refusal(&path));
    }
}

#[test]
fn read_only_keys_are_fine() {
    assert!(load(&Directory::new().write(OPENSSL_KEY, 0o400)).is_ok());
}

#[test]
fn what_is_no_key_is_refused_with_the_reason() {
    check("", "no PEM block PRIVATE KEY in it");
    check("-----BEGIN PRIVATE KEY-----\nMC4C", "its PEM block has no end");
    check(
        &OPENSSL_KEY.replace("MC4C", "M*4C"),
        "its PEM block is not base 64",
    );
    check(
        &OPENSSL_KEY.replace("K2Vw", "K2Vu"),
        "its key is not of the kind Ed25519",
    ); // X25519
    check(
        &OPENSSL_KEY.replace("TpZlP", "").replace("mlmP", ""),
        "its key has the wrong length",
    );
    check(
        &OPENSSL_KEY.replace("PRIVATE", "ENCRYPTED PRIVATE"),
        "no PEM block PRIVATE KEY in it",
    );
}

#[test]
fn what_is_no_file_is_refused() {
    let directory = Directory::new();
    assert!(refusal(&directory.0).contains("not a regular file"));
    assert!(refusal(&directory.0.join("missing")).contains("open the key file"));
    let binary = directory.write("", 0o600);
    fs::write(&binary, [0xff, 0xfe]).unwrap();
    assert!(refusal(&binary).contains("read the key file"));
}

#[track_caller]
fn check(text: &str, want: &str) {
    let directory = Directory::new();
    let path = directory.write(text, 0o600);
    let refusal = refusal(&path);
    assert!(refusal.contains(want), "{refusal}");
    assert!(refusal.contains(&path.display().to_string()), "{refusal}");
    assert!(refusal.contains("restore it from a copy"), "{refusal}");
}

fn refusal(path: &Path) -> String {
    format!("{:#}", load(path).expect_err("is refused"))
}

/// A directory of its own for a test, removed with it.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("dfaas-identity-{}-{next}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, text: &str, mode: u32) -> PathBuf {
        let path = self.0.join("key.pem");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        path
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}
