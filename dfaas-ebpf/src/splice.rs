//! Decided connections: every segment is renumbered, readdressed and passed on.

use aya_ebpf::bindings::TC_ACT_OK;
use dfaas_common::{
    flow::{Numbers, Role},
    maps::{Config, Flow, FlowKey},
    packet::{ACK, Be16, Be32, FIN, Headers, PSH, RST, SYN, Segment, difference, fold},
};

use crate::{
    Fault, compose,
    connect::{self, Waiting},
    count,
    ctx::{Packet, swallow},
    maps::{self, Scratch},
};

/// What a packet for a known flow calls for.
pub(crate) enum Outcome {
    /// The verdict is this.
    Verdict(i32),
    /// The flow is over, and its key stands for a connection that is not decided.
    Reopen,
}

/// Handles a packet that came in for a flow.
#[inline(always)]
pub(crate) fn incoming(
    packet: &Packet,
    config: &Config,
    headers: &Headers,
    key: &FlowKey,
    flow: &mut Flow,
    scratch: &mut Scratch,
) -> Result<Outcome, Fault> {
    flow.last_seen = config.tick;
    let role = flow.role();
    if role == Role::ToClient {
        return from_peer(packet, headers, key, flow, scratch).map(Outcome::Verdict);
    }
    if headers.flags & SYN != 0 {
        return Ok(syn_again(headers, key, flow));
    }
    if flow.spliced == 0 {
        return Ok(
            match connect::waiting(packet, config, headers, key, flow, scratch)? {
                Waiting::Verdict(verdict) => Outcome::Verdict(verdict),
                Waiting::Undecided => Outcome::Reopen,
            },
        );
    }
    if role != Role::ToPeer {
        return to_local(packet, headers, key, flow).map(Outcome::Verdict);
    }
    to_peer(packet, headers, key, flow, scratch).map(Outcome::Verdict)
}

/// A SYN for a flow that exists: sent again, or the start of another connection under the same key.
#[inline(always)]
fn syn_again(headers: &Headers, key: &FlowKey, flow: &Flow) -> Outcome {
    let is_same = headers.sequence.get() == flow.client_isn;
    if !is_same && flow.closing.has_begun() {
        connect::end(key, flow);
        return Outcome::Reopen;
    }
    // Only a connection whose SYN went up the stack as it came has the numbers that the stack expects.
    Outcome::Verdict(if flow.role() == Role::Passed {
        TC_ACT_OK
    } else {
        swallow()
    })
}

#[inline(always)]
fn to_local(packet: &Packet, headers: &Headers, key: &FlowKey, flow: &mut Flow) -> Result<i32, Fault> {
    if flow.role() == Role::Local && headers.flags & ACK != 0 {
        renumber(packet, headers, flow.to_server(numbers(headers)))?;
    }
    flow.closing.client(
        headers.flags,
        headers.sequence_end(),
        headers.acknowledgment.get(),
    );
    end_if_over(headers.flags, key, flow);
    Ok(TC_ACT_OK)
}

/// Handles a packet of the local stack on its way out to a client.
#[inline(always)]
pub(crate) fn outgoing(
    packet: &Packet,
    config: &Config,
    headers: &Headers,
    key: &FlowKey,
    flow: &mut Flow,
    scratch: &mut Scratch,
) -> Result<i32, Fault> {
    flow.last_seen = config.tick;
    let mut translated = numbers(headers);
    if flow.role() == Role::Local {
        if flow.spliced == 0 || headers.flags & SYN != 0 {
            return connect::local_answer(packet, headers, key, flow, scratch);
        }
        translated = flow.to_client(translated);
        renumber(packet, headers, translated)?;
    }
    if headers.payload_bytes() > 0 {
        count::first_byte(flow);
    }
    let end = translated
        .sequence
        .wrapping_add(headers.sequence_end().wrapping_sub(headers.sequence.get()));
    flow.closing.server(headers.flags, end, translated.acknowledgment);
    end_if_over(headers.flags, key, flow);
    Ok(TC_ACT_OK)
}

#[inline(always)]
fn to_peer(
    packet: &Packet,
    headers: &Headers,
    key: &FlowKey,
    flow: &mut Flow,
    scratch: &mut Scratch,
) -> Result<i32, Fault> {
    if headers.payload_bytes() > 0 && flow.is_first(headers.sequence.get()) {
        return first_again(packet, headers, key, flow, scratch);
    }
    let numbers = flow.to_server(numbers(headers));
    readdress(packet, headers, flow, numbers)?;
    let had_begun = flow.closing.has_begun();
    flow.closing.client(
        headers.flags,
        headers.sequence_end(),
        headers.acknowledgment.get(),
    );
    if !had_begun && flow.closing.has_begun() {
        // From now on the other direction has to tell this entry what it sees.
        if let Some(upstream) = maps::flow(&flow.other) {
            upstream.closing.marks = u32::MAX;
        }
    }
    end_if_over(headers.flags, key, flow);
    Ok(packet.route())
}

/// The client sends its first bytes again: the server gets them with their stamp.
#[inline(always)]
fn first_again(
    packet: &Packet,
    headers: &Headers,
    key: &FlowKey,
    flow: &Flow,
    scratch: &mut Scratch,
) -> Result<i32, Fault> {
    let Some(held) = maps::held(key) else {
        count::event(|events| &mut events.held_missing);
        return Ok(swallow());
    };
    let numbers = flow.to_server(numbers(headers));
    let segment = Segment {
        sequence: flow.upstream_isn.wrapping_add(1),
        acknowledgment: numbers.acknowledgment,
        flags: ACK | PSH,
        ..flow.readdress(headers.onward())
    };
    compose::data(
        packet,
        &segment,
        held,
        flow.partial != 0 && headers.has_partial_checksum(),
        scratch,
    )?;
    Ok(packet.route())
}

#[inline(always)]
fn from_peer(
    packet: &Packet,
    headers: &Headers,
    key: &FlowKey,
    flow: &mut Flow,
    scratch: &mut Scratch,
) -> Result<i32, Fault> {
    if flow.spliced == 0 || headers.flags & SYN != 0 {
        return connect::peer_answer(packet, headers, flow, scratch);
    }
    let numbers = flow.to_client(numbers(headers));
    readdress(packet, headers, flow, numbers)?;
    if headers.payload_bytes() > 0 {
        count::first_byte(flow);
    }
    if headers.flags & RST != 0 {
        count::event(|events| &mut events.reset);
        connect::end(key, flow);
    } else if headers.flags & FIN != 0 || flow.closing.has_begun() {
        let end = numbers
            .sequence
            .wrapping_add(headers.sequence_end().wrapping_sub(headers.sequence.get()));
        flow.closing.marks = u32::MAX;
        let client_key = flow.other;
        if let Some(client) = maps::flow(&client_key) {
            client.closing.server(headers.flags, end, numbers.acknowledgment);
            end_if_over(headers.flags, &client_key, client);
        }
    }
    Ok(packet.route())
}

#[inline(always)]
fn numbers(headers: &Headers) -> Numbers {
    Numbers {
        sequence: headers.sequence.get(),
        acknowledgment: headers.acknowledgment.get(),
        window: headers.window.get(),
    }
}

#[inline(always)]
fn end_if_over(flags: u8, key: &FlowKey, flow: &Flow) {
    if flags & RST != 0 {
        count::event(|events| &mut events.reset);
        connect::end(key, flow);
    } else if flow.closing.is_over() {
        count::event(|events| &mut events.closed);
        connect::end(key, flow);
    }
}

/// The headers with other numbers, and what their checksum gains.
#[inline(always)]
fn renumbered(headers: &Headers, numbers: Numbers) -> (Headers, u64) {
    let new = Headers {
        sequence: Be32::new(numbers.sequence),
        acknowledgment: Be32::new(numbers.acknowledgment),
        window: Be16::new(numbers.window),
        ..*headers
    };
    let gain = difference(headers.sequence.raw(), new.sequence.raw())
        + difference(headers.acknowledgment.raw(), new.acknowledgment.raw())
        + difference(headers.window.raw().into(), new.window.raw().into());
    (new, gain)
}

/// Writes other numbers into the packet.
#[inline(always)]
fn renumber(packet: &Packet, headers: &Headers, numbers: Numbers) -> Result<(), Fault> {
    let (new, gain) = renumbered(headers, numbers);
    packet.write_translated(&new)?;
    Ok(packet.update_checksum(gain)?)
}

/// Writes other numbers and addresses into the packet.
#[inline(always)]
fn readdress(packet: &Packet, headers: &Headers, flow: &Flow, numbers: Numbers) -> Result<(), Fault> {
    let (mut new, mut gain) = renumbered(headers, numbers);
    new.source = Be32::from_raw(u32::from_ne_bytes(flow.source));
    new.destination = Be32::from_raw(u32::from_ne_bytes(flow.destination));
    new.source_port = Be16::from_raw(u16::from_ne_bytes(flow.source_port));
    new.destination_port = Be16::from_raw(u16::from_ne_bytes(flow.destination_port));
    gain += difference(headers.source_port.raw().into(), new.source_port.raw().into())
        + difference(
            headers.destination_port.raw().into(),
            new.destination_port.raw().into(),
        );
    let pseudo_gain = difference(headers.source.raw(), new.source.raw())
        + difference(headers.destination.raw(), new.destination.raw());
    new.ipv4_checksum = Be16::from_raw(!fold(u64::from(!headers.ipv4_checksum.raw()) + pseudo_gain));
    packet.write_translated(&new)?;
    packet.update_checksum(gain)?;
    Ok(packet.update_pseudo_checksum(pseudo_gain)?)
}
