//! Asks the services that strategies consult, and brings the answers back to the loop.

use dfaas_control::{Input, StrategyKind};
use hyper::{Method, StatusCode, body::Bytes};
use tokio::sync::mpsc;
use tracing::debug;

use crate::{config::Services, http_client::HttpClient};

/// A strategy asks one question at a time, and at most three strategies are at work.
const ANSWERS_MAX: usize = 8;

#[derive(Clone, Debug)]
pub(crate) struct Adviser {
    services: Services,
    client: HttpClient,
    answers: mpsc::Sender<Input>,
}

impl Adviser {
    /// An adviser, and where its answers come out.
    pub(crate) fn new(services: Services) -> (Self, mpsc::Receiver<Input>) {
        let (answers, receiver) = mpsc::channel(ANSWERS_MAX);
        let urls = [&services.external, &services.forecaster];
        let client = HttpClient::for_urls(urls.into_iter().flatten().map(String::as_str));
        let adviser = Self {
            services,
            client,
            answers,
        };
        (adviser, receiver)
    }

    /// Where answers of others go that the loop waits for.
    pub(crate) fn answers(&self) -> mpsc::Sender<Input> {
        self.answers.clone()
    }

    /// Asks in the background. There is one answer to each question, maybe an empty one.
    pub(crate) fn ask(&self, strategy: StrategyKind, body: Vec<u8>) {
        let adviser = self.clone();
        tokio::spawn(async move {
            let body = adviser.answer(strategy, body).await;
            // The loop may have ended.
            let _ = adviser.answers.send(Input::Answer { strategy, body }).await;
        });
    }

    async fn answer(&self, strategy: StrategyKind, question: Vec<u8>) -> Option<Vec<u8>> {
        let (method, url) = match strategy {
            StrategyKind::External => (Method::POST, self.services.external.as_ref()?),
            // The Go agents ask by GET, with a body.
            StrategyKind::NodeMargin => (Method::GET, self.services.forecaster.as_ref()?),
            StrategyKind::WaterFilling
            | StrategyKind::Recalc
            | StrategyKind::Static
            | StrategyKind::AllLocal => return None,
        };
        let question = Bytes::from(question);
        let exchange = self
            .client
            .exchange_json(method, url, question, self.services.patience);
        match exchange.await {
            Ok((StatusCode::OK, body)) => Some(body.to_vec()),
            Ok((status, _)) => {
                debug!(url, %status, "A strategy's service has refused");
                None
            }
            Err(error) => {
                debug!(url, %error, "A strategy's service has not answered");
                None
            }
        }
    }
}
