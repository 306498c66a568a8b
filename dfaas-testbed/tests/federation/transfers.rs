//! Long bodies arrive whole, both ways, local and forwarded.

use std::fs;

use dfaas_testbed::Namespace;

use crate::kit::{curl, pair, turn};

const UPLOAD_BYTES: usize = 3 << 20;
const DOWNLOAD_BYTES: usize = 50 << 20;

#[test]
fn uploads_arrive_whole() {
    let _turn = turn();
    let federation = pair();
    let client = &federation.client;
    // No two places look alike, so that a hole, a repetition or an exchange is seen.
    let sent: Vec<u8> = (0..UPLOAD_BYTES / 8)
        .flat_map(|n| (n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes())
        .collect();
    fs::write(client.path("/run/upload"), &sent).unwrap();
    for function in ["echo", "far"] {
        // curl asks first whether it may send so much, unless it is told not to.
        for expect in ["Expect: 100-continue", "Expect:"] {
            let url = format!("http://{}/function/{function}", federation.nodes[0].service());
            let content = "Content-Type: application/octet-stream";
            let seen = curl(
                client,
                &["-H", expect, "-H", content, "--data-binary", "@/run/upload", &url],
            );
            assert_eq!(seen.status, 200, "{function} {expect} {}", seen.headers);
            assert_eq!(seen.body.len(), sent.len(), "{function} {expect}");
            assert!(seen.body == sent, "{function} {expect}: not what was sent");
        }
    }
}

#[test]
fn downloads_arrive_whole() {
    let _turn = turn();
    let federation = pair();
    let [near, far] = &federation.nodes[..] else {
        panic!("a pair")
    };
    for (function, host) in [("echo", near), ("far", far)] {
        let query = format!("function/{function}?size={DOWNLOAD_BYTES}");
        let direct = download(host.namespace(), &format!("http://127.0.0.1:8090/{query}"));
        let through = download(&federation.client, &format!("http://{}/{query}", near.service()));
        assert_eq!(direct, through, "{function}");
    }
}

/// The checksum of what a URL has.
#[track_caller]
fn download(from: &Namespace, url: &str) -> String {
    let seen = curl(from, &[url]);
    assert_eq!(
        (seen.status, seen.body.len()),
        (200, DOWNLOAD_BYTES),
        "{url} {}",
        seen.headers
    );
    let output = from.output("sha256sum", &["/run/body"]).unwrap();
    String::from_utf8(output.stdout).unwrap()
}
