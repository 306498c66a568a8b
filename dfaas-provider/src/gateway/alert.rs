//! `/system/alert`: Alertmanager says that a function is under load, or no longer.

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};
use serde::Deserialize;
use tracing::warn;

use super::{blocking, method_not_allowed, read_json};
use crate::platform::Platform;
use crate::platform::error::FunctionError;
use crate::state::name::FunctionName;
use crate::web::body::Body;
use crate::web::reply;

#[derive(Deserialize)]
struct Webhook {
    #[serde(default)]
    alerts: Vec<Alert>,
}

#[derive(Deserialize)]
struct Alert {
    status: String,
    labels: Labels,
}

#[derive(Deserialize)]
struct Labels {
    function_name: String,
}

pub(super) async fn take(
    platform: Arc<Platform>,
    request: Request<Incoming>,
    patience: std::time::Duration,
) -> Response<Body> {
    if request.method() != Method::POST {
        return method_not_allowed("POST");
    }
    let webhook: Webhook = match read_json(request, patience).await {
        Ok(webhook) => webhook,
        Err(response) => return response,
    };
    blocking(move || {
        let mut refusal = None;
        for alert in &webhook.alerts {
            if let Err(error) = scale(&platform, alert) {
                warn!(function = alert.labels.function_name, %error, "Did not scale a function by an alert");
                refusal = Some(error);
            }
        }
        match refusal {
            None => reply::empty(StatusCode::OK),
            Some(error) => reply::text(error.status(), error),
        }
    })
    .await
}

fn scale(platform: &Platform, alert: &Alert) -> Result<(), FunctionError> {
    let name = FunctionName::new(&alert.labels.function_name, "")?;
    let function = platform.get(&name)?;
    let wanted = function.replicas_on_alert(alert.status == "firing");
    match wanted == function.replicas() {
        true => Ok(()),
        false => platform.set_replicas(&name, wanted),
    }
}
