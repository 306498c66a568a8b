//! Connections that changed to another protocol, as WebSocket does: bytes both ways until either side ends.

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper::{Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tracing::debug;

use crate::run::launch::Launch;
use crate::web::body::Body;
use crate::web::client;

/// Answers a caller with what the function said, and joins the two.
pub(super) fn open(
    caller: OnUpgrade,
    mut response: Response<Incoming>,
    turn: TaskTrackerToken,
    launch: Arc<Launch>,
) -> Response<Body> {
    let function = hyper::upgrade::on(&mut response);
    let protocol = client::upgrade(response.headers());
    client::strip_hop_by_hop(response.headers_mut());
    let mut answer = response.map(|_| Body::empty());
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    if let Some(protocol) = protocol {
        client::ask_upgrade(answer.headers_mut(), protocol);
    }
    tokio::spawn(async move {
        let joined = launch.detached().finish(join(caller, function)).await;
        if let Some(Err(error)) = joined {
            debug!(%error, "A tunnel ended early");
        }
        drop(turn);
    });
    answer
}

async fn join(caller: OnUpgrade, function: OnUpgrade) -> anyhow::Result<()> {
    let (caller, function) = tokio::try_join!(caller, function)?;
    let (mut caller, mut function) = (TokioIo::new(caller), TokioIo::new(function));
    tokio::io::copy_bidirectional(&mut caller, &mut function).await?;
    Ok(())
}
