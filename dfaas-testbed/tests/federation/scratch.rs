use crate::{front_ends::trio, kit::turn};

#[test]
fn scratch_try() {
    let _turn = turn();
    let federation = trio();
    let node = &federation.nodes[0];
    let mut dump = std::process::Command::new("true");
    let _ = &mut dump;
    let mut tcpdump = node.namespace().command("tcpdump");
    tcpdump.args(["-i", "eth0", "-nn", "-S", "-U", "-w", "/run/t.pcap", "tcp port 80"]);
    let mut child = node.namespace().start(&mut tcpdump).unwrap();
    std::thread::sleep(std::time::Duration::from_secs(1));
    let mut py = federation.client.command("timeout");
    let functions = std::env::var("FUNCS").unwrap_or("echo far".into());
    py.args(["20", "python3", "/tmp/c.py", &node.service().ip().to_string(), "80"]);
    py.args(functions.split(' '));
    let out = federation.client.start(py.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped())).unwrap().wait_with_output().unwrap();
    println!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    std::thread::sleep(std::time::Duration::from_millis(300));
    child.kill().unwrap();
    let text = node.namespace().output("tcpdump", &["-r", "/run/t.pcap", "-nn", "-S", "-t"]).unwrap();
    println!("{}", String::from_utf8_lossy(&text.stdout));
    for map in ["EVENTS", "CLIENTS", "UPSTREAMS"] {
        let _ = map;
    }
    let status = dfaas_testbed::binary("dfaas-agent").unwrap();
    let text = node.namespace().output(status.to_str().unwrap(), &["status", "--json"]).unwrap();
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    if let Some(at) = text.find("\"events\"") { println!("{}", &text[at..text.len().min(at + 3000)]); } else { println!("{}", &text[..text.len().min(800)]); }
}
