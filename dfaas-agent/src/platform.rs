//! The function platform: its OpenFaaS gateway is asked what it runs.

mod listing;

use std::{collections::BTreeMap, fmt, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use dfaas_control::{FunctionName, FunctionSpec, Settings};
use hyper::{
    StatusCode,
    header::{HeaderValue, InvalidHeaderValue},
};
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval},
};
use tracing::{info, warn};

use self::listing::{Complaint, Entry};
use crate::http_client::{GetError, HttpClient};

/// A gateway has better things to do than to answer more often.
const PERIOD_MIN: Duration = Duration::from_millis(200);
/// Lists wait while the loop is busy; a newer one says it all.
const EVENTS_MAX: usize = 4;

/// What the agent has to know to ask the platform.
#[derive(Clone, Debug)]
pub(crate) struct PlatformConfig {
    /// `http` or `https`.
    pub(crate) scheme: &'static str,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) credentials: Option<Credentials>,
    pub(crate) period: Duration,
}

/// What the gateway asks for.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Credentials {
    pub(crate) user: String,
    pub(crate) password: String,
}

/// What the platform said.
#[derive(Debug)]
pub(crate) enum PlatformEvent {
    /// These functions are ready, and no others.
    Listed(BTreeMap<FunctionName, FunctionSpec>),
    /// It did not say.
    Unreachable(PlatformError),
}

/// Why there is no list of functions.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlatformError {
    #[error(transparent)]
    Get(#[from] GetError),
    #[error(
        "the platform refuses the credentials ({0}): set --openfaas-user and --openfaas-pass, or --openfaas-user-file and --openfaas-pass-file"
    )]
    Unauthorized(StatusCode),
    #[error("the platform answers {0}: is this an OpenFaaS gateway? see --openfaas-host and --openfaas-port")]
    Status(StatusCode),
    #[error("the platform's list of functions is not JSON as of OpenFaaS: {0}")]
    Json(#[from] serde_json::Error),
}

/// Asks the gateway again and again.
pub(crate) struct Platform {
    client: HttpClient,
    url: String,
    /// The namespaces beside the default one, as the gateway told them last.
    namespaces: Vec<String>,
    authorization: Option<HeaderValue>,
    period: Duration,
    settings: Settings,
    complaints: BTreeMap<String, Complaint>,
    /// How the last answer was, so that only news is logged.
    last: Option<Result<(), String>>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

impl Credentials {
    fn header(&self) -> Result<HeaderValue, InvalidHeaderValue> {
        let text = STANDARD.encode(format!("{}:{}", self.user, self.password));
        let mut header = HeaderValue::from_str(&format!("Basic {text}"))?;
        header.set_sensitive(true);
        Ok(header)
    }
}

impl Platform {
    pub(crate) fn new(config: &PlatformConfig, settings: Settings) -> Self {
        let header = |credentials: &Credentials| credentials.header().expect("base 64 is visible ASCII");
        Self {
            client: HttpClient::for_urls([config.scheme]),
            url: format!("{}://{}:{}/system", config.scheme, config.host, config.port),
            namespaces: Vec::new(),
            authorization: config.credentials.as_ref().map(header),
            period: config.period.max(PERIOD_MIN),
            settings,
            complaints: BTreeMap::new(),
            last: None,
        }
    }

    /// Asks in the background until nobody wants to know any more.
    pub(crate) fn start(mut self) -> mpsc::Receiver<PlatformEvent> {
        let (events, receiver) = mpsc::channel(EVENTS_MAX);
        tokio::spawn(async move {
            let mut ticks = interval(self.period);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                if events.send(self.poll().await).await.is_err() {
                    return;
                }
            }
        });
        receiver
    }

    /// Asks once, and logs what is new about the answer.
    async fn poll(&mut self) -> PlatformEvent {
        match self.ask().await {
            Ok(entries) => {
                if self.last.replace(Ok(())) != Some(Ok(())) {
                    info!(url = self.url, "The platform answers");
                }
                PlatformEvent::Listed(self.specs(&entries))
            }
            Err(error) => {
                let outcome = Err(error.to_string());
                if self.last.as_ref() != Some(&outcome) {
                    warn!(%error, "Cannot ask the platform; keeping what it said last, and asking again");
                }
                self.last = Some(outcome);
                PlatformEvent::Unreachable(error)
            }
        }
    }

    /// What all namespaces have. A gateway lists those of one at a time.
    async fn ask(&mut self) -> Result<Vec<Entry>, PlatformError> {
        let mut entries = self.list(None).await?;
        self.ask_for_namespaces().await?;
        for namespace in &self.namespaces {
            entries.extend(self.list(Some(namespace)).await?);
        }
        Ok(entries)
    }

    /// Gateways that know one namespace only need not have this; one that is just out of order changes nothing.
    async fn ask_for_namespaces(&mut self) -> Result<(), PlatformError> {
        let url = format!("{}/namespaces", self.url);
        let (status, body) = self.client.get(&url, self.authorization.as_ref()).await?;
        match status {
            StatusCode::OK => self.namespaces = listing::namespaces(&body),
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED => {
                self.namespaces.clear();
            }
            _ => {}
        }
        Ok(())
    }

    async fn list(&self, namespace: Option<&str>) -> Result<Vec<Entry>, PlatformError> {
        let query = namespace.map(|namespace| format!("?namespace={namespace}"));
        let url = format!("{}/functions{}", self.url, query.unwrap_or_default());
        let (status, body) = self.client.get(&url, self.authorization.as_ref()).await?;
        match status {
            StatusCode::OK => Ok(listing::read(&body, namespace)?),
            // It was there a moment ago.
            StatusCode::NOT_FOUND if namespace.is_some() => Ok(Vec::new()),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(PlatformError::Unauthorized(status)),
            status => Err(PlatformError::Status(status)),
        }
    }

    fn specs(&mut self, entries: &[Entry]) -> BTreeMap<FunctionName, FunctionSpec> {
        let (specs, complaints) = listing::specs(entries, &self.settings);
        for (function, complaint) in &complaints {
            if self.complaints.get(function) != Some(complaint) {
                warn!(
                    function,
                    default_rps = self.settings.default_capacity_rps,
                    "{complaint}"
                );
            }
        }
        self.complaints = complaints;
        specs
    }
}

#[cfg(test)]
mod tests;
