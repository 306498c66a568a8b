//! Scripts as lines to read: what is not said is as usual.

use std::fmt;

use crate::script::{Answer, Client, Ending, Framing, Listening, Manner, Network, Request, Script, Side};

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}", self.seed)?;
        let (here, peers) = self.listening.split_at(1);
        let here = here.first().copied().unwrap_or(Listening::Late);
        writeln!(
            f,
            "local server {here:?}, peers {peers:?}, servers{}",
            side(self.servers)
        )?;
        for (name, network) in ["clients", "peers"].iter().zip(&self.networks) {
            writeln!(f, "network of {name}: {}", network_line(network))?;
        }
        for (number, client) in self.clients.iter().enumerate() {
            client_lines(f, number, client)?;
        }
        if let Some(mishaps) = &self.mishaps {
            let names = ["from clients", "to clients", "from peers", "to peers"];
            for mishap in mishaps {
                let name = names.get(mishap.link as usize).unwrap_or(&"?");
                writeln!(f, "packet {} {name}: {:?}", mishap.number, mishap.kind)?;
            }
        }
        Ok(())
    }
}

fn side(side: Side) -> String {
    let mut text = String::new();
    for (is_so, what) in [
        (!side.sack, " without SACK"),
        (!side.is_scaled, " without window scale"),
        (side.quick_acks, " acknowledging at once"),
    ] {
        text.push_str(if is_so { what } else { "" });
    }
    text
}

fn network_line(network: &Network) -> String {
    let mut text = format!("{} us", network.delay);
    for (rate, what) in [
        (network.lost, "lost"),
        (network.doubled, "doubled"),
        (network.late, "late"),
        (network.cut, "cut"),
        (network.merged, "merged"),
    ] {
        if rate > 0 {
            text.push_str(&format!(", {rate} in 1000 {what}"));
        }
    }
    text
}

fn client_lines(f: &mut fmt::Formatter<'_>, number: usize, client: &Client) -> fmt::Result {
    let ending = if client.ending == Ending::Close {
        String::new()
    } else {
        format!(", ends by {:?}", client.ending)
    };
    writeln!(
        f,
        "client {number} at {} us{}{ending}",
        client.start,
        side(client.side)
    )?;
    for request in &client.requests {
        writeln!(f, "    {}", request_line(request))?;
    }
    Ok(())
}

fn request_line(request: &Request) -> String {
    let mut text = format!("{}: {:?} {:?}", request.id, request.method, request.function);
    for (is_so, what) in [
        (request.is_pipelined, "pipelined".to_owned()),
        (request.says_close, "says close".to_owned()),
        (request.pause > 0, format!("{} us after the last", request.pause)),
        (request.head_bytes > 0, format!("head {}", request.head_bytes)),
        (request.body_bytes > 0, format!("body {}", request.body_bytes)),
        (
            !request.cuts.is_empty(),
            format!("cut at {:?} each {} us", request.cuts, request.gap),
        ),
    ] {
        if is_so {
            text.push_str(&format!(", {what}"));
        }
    }
    text.push_str(" ->");
    text.push_str(&answer_line(&request.answer));
    text
}

fn answer_line(answer: &Answer) -> String {
    let mut text = format!(" {:?}", answer.manner);
    let closes = answer.closes_after.unwrap_or(0);
    for (is_so, what) in [
        (answer.delay > 0, format!("after {} us", answer.delay)),
        (answer.has_interim, "with an interim answer".to_owned()),
        (answer.head_bytes > 0, format!("head {}", answer.head_bytes)),
        (answer.body_bytes > 0, format!("body {}", answer.body_bytes)),
        (answer.framing != Framing::Length, format!("{:?}", answer.framing)),
        (
            answer.writes > 1,
            format!("in {} parts each {} us", answer.writes, answer.gap),
        ),
        (answer.has_wrong_body, "body of HEAD too".to_owned()),
        (answer.says_close, "says close".to_owned()),
        (answer.closes_after.is_some(), format!("closes after {closes} us")),
    ] {
        let is_said = is_so && !matches!(answer.manner, Manner::Silent);
        if is_said {
            text.push_str(&format!(", {what}"));
        }
    }
    text
}
