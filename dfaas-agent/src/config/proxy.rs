//! Whether and how HAProxy helps the kernel.

use std::{
    net::{Ipv4Addr, SocketAddrV4},
    path::PathBuf,
};

use super::{
    mistakes::{Kind, Mistakes},
    port,
};

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ProxyOptions {
    /// The HAProxy for what the kernel cannot frame: auto (if there is one), off, or the program's path
    #[arg(long, env = "AGENT_HAPROXY", value_name = "WHICH", default_value = "auto")]
    haproxy: String,
    /// The port of the loopback on which HAProxy takes connections
    #[arg(long, env = "AGENT_PROXY_PORT", value_name = "PORT", default_value = "8091")]
    proxy_port: String,
    /// The control socket of a HAProxy that runs already, with what haproxy-config prints
    #[arg(
        long,
        env = "AGENT_HAPROXY_SOCKET",
        value_name = "PATH",
        default_value = "",
        hide_default_value = true
    )]
    haproxy_socket: String,
}

/// Which HAProxy helps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ProxyChoice {
    /// One that is found, or none.
    Auto,
    /// None.
    Off,
    /// The program at a path, and no other.
    At(PathBuf),
    /// One that the operator runs, known by its control socket.
    Adopted(PathBuf),
}

pub(super) struct Section {
    pub(super) choice: ProxyChoice,
    pub(super) bind: SocketAddrV4,
}

impl ProxyOptions {
    pub(super) fn check(&self, functions_port: Option<u16>, mistakes: &mut Mistakes) -> Option<Section> {
        let port = mistakes.take("--proxy-port", port(&self.proxy_port));
        if port.is_some() && port == functions_port {
            let text = format!(
                "{} is the port of the platform (--functions-port)",
                self.proxy_port
            );
            mistakes.note(Kind::Usage, "--proxy-port", text);
        }
        let choice = mistakes.take("--haproxy", self.choice());
        Some(Section {
            choice: choice?,
            bind: SocketAddrV4::new(Ipv4Addr::LOCALHOST, port?),
        })
    }

    fn choice(&self) -> Result<ProxyChoice, String> {
        let which = self.haproxy.trim();
        let own = match which {
            "auto" | "" => ProxyChoice::Auto,
            "off" => ProxyChoice::Off,
            path if path.contains('/') => ProxyChoice::At(PathBuf::from(path)),
            _ => return Err(format!("{which:?} is neither auto nor off nor a path")),
        };
        match (self.haproxy_socket.as_str(), own) {
            ("", own) => Ok(own),
            (socket, ProxyChoice::Auto) => Ok(ProxyChoice::Adopted(PathBuf::from(socket))),
            (_, ProxyChoice::Off | ProxyChoice::At(_) | ProxyChoice::Adopted(_)) => Err(format!(
                "{which} starts no HAProxy of the kind that --haproxy-socket names; leave one of both away"
            )),
        }
    }

    /// The control socket and the place of connections, for whoever writes a configuration.
    ///
    /// # Errors
    /// All mistakes at once.
    pub(crate) fn adopted(&self, functions_port: u16) -> Result<(PathBuf, SocketAddrV4), Mistakes> {
        let mut mistakes = Mistakes::default();
        let section = self.check(Some(functions_port), &mut mistakes);
        match section {
            Some(Section {
                choice: ProxyChoice::Adopted(socket),
                bind,
            }) => mistakes.none_or_else((socket, bind)),
            Some(_) => {
                let text = "name the socket that HAProxy is to make, as in /run/haproxy/dfaas.sock";
                mistakes.note(Kind::Usage, "--haproxy-socket", text);
                Err(mistakes)
            }
            None => Err(mistakes),
        }
    }
}
