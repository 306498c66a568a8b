//! A host's link on which everything is late by a time that can be changed, on kernels without netem, too.
//!
//! The link is a tunnel, by VXLAN, whose datagrams are held up here.

use std::{
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use rustix::net::sockopt::set_socket_recv_buffer_size_force;
use tokio::{
    runtime::Builder,
    sync::{mpsc, oneshot},
    time::sleep_until,
};

use crate::{Namespace, now};

/// Where the tunnels end, before the number of the host is added.
const NEAR_PORTS: u16 = 4_000;
const FAR_PORTS: u16 = 5_000;
/// What a host sends at once on one connection, many times.
const BUFFER_BYTES: usize = 8 * 1024 * 1024;
const HELD_MAX: usize = 10_000;
/// Room for a frame and what the tunnel puts before it.
const WAY_MTU: u16 = 1_600;
const DATAGRAM_BYTES_MAX: usize = 2_048;

/// A host's link on which everything is late. It ends when it is dropped.
#[derive(Debug)]
pub struct LateLink {
    delay_us: Arc<AtomicU64>,
    /// Where datagrams are held up: those of a tunnel to the same host would never leave the kernel.
    _way: Namespace,
    /// Ends the thread when it is dropped.
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<()>>>,
}

/// An end of the tunnel and what carries datagrams from there to the other.
struct End {
    name: String,
    address: SocketAddr,
    carrier: UdpSocket,
}

impl LateLink {
    /// Puts a tunnel between a host's port and the bridge.
    pub(crate) fn lay(fabric: &Namespace, number: u8) -> Result<Self> {
        let way = Namespace::new("way")?;
        let [here, there] = [1, 2].map(|end| Ipv4Addr::new(10, 76, number, end));
        fabric.ip(&format!(
            "link add way{number} mtu {WAY_MTU} type veth peer name way mtu {WAY_MTU} netns {}\n\
             address add {here}/24 dev way{number}\n\
             link set way{number} up\n",
            way.pid()
        ))?;
        way.ip(&format!("address add {there}/24 dev way\nlink set way up\n"))?;
        let end = |name: &str, ports: u16| -> Result<End> {
            Ok(End {
                name: format!("{name}{number}"),
                address: (here, ports + u16::from(number)).into(),
                carrier: way.on_thread(|| UdpSocket::bind((there, 0)))??,
            })
        };
        let ends = [end("near", NEAR_PORTS)?, end("far", FAR_PORTS)?];
        for end in &ends {
            end.make(fabric, number)?;
        }
        fabric.ip(&format!(
            "link add late{number} type bridge mcast_snooping 0\n\
             link set late{number} up\n\
             link set near{number} master bridge\n\
             link set far{number} master late{number}\n\
             link set port{number} nomaster\n\
             link set port{number} master late{number}\n"
        ))?;
        let delay_us = Arc::new(AtomicU64::new(0));
        let (end, ended) = oneshot::channel();
        let delay = Arc::clone(&delay_us);
        let thread = thread::Builder::new()
            .name("late link".to_owned())
            .spawn(move || carry_both(ends, &delay, ended))?;
        Ok(Self {
            delay_us,
            _way: way,
            end: Some(end),
            thread: Some(thread),
        })
    }

    /// Changes how late everything is that comes from now on, in either direction.
    pub fn set_delay(&self, delay: Duration) {
        let delay_us = u64::try_from(delay.as_micros()).unwrap_or(u64::MAX);
        self.delay_us.store(delay_us, Ordering::Relaxed);
    }
}

impl End {
    fn make(&self, fabric: &Namespace, number: u8) -> Result<()> {
        let Self {
            name,
            address,
            carrier,
        } = self;
        set_socket_recv_buffer_size_force(carrier, BUFFER_BYTES).context("making room for datagrams")?;
        carrier.set_nonblocking(true)?;
        fabric.ip(&format!(
            "link add {name} type vxlan id {number} dstport {} nolearning\n\
             link set {name} mtu 1500 up\n",
            address.port()
        ))?;
        let to = carrier.local_addr()?;
        let (to_address, to_port) = (to.ip().to_string(), to.port().to_string());
        let to_carrier = [
            "fdb",
            "append",
            "00:00:00:00:00:00",
            "dev",
            name,
            "dst",
            &to_address,
            "port",
            &to_port,
        ];
        // Nothing is left for a network card to do, as there is none.
        let whole = ["-K", name, "tx", "off", "tso", "off", "gso", "off"];
        for (program, arguments) in [("bridge", &to_carrier[..]), ("ethtool", &whole)] {
            let output = fabric.output(program, arguments)?;
            let complaint = String::from_utf8_lossy(&output.stderr);
            ensure!(output.status.success(), "{program}: {}", complaint.trim());
        }
        Ok(())
    }
}

/// Holds up what comes from either end until it is to end itself.
fn carry_both(ends: [End; 2], delay_us: &Arc<AtomicU64>, ended: oneshot::Receiver<()>) -> Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let to = [ends[1].address, ends[0].address];
    runtime.block_on(async {
        for (end, to) in ends.into_iter().zip(to) {
            tokio::spawn(carry(end.carrier, to, Arc::clone(delay_us)));
        }
        // Nothing is sent: the other side is dropped.
        let _dropped = ended.await;
    });
    Ok(())
}

/// Holds up what comes from one end of the tunnel, and sends it to the other.
async fn carry(carrier: UdpSocket, to: SocketAddr, delay_us: Arc<AtomicU64>) -> Result<()> {
    let carrier = Arc::new(tokio::net::UdpSocket::from_std(carrier)?);
    let (hold, held) = mpsc::channel(HELD_MAX);
    tokio::spawn(release(Arc::clone(&carrier), to, held));
    let mut datagram = [0; DATAGRAM_BYTES_MAX];
    loop {
        let length = carrier.recv(&mut datagram).await?;
        let due = now() + Duration::from_micros(delay_us.load(Ordering::Relaxed));
        // As on any link, what there is no room for is lost.
        let _full = hold.try_send((due, datagram[..length].to_vec()));
    }
}

async fn release(
    carrier: Arc<tokio::net::UdpSocket>,
    to: SocketAddr,
    mut held: mpsc::Receiver<(Instant, Vec<u8>)>,
) -> Result<()> {
    while let Some((due, datagram)) = held.recv().await {
        sleep_until(due.into()).await;
        carrier.send_to(&datagram, to).await?;
    }
    Ok(())
}

impl Drop for LateLink {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            // A link whose thread panicked carries nothing either.
            let _ = thread.join();
        }
    }
}
