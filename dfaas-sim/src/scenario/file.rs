//! What stands in a scenario's file, as it stands there.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer};
use serde_spanned::Spanned;

/// A value, and where in the file it stands.
#[derive(Debug, Clone)]
pub(crate) struct At<T> {
    pub(crate) value: T,
    /// Bytes of the file; none for a default.
    pub(crate) span: Range<usize>,
}

impl<T> From<T> for At<T> {
    fn from(value: T) -> Self {
        Self { value, span: 0..0 }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for At<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<T>::deserialize(deserializer)?;
        let span = spanned.span();
        Ok(Self {
            value: spanned.into_inner(),
            span,
        })
    }
}

impl<T: JsonSchema> JsonSchema for At<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// A scenario of dfaas-sim: a federation, its users, and what happens to it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    /// A short name, for titles.
    pub(crate) name: String,
    /// What it is to show.
    #[serde(default)]
    pub(crate) description: String,
    /// The seed of all chance. `--seed` overrides it.
    #[serde(default = "one")]
    pub(crate) seed: u64,
    /// For how many seconds users come. What is under way then is seen to its end.
    pub(crate) duration_s: At<f64>,
    /// How many seconds from the beginning do not count in the summary.
    #[serde(default = "zero")]
    pub(crate) warmup_s: At<f64>,
    /// Who decides. `--strategy` overrides it.
    pub(crate) strategy: At<String>,
    /// How often nodes tell each other about themselves, in seconds.
    #[serde(default = "second")]
    pub(crate) period_s: At<f64>,
    /// For the strategy latency-threshold: from which 95th percentile on, in milliseconds, a node gets no requests.
    #[serde(default = "threshold")]
    pub(crate) latency_threshold_ms: At<f64>,
    /// The links of all nodes.
    #[serde(default)]
    pub(crate) network: Network,
    /// Links that differ from others.
    #[serde(default, rename = "link")]
    pub(crate) links: Vec<Link>,
    /// The nodes.
    #[serde(rename = "node")]
    pub(crate) nodes: Vec<At<Node>>,
    /// Who asks for what.
    #[serde(rename = "demand")]
    pub(crate) demands: Vec<Demand>,
    /// What happens meanwhile.
    #[serde(default, rename = "event")]
    pub(crate) events: Vec<Event>,
}

/// The links of all nodes.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Network {
    /// Who is linked with whom, and sends its excess there. Everybody with everybody if absent.
    pub(crate) topology: Option<At<Topology>>,
    /// How long a packet takes over a link, in milliseconds; 1 if absent.
    pub(crate) latency_ms: Option<At<f64>>,
    /// Up to how much longer, in milliseconds.
    pub(crate) jitter_ms: Option<At<f64>>,
    /// Which share of packets a link loses.
    pub(crate) loss: Option<At<f64>>,
}

/// Who is linked with whom.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Topology {
    /// Everybody with everybody.
    Mesh,
    /// Each with the next.
    Line,
    /// Each with the next, the last with the first.
    Ring,
    /// The first with all others.
    Star,
    /// Each with so many below it.
    Tree(Tree),
    /// The original simulator's connected random graph: for each node a link to a later one, and each other pair with a probability.
    Random(RandomGraph),
    /// These pairs of names.
    Listed(Vec<At<[String; 2]>>),
}

/// A tree.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tree {
    /// How many are below each.
    pub(crate) branching: At<u32>,
}

/// A connected random graph.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RandomGraph {
    /// The probability of each pair.
    pub(crate) p: At<f64>,
    /// The seed of the graph; that of the run if absent.
    #[serde(default)]
    pub(crate) seed: Option<u64>,
}

/// A link that differs from the others.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Link {
    /// The names of its ends.
    pub(crate) between: At<[String; 2]>,
    /// How long a packet takes, in milliseconds.
    #[serde(default)]
    pub(crate) latency_ms: Option<At<f64>>,
    /// Up to how much longer, in milliseconds.
    #[serde(default)]
    pub(crate) jitter_ms: Option<At<f64>>,
    /// Which share of packets it loses.
    #[serde(default)]
    pub(crate) loss: Option<At<f64>>,
}

/// A node, or several that are alike.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Node {
    /// Its name; of several, what their names begin with.
    pub(crate) name: At<String>,
    /// How many there are. With more than one, they are called name1, name2 and so on.
    #[serde(default)]
    pub(crate) count: Option<At<u32>>,
    /// Whether it is there from the beginning; if not, an event lets it join.
    #[serde(default = "yes")]
    pub(crate) starts: bool,
    /// The functions that it runs.
    #[serde(default)]
    pub(crate) functions: BTreeMap<String, At<Function>>,
}

/// A function on a node.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Function {
    /// Its capacity in requests per second: the label `dfaas.maxrate`.
    pub(crate) capacity_rps: At<f64>,
    /// How long a request takes when it is served. If absent, exponentially distributed, and so long on the average that
    /// one server has four fifths of its time to do at the capacity.
    #[serde(default)]
    pub(crate) service: Option<At<Service>>,
    /// How many requests are served at a time; if absent, so many that the capacity uses four fifths of them.
    #[serde(default)]
    pub(crate) servers: Option<At<u32>>,
    /// How many more may wait; two seconds' capacity, and at least 16, if absent. What does not fit is refused.
    #[serde(default)]
    pub(crate) queue: Option<At<u32>>,
}

/// How long a request takes.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Service {
    /// Always as long.
    Constant(Mean),
    /// Exponentially distributed.
    Exponential(Mean),
    /// Between two times.
    Uniform(Uniform),
    /// Log-normally distributed.
    Lognormal(Lognormal),
}

/// A mean time.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Mean {
    /// In milliseconds.
    pub(crate) mean_ms: At<f64>,
}

/// Any time between two.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Uniform {
    /// The shortest, in milliseconds.
    pub(crate) min_ms: At<f64>,
    /// The longest, in milliseconds.
    pub(crate) max_ms: At<f64>,
}

/// A time whose logarithm is normally distributed.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Lognormal {
    /// The median, in milliseconds.
    pub(crate) median_ms: At<f64>,
    /// The standard deviation of the natural logarithm.
    pub(crate) sigma: At<f64>,
}

/// The users of a node who ask for a function.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Demand {
    /// The node, or what the names of several begin with, followed by `*`: each of them has these users.
    pub(crate) node: At<String>,
    /// The function.
    pub(crate) function: At<String>,
    /// When they begin to come, in seconds.
    #[serde(default = "zero")]
    pub(crate) from_s: At<f64>,
    /// When they stop, in seconds; at the end if absent.
    #[serde(default)]
    pub(crate) until_s: Option<At<f64>>,
    /// How they come.
    pub(crate) process: At<Process>,
}

/// How users come. All but `even` are Poisson processes of the rate.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Process {
    /// Evenly spaced, as load generators with a constant rate send.
    Even(Steady),
    /// At a constant rate, independently of each other.
    Poisson(Steady),
    /// At one rate, then at another.
    Step(Step),
    /// Rising to a peak and falling again.
    Triangle(Triangle),
    /// A sine over a day.
    Diurnal(Diurnal),
    /// In bursts of random length.
    Bursty(Bursty),
    /// As recorded.
    Trace(Trace),
}

/// A constant rate.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Steady {
    /// Requests per second.
    pub(crate) rate_rps: At<f64>,
}

/// A change of the rate.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Step {
    /// Requests per second before.
    pub(crate) from_rps: At<f64>,
    /// Requests per second afterwards.
    pub(crate) to_rps: At<f64>,
    /// When it changes, in seconds since the demand begins.
    pub(crate) at_s: At<f64>,
}

/// A rise and a fall.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Triangle {
    /// Requests per second before and after.
    pub(crate) low_rps: At<f64>,
    /// Requests per second at the peak.
    pub(crate) high_rps: At<f64>,
    /// When the rate begins to rise, in seconds since the demand begins.
    pub(crate) start_s: At<f64>,
    /// When it is highest.
    pub(crate) peak_s: At<f64>,
    /// When it is low again.
    pub(crate) end_s: At<f64>,
}

/// A day.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Diurnal {
    /// Requests per second on the average.
    pub(crate) mean_rps: At<f64>,
    /// How far the rate strays from the mean, as a share of it (0 to 1).
    pub(crate) amplitude: At<f64>,
    /// How long a day is, in seconds.
    pub(crate) day_s: At<f64>,
}

/// Bursts.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Bursty {
    /// Requests per second between bursts.
    pub(crate) low_rps: At<f64>,
    /// Requests per second within a burst.
    pub(crate) high_rps: At<f64>,
    /// How long it is between bursts, in seconds, on the average.
    pub(crate) low_s: At<f64>,
    /// How long a burst is, in seconds, on the average.
    pub(crate) high_s: At<f64>,
}

/// A recorded rate.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Trace {
    /// A file, seen from the scenario's folder. `.csv`: a column `rate_rps`. `.json`: as k6 scripts of the original
    /// take it, an object of functions, each an object of nodes, each a list of rates.
    pub(crate) file: At<String>,
    /// How long each rate holds, in seconds.
    pub(crate) step_s: At<f64>,
    /// What the rates are multiplied by.
    #[serde(default = "unit")]
    pub(crate) scale: At<f64>,
    /// In a JSON file: the function; the demand's if absent.
    #[serde(default)]
    pub(crate) function: Option<String>,
    /// In a JSON file: the node; the demand's if absent.
    #[serde(default)]
    pub(crate) node: Option<String>,
}

/// Something that happens.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Event {
    /// When, in seconds.
    pub(crate) at_s: At<f64>,
    /// This node ends without a word.
    #[serde(default)]
    pub(crate) crash: Option<At<String>>,
    /// This node starts, or starts anew.
    #[serde(default)]
    pub(crate) join: Option<At<String>>,
    /// Only nodes of the same group reach each other from now on. Who is in no group is in one with all such.
    #[serde(default)]
    pub(crate) partition: Option<At<Vec<Vec<String>>>>,
    /// Everybody reaches everybody again.
    #[serde(default)]
    pub(crate) heal: Option<At<bool>>,
}

fn one() -> u64 {
    1
}

fn yes() -> bool {
    true
}

fn zero() -> At<f64> {
    0.0.into()
}

fn unit() -> At<f64> {
    1.0.into()
}

fn second() -> At<f64> {
    1.0.into()
}

fn threshold() -> At<f64> {
    100.0.into()
}
