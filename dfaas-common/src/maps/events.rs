//! What happens to packets and connections, counted.

/// Declares the events and a table of their names from one list.
macro_rules! events {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What happened to packets and connections. Kernel -> agent, per CPU.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[repr(C)]
        pub struct Events {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Events {
            /// Every event with its name.
            #[must_use]
            pub fn named(&self) -> [(&'static str, u64); size_of::<Self>() / 8] {
                [$((stringify!($name), self.$name),)*]
            }
        }
    };
}

events! {
    /// SYNs answered.
    opened,
    /// Requests answered 200 at the root.
    root,
    /// Requests refused as malformed (400).
    malformed,
    /// Requests refused for their path (403).
    forbidden,
    /// Requests refused for an unknown `DFaaS-Node-ID` (403).
    stranger,
    /// Requests refused for a `DFaaS-Node-Token` that is not the peer's (403).
    forged,
    /// Requests for a function that nobody knows (404).
    unknown_function,
    /// Requests refused because their head is too long (431).
    head_too_long,
    /// Parts of a head that were held until the rest came.
    head_continued,
    /// Requests that travelled in the SYN and were taken.
    data_in_syn,
    /// Requests that were sent behind the server's SYN-ACK.
    replayed,
    /// Requests that came in a peer's SYN and were passed up as they are.
    syn_accepted,
    /// Upstream SYNs sent again.
    upstream_retried,
    /// Servers that refused the connection.
    upstream_refused,
    /// Peers left because they acknowledged nothing of a request that came again and again.
    upstream_silent,
    /// Requests taken back from a server that refused or kept silent, and decided again.
    decided_again,
    /// Requests answered 503 because too many servers failed them.
    upstream_failed,
    /// Requests answered 502 because their server ended before it answered.
    unanswered,
    /// Connections that ended behind an answer because nothing may follow it.
    ended,
    /// Requests on a connection that had one before.
    asked_again,
    /// Of these, requests that went to another server than the one before.
    steered_again,
    /// Segments with requests that were sent before the last response was complete, held until it is.
    held_ahead,
    /// Requests that were held until the last response was complete, and then decided.
    ahead_asked,
    /// Segments that were sent before the last response was complete and could not be held; they come again.
    too_early,
    /// Segments with the end of one request and the start of another, cut between them.
    cut,
    /// Segments that have to wait for missing ones before them.
    gap,
    /// Segments that no ordinary stack would take, passed on without a look at them.
    out_of_window,
    /// Connections given to the local proxy for a body of unknown length.
    proxied_chunked,
    /// Connections given to the local proxy for a change of protocol.
    proxied_upgrade,
    /// Connections given to the local proxy for lengths that contradict each other.
    proxied_lengths,
    /// Connections given to the local proxy for a head that is too long.
    proxied_head,
    /// Connections given to the local proxy for another protocol.
    proxied_not_http1,
    /// Connections given to the local proxy for a head in too many parts.
    proxied_slow,
    /// Connections of this host itself, given to the local proxy.
    proxied_local,
    /// Connections given to the local proxy because who is to serve is not reached by the client's version of IP.
    proxied_family,
    /// Requests refused because they need a proxy and there is none.
    proxy_missing,
    /// Responses whose end could not be followed.
    response_unknown,
    /// Connections to servers that were reset because nobody needs them any more.
    upstream_dropped,
    /// Servers that closed between requests, which their clients did not notice.
    upstream_left,
    /// Requests that a peer refused, decided again.
    refused_by_peer,
    /// Connections answered 503 because the flow table was full.
    flows_full,
    /// Connections answered 503 because no source port was free.
    ports_exhausted,
    /// Segments dropped because they do not fit the handshake.
    out_of_handshake,
    /// Segments dropped because the held bytes they belong to are gone.
    held_missing,
    /// Bytes that came behind a refused request, in segments.
    drained,
    /// Routers' messages that a packet was too big, told to who sent it.
    too_big,
    /// Connections that ended in order.
    closed,
    /// Connections that were reset.
    reset,
    /// Packets that a helper of the kernel failed on.
    helper_failed,
    /// Requests that are not counted with their function, because that table is full.
    uncounted,
    /// Requests whose time to the first byte is not noted, because that table is full.
    untimed,
    /// Requests that two processors decided about at the same time; only one of the decisions counts.
    decided_twice,
    /// Local connections for which no listener was lent.
    no_listener,
    /// Connections refused because the programs at the interface have not judged them, and no proxy is there to do so:
    /// of this host itself, by another interface, or in packets that the programs do not read.
    unjudged,
    /// Segments dropped because they were damaged on their way: their checksum is wrong.
    damaged,
    /// Packets to the service dropped because the programs do not read them: with IP options or extension headers, or in
    /// fragments.
    unread,
    /// Packets that the guard dropped because their source is blocked.
    guard_blocked,
    /// Packets that the guard dropped for flags that no stack sends.
    guard_flags,
    /// SYNs that the guard dropped because their network sends too many.
    guard_syns,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_keep_their_names() {
        let events = Events {
            opened: 3,
            guard_syns: 4,
            ..Events::default()
        };
        let named = events.named();
        assert_eq!(named[0], ("opened", 3));
        assert_eq!(*named.last().unwrap(), ("guard_syns", 4));
    }
}
