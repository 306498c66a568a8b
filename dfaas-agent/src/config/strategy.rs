//! How the excess is distributed, and what single strategies have to know.

use std::{collections::BTreeMap, fs, path::PathBuf, time::Duration};

use dfaas_control::{
    ForecasterKind, FunctionName, LoadGroup, MarginSettings, Neighbourhood, NodeUsage, StrategyKind,
};
use hyper::Uri;

use super::{
    mistakes::{Kind, Mistakes},
    neighbours::neighbourhood,
};
use crate::go_duration;

#[derive(Clone, Debug, clap::Args)]
pub(super) struct StrategyOptions {
    /// How the excess is distributed: water-filling, recalc, node-margin, static, all-local or external
    #[arg(
        long,
        env = "AGENT_STRATEGY",
        value_name = "NAME",
        default_value = "water-filling"
    )]
    strategy: String,
    /// A second strategy that decides beside the first and is only shown (status --json, /status)
    #[arg(
        long,
        env = "AGENT_SHADOW",
        value_name = "NAME",
        default_value = "",
        hide_default_value = true
    )]
    shadow: String,
    /// To which peers the excess may go: all, nearest:COUNT or within:DURATION by measured round-trip time, or node ids
    /// separated by commas
    #[arg(long, env = "AGENT_NEIGHBOURS", value_name = "WHICH", default_value = "all")]
    neighbours: String,
    /// external: where observations are posted and weights come from
    #[arg(
        long,
        env = "AGENT_EXTERNAL_URL",
        value_name = "URL",
        default_value = "",
        hide_default_value = true
    )]
    external_url: String,
    /// node-margin: linear (a model fitted to this node) or the service to ask, as in http://dfaas-forecaster/node_usage
    #[arg(
        long,
        env = "AGENT_FORECASTER",
        value_name = "WHICH",
        default_value = "linear"
    )]
    forecaster: String,
    /// external and a service as forecaster: how long an answer may take, at most a period [default: a period]
    #[arg(
        long,
        env = "AGENT_SERVICE_TIMEOUT",
        value_name = "DURATION",
        default_value = "",
        hide_default_value = true
    )]
    service_timeout: String,
    /// node-margin: a JSON file with lists of functions under HIGH_USAGE, MEDIUM_USAGE and LOW_USAGE
    #[arg(long, env = "AGENT_GROUP_LIST_FILE_NAME", value_name = "FILE")]
    group_list_file: Option<PathBuf>,
    /// node-margin: 0 heavy, 1 mid, 2 light
    #[arg(long, env = "AGENT_NODE_TYPE", value_name = "NUMBER", default_value = "1")]
    node_type: String,
    /// node-margin: percent of one processor above which the node is overloaded
    #[arg(
        long,
        env = "AGENT_NMS_CPU_THRESHOLD",
        value_name = "PERCENT",
        default_value = "120"
    )]
    nms_cpu_threshold: String,
    /// node-margin: bytes of memory above which the node is overloaded
    #[arg(
        long,
        env = "AGENT_NMS_RAM_THRESHOLD",
        value_name = "BYTES",
        default_value = "5500000000"
    )]
    nms_ram_threshold: String,
    /// node-margin: microwatts above which the node is overloaded
    #[arg(
        long,
        env = "AGENT_NMS_POWER_THRESHOLD",
        value_name = "MICROWATTS",
        default_value = "2100000"
    )]
    nms_power_threshold: String,
}

pub(super) struct Section {
    pub(super) strategy: StrategyKind,
    pub(super) shadow: Option<StrategyKind>,
    pub(super) neighbourhood: Neighbourhood,
    pub(super) node_margin: MarginSettings,
    pub(super) services: Services,
}

/// Whom strategies ask.
#[derive(Clone, Debug, Default)]
pub(crate) struct Services {
    pub(crate) external: Option<String>,
    pub(crate) forecaster: Option<String>,
    /// How long an answer may take.
    pub(crate) patience: Duration,
}

impl StrategyOptions {
    pub(super) fn check(&self, period: Option<Duration>, mistakes: &mut Mistakes) -> Option<Section> {
        let strategy = mistakes.take("--strategy", self.strategy.parse());
        let shadow = match self.shadow.as_str() {
            "" => Some(None),
            name => mistakes.take("--shadow", name.parse().map(Some)),
        };
        let neighbourhood = mistakes.take("--neighbours", neighbourhood(&self.neighbours));
        let external = match self.external_url.as_str() {
            "" => Some(None),
            text => mistakes.take("--external-url", url(text).map(Some)),
        };
        let forecaster = match self.forecaster.as_str() {
            "linear" | "" => Some(None),
            text => mistakes.take("--forecaster", url(text).map(Some)),
        };
        let is_external = [strategy, shadow.flatten()].contains(&Some(StrategyKind::External));
        if is_external && external == Some(None) {
            let text = "the strategy external needs to know where its service is";
            mistakes.note(Kind::Usage, "--external-url", text);
        }
        let patience = match self.service_timeout.as_str() {
            "" => Some(period.unwrap_or_default()),
            text => mistakes.take("--service-timeout", patience(text, period)),
        };
        let has_service = matches!(forecaster, Some(Some(_)));
        let node_margin = self.node_margin(has_service, mistakes);
        Some(Section {
            strategy: strategy?,
            shadow: shadow?,
            neighbourhood: neighbourhood?,
            node_margin: node_margin?,
            services: Services {
                external: external?,
                forecaster: forecaster?,
                patience: patience?,
            },
        })
    }

    fn node_margin(&self, has_service: bool, mistakes: &mut Mistakes) -> Option<MarginSettings> {
        let wrong = |_| format!("{:?} is not 0 (heavy), 1 (mid) or 2 (light)", self.node_type);
        let node_type = mistakes.take("--node-type", self.node_type.trim().parse().map_err(wrong));
        let cpu = mistakes.take("--nms-cpu-threshold", limit(&self.nms_cpu_threshold));
        let ram = mistakes.take("--nms-ram-threshold", limit(&self.nms_ram_threshold));
        let power = mistakes.take("--nms-power-threshold", limit(&self.nms_power_threshold));
        let groups = self.groups(mistakes);
        Some(MarginSettings {
            node_type: node_type?,
            limits: NodeUsage {
                cpu_percent: Some(cpu?),
                ram_bytes: Some(ram?),
                power_microwatts: Some(power?),
            },
            groups: groups?,
            forecaster: if has_service {
                ForecasterKind::Service
            } else {
                ForecasterKind::Linear
            },
        })
    }

    fn groups(&self, mistakes: &mut Mistakes) -> Option<BTreeMap<FunctionName, LoadGroup>> {
        const FLAG: &str = "--group-list-file";
        let Some(path) = self
            .group_list_file
            .as_ref()
            .filter(|path| !path.as_os_str().is_empty())
        else {
            return Some(BTreeMap::new());
        };
        let lists = fs::read_to_string(path).map_err(|error| error.to_string());
        let lists = lists.and_then(|text| {
            serde_json::from_str::<BTreeMap<LoadGroup, Vec<FunctionName>>>(&text)
                .map_err(|error| error.to_string())
        });
        match lists {
            Ok(lists) => {
                let lists = lists.into_iter();
                Some(
                    lists
                        .flat_map(|(group, names)| names.into_iter().map(move |name| (name, group)))
                        .collect(),
                )
            }
            Err(error) => {
                mistakes.note(Kind::Host, FLAG, format_args!("{}: {error}", path.display()));
                None
            }
        }
    }
}

fn url(text: &str) -> Result<String, String> {
    let is_spoken = |uri: &Uri| matches!(uri.scheme_str(), Some("http" | "https"));
    match text.parse::<Uri>() {
        Ok(uri) if is_spoken(&uri) && uri.host().is_some() => Ok(text.to_owned()),
        Ok(_) | Err(_) => Err(format!(
            "{text:?} is not a URL such as http://127.0.0.1:8000/decide or https://advice.example/decide"
        )),
    }
}

/// A strategy asks once a period, and forgets a question when it asks the next one.
fn patience(text: &str, period: Option<Duration>) -> Result<Duration, String> {
    let patience = go_duration::parse(text).map_err(|error| error.to_string())?;
    match period {
        _ if patience.is_zero() => Err("nobody answers in no time".to_owned()),
        Some(period) if patience > period => Err(format!(
            "{patience:?} is longer than a period (--recalc-period), which is {period:?}"
        )),
        Some(_) | None => Ok(patience),
    }
}

fn limit(text: &str) -> Result<f64, String> {
    match text.trim().parse::<f64>() {
        Ok(limit) if limit > 0.0 && limit.is_finite() => Ok(limit),
        Ok(_) | Err(_) => Err(format!("{text:?} is not a positive number")),
    }
}
