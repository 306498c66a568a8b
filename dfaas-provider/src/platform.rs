//! The functions of this node and everything that changes them.

pub(crate) mod error;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use hyper::header::HeaderValue;
use tracing::{info, warn};

use self::error::{FunctionError, REPLICAS_MAX};
use crate::clock;
use crate::run::function::{Function, History, NOTES_ANNOTATION};
use crate::run::isolation::user::FunctionUser;
use crate::run::isolation::{Isolation, Wanted};
use crate::run::launch::{Homes, Host};
use crate::run::plan::Plan;
use crate::state::files::{self, FileError};
use crate::state::name::{DEFAULT_NAMESPACE, FunctionName, NameError};
use crate::state::namespaces::{NamespaceError, Namespaces};
use crate::state::secrets::Secrets;
use crate::state::store::{Record, Store};
use crate::wire::{Deployment, Removal, Scaling};

/// What a platform is told about its node.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) name: HeaderValue,
    pub(crate) state: PathBuf,
    /// The path of this binary, which is a function too.
    pub(crate) this: PathBuf,
    pub(crate) request_bytes_max: u64,
    pub(crate) client_timeout: Duration,
    pub(crate) host: Arc<Host>,
    pub(crate) function_user: FunctionUser,
    /// Where the platform itself listens, and no function may.
    pub(crate) ports: Vec<u16>,
}

/// What a deployment did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Applied {
    Created,
    Changed,
    Unchanged,
}

#[derive(Debug)]
pub(crate) struct Platform {
    node: Node,
    store: Store,
    pub(crate) secrets: Secrets,
    pub(crate) namespaces: Namespaces,
    functions: RwLock<Functions>,
    /// Held by whoever changes anything, so that files and memory change together.
    changing: Mutex<()>,
    /// The notes that the log has.
    told: Mutex<BTreeSet<String>>,
}

/// What is ready to run.
enum Prepared {
    /// What runs already, under other labels.
    Labels(Arc<Function>, Record),
    Process(Record, Box<(Plan, Homes)>),
}

impl Prepared {
    fn record(&self) -> &Record {
        match self {
            Self::Labels(_, record) | Self::Process(record, _) => record,
        }
    }
}

#[derive(Debug, Default)]
struct Functions {
    by_name: BTreeMap<FunctionName, Arc<Function>>,
    /// By every way to write a name in a path, so that a call looks it up without making a string.
    by_path: HashMap<String, Arc<Function>>,
}

impl Platform {
    /// Opens the state directory and starts what was running. Needs the runtime.
    pub(crate) fn open(node: Node) -> Result<Self, FileError> {
        let platform = Self {
            store: Store::open(node.state.join("functions"))?,
            secrets: Secrets::open(&node.state)?,
            namespaces: Namespaces::open(&node.state)?,
            node,
            functions: RwLock::default(),
            changing: Mutex::default(),
            told: Mutex::default(),
        };
        for (name, record) in platform.store.load()? {
            platform.restore(name, record);
        }
        Ok(platform)
    }

    fn restore(&self, name: FunctionName, record: Record) {
        if let Err(error) = self.secrets.check(&name, &record.deployment.secrets) {
            warn!(function = %name, %error, "Started a function without all its secrets");
        }
        match self.prepare(&name, record) {
            Ok(prepared) => drop(self.install(name, prepared)),
            Err(error) => warn!(function = %name, %error, "Left out a function that cannot run any more"),
        }
    }

    pub(crate) fn node(&self) -> &Node {
        &self.node
    }

    /// Finds a function by its name in a path, `name` or `name.namespace`.
    pub(crate) fn find(&self, path_name: &str) -> Option<Arc<Function>> {
        self.read().by_path.get(path_name).cloned()
    }

    pub(crate) fn get(&self, name: &FunctionName) -> Result<Arc<Function>, FunctionError> {
        self.read()
            .by_name
            .get(name)
            .cloned()
            .ok_or_else(|| FunctionError::Missing(name.clone()))
    }

    pub(crate) fn all(&self) -> Vec<Arc<Function>> {
        self.read().by_name.values().cloned().collect()
    }

    pub(crate) fn in_namespace(&self, namespace: &str) -> Vec<Arc<Function>> {
        let mut functions = self.all();
        functions.retain(|function| function.name().namespace == namespace);
        functions
    }

    /// Deploys a function, and tells what this host cannot give it.
    pub(crate) fn create(&self, deployment: Deployment) -> Result<Vec<String>, FunctionError> {
        self.change(|| {
            let name = full_name(&deployment)?;
            match self.get(&name) {
                Ok(_) => Err(FunctionError::Exists(name)),
                Err(_) => self.deploy(name, deployment),
            }
        })
    }

    /// Deploys a function again, and tells what this host cannot give it.
    pub(crate) fn update(&self, deployment: Deployment) -> Result<Vec<String>, FunctionError> {
        self.change(|| {
            let name = full_name(&deployment)?;
            self.get(&name)?;
            self.deploy(name, deployment)
        })
    }

    /// Deploys a function, unless it is deployed just so.
    pub(crate) fn apply(&self, deployment: Deployment) -> Result<Applied, FunctionError> {
        self.change(|| {
            let name = full_name(&deployment)?;
            let applied = match self.get(&name) {
                Err(_) => Applied::Created,
                Ok(old) if *old.deployment() == canonical(&name, deployment.clone()) => Applied::Unchanged,
                Ok(_) => Applied::Changed,
            };
            if applied != Applied::Unchanged {
                self.deploy(name, deployment)?;
            }
            Ok(applied)
        })
    }

    pub(crate) fn remove(&self, removal: &Removal) -> Result<(), FunctionError> {
        self.change(|| {
            let name = FunctionName::new(&removal.function_name, &removal.namespace)?;
            let function = self.get(&name)?;
            self.store.remove(&name)?;
            self.secrets.unmount(&name)?;
            self.write(|functions| functions.remove(&name));
            function.scale(0);
            info!(function = %name, "Removed");
            Ok(())
        })
    }

    /// Scales the function that the body names, or else the path.
    pub(crate) fn scale(&self, path_name: &str, scaling: &Scaling) -> Result<(), FunctionError> {
        self.change(|| {
            let service = match scaling.service_name.as_str() {
                "" => path_name,
                service => service,
            };
            let name = FunctionName::new(service, &scaling.namespace)?;
            self.set_replicas_now(&name, scaling.replicas)
        })
    }

    /// Scales a function.
    pub(crate) fn set_replicas(&self, name: &FunctionName, replicas: u32) -> Result<(), FunctionError> {
        self.change(|| self.set_replicas_now(name, replicas))
    }

    fn set_replicas_now(&self, name: &FunctionName, replicas: u32) -> Result<(), FunctionError> {
        let function = self.get(name)?;
        if replicas > REPLICAS_MAX {
            let name = name.clone();
            return Err(FunctionError::Replicas { name, replicas });
        }
        let record = Record {
            replicas,
            ..function.record()
        };
        self.store.save(name, &record)?;
        function.scale(replicas);
        info!(function = %name, replicas, "Scaled");
        Ok(())
    }

    pub(crate) fn remove_namespace(&self, name: &str) -> Result<(), NamespaceError> {
        self.change(|| {
            let functions: Vec<String> = self
                .in_namespace(name)
                .iter()
                .map(|function| function.name().name.clone())
                .collect();
            match functions.is_empty() {
                true => {
                    self.namespaces.remove(name)?;
                    // A namespace of the same name must not find them.
                    for kept in ["secrets", "mounts", "home"] {
                        files::remove_directory(&self.node.state.join(kept).join(name))?;
                    }
                    Ok(())
                }
                false => Err(NamespaceError::InUse {
                    name: name.to_owned(),
                    functions: functions.join(", "),
                }),
            }
        })
    }

    /// Stops every function, and forgets them.
    pub(crate) fn stop(&self) {
        self.change(|| {
            self.all().iter().for_each(|function| function.scale(0));
            self.write(|functions| *functions = Functions::default());
        });
    }

    pub(crate) fn change<T>(&self, change: impl FnOnce() -> T) -> T {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        change()
    }

    fn deploy(&self, name: FunctionName, mut deployment: Deployment) -> Result<Vec<String>, FunctionError> {
        // It comes back from who deploys what was described.
        deployment.annotations.remove(NOTES_ANNOTATION);
        let secrets = self.secrets.check(&name, &deployment.secrets);
        secrets.map_err(|source| FunctionError::Secret {
            name: name.clone(),
            source,
        })?;
        let namespace = self.namespaces.find(&name.namespace);
        namespace.map_err(|source| FunctionError::Namespace {
            name: name.clone(),
            source,
        })?;
        let old = self.get(&name).ok().map(|old| old.record());
        let record = Record {
            deployment: canonical(&name, deployment),
            replicas: old.as_ref().map_or(1, |old| old.replicas.max(1)),
            user: old.as_ref().and_then(|old| old.user),
            created_at: old.map_or_else(clock::timestamp, |old| old.created_at),
        };
        // What makes no sense or cannot be made ready must not be saved.
        let prepared = self.prepare(&name, record)?;
        self.store.save(&name, prepared.record())?;
        let function = self.install(name.clone(), prepared);
        info!(function = %name, "Deployed");
        Ok(function.notes().to_vec())
    }

    /// Makes ready what a function needs, and leaves the one that runs as it is.
    fn prepare(&self, name: &FunctionName, mut record: Record) -> Result<Prepared, FunctionError> {
        let plan = Plan::new(&record.deployment, &self.node.this).map_err(|source| FunctionError::Plan {
            name: name.clone(),
            source,
        })?;
        self.check_port(name, &plan)?;
        if let Ok(old) = self.get(name)
            && old.differs_by_labels(&record.deployment)
        {
            return Ok(Prepared::Labels(old, record));
        }
        record.user = self.user(name, record.user);
        let homes = self.homes(name, &record, &plan)?;
        Ok(Prepared::Process(record, Box::new((plan, homes))))
    }

    fn install(&self, name: FunctionName, prepared: Prepared) -> Arc<Function> {
        let function = match prepared {
            Prepared::Labels(old, record) => old.relabelled(record),
            Prepared::Process(record, ready) => {
                let (plan, homes) = *ready;
                let old = self.get(&name).ok();
                let history = old
                    .as_ref()
                    .map_or_else(History::new, |old| old.history().clone());
                let before = old.and_then(|old| old.retire());
                Function::new(name, record, plan, homes, history, before)
            }
        };
        let function = Arc::new(function);
        self.tell_notes(&function);
        self.write(|functions| functions.insert(Arc::clone(&function)));
        function
    }

    /// Says once what this host cannot give.
    fn tell_notes(&self, function: &Function) {
        for note in function.notes() {
            let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            if told.insert(note.clone()) {
                warn!(function = %function.name(), note, "This host cannot give a function all that it wants");
            }
        }
    }

    /// Gives the functions that list a secret what it is now.
    pub(crate) fn spread_secret(&self, namespace: &str, secret: &str) -> Result<(), FileError> {
        for function in self.in_namespace(namespace) {
            let record = function.record();
            let secrets = &record.deployment.secrets;
            if record.user.is_some() && secrets.iter().any(|name| name == secret) {
                self.secrets.mount(function.name(), secrets, record.user)?;
            }
        }
        Ok(())
    }

    /// Two that listen at one port would answer each other's calls.
    fn check_port(&self, name: &FunctionName, plan: &Plan) -> Result<(), FunctionError> {
        let Some(port) = plan.fixed_port() else {
            return Ok(());
        };
        let others = self.all();
        let other = others
            .iter()
            .find(|other| other.name() != name && other.fixed_port() == Some(port));
        let holder = match other {
            Some(other) => other.name().to_string(),
            None if self.node.ports.contains(&port) => "the platform".to_owned(),
            None => return Ok(()),
        };
        Err(FunctionError::Port {
            name: name.clone(),
            port,
            holder,
        })
    }

    /// Stops the functions that want to be when nobody calls them.
    pub(crate) fn rest_idle(&self) {
        for function in self.all() {
            self.change(|| {
                if self.get(function.name()).is_ok_and(|known| Arc::ptr_eq(&known, &function)) && function.rest() {
                    info!(function = %function.name(), "Scaled to zero, as nobody calls it");
                    if let Err(error) = self.store.save(function.name(), &function.record()) {
                        warn!(function = %function.name(), %error, "Could not save that it is scaled to zero");
                    }
                }
            });
        }
    }

    /// The user of a function, which no other has.
    fn user(&self, name: &FunctionName, had: Option<u32>) -> Option<u32> {
        let others = self.all();
        let others = others.iter().filter(|other| other.name() != name);
        let taken = others.filter_map(|other| other.record().user).collect();
        self.node.function_user.choose(had, &taken)
    }

    fn homes(&self, name: &FunctionName, record: &Record, plan: &Plan) -> Result<Homes, FileError> {
        let (state, user) = (&self.node.state, record.user);
        let home = state.join("home").join(&name.namespace).join(&name.name);
        files::create_directory(&home)?;
        let secrets = self.secrets.mount(name, &record.deployment.secrets, user)?;
        if user.is_some() {
            for kept in ["", "home", "mounts"] {
                files::let_pass(&state.join(kept))?;
                files::let_pass(&state.join(kept).join(&name.namespace))?;
            }
        }
        let wanted = Wanted {
            name,
            user,
            state,
            home: &home,
            secrets: secrets.as_deref(),
            words: plan.words(),
            limits: plan.limits,
            read_only: record.deployment.read_only_root_filesystem,
        };
        let isolation = match plan.words() {
            [] => Isolation::default(),
            _ => Isolation::new(&wanted).map_err(FileError::new("make ready", &home))?,
        };
        Ok(Homes {
            home,
            secrets: secrets.filter(|_| !record.deployment.secrets.is_empty()),
            host: Arc::clone(&self.node.host),
            isolation,
        })
    }

    fn read(&self) -> RwLockReadGuard<'_, Functions> {
        self.functions.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write<T>(&self, change: impl FnOnce(&mut Functions) -> T) -> T {
        change(&mut self.functions.write().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Functions {
    fn insert(&mut self, function: Arc<Function>) {
        let name = function.name().clone();
        for path_name in path_names(&name) {
            self.by_path.insert(path_name, Arc::clone(&function));
        }
        self.by_name.insert(name, function);
    }

    fn remove(&mut self, name: &FunctionName) {
        for path_name in path_names(name) {
            self.by_path.remove(&path_name);
        }
        self.by_name.remove(name);
    }
}

fn path_names(name: &FunctionName) -> impl Iterator<Item = String> {
    let short = (name.namespace == DEFAULT_NAMESPACE).then(|| name.name.clone());
    short.into_iter().chain([name.to_string()])
}

fn full_name(deployment: &Deployment) -> Result<FunctionName, NameError> {
    FunctionName::new(&deployment.service, &deployment.namespace)
}

/// Writes a deployment's name in one way, so that two of them can be compared.
fn canonical(name: &FunctionName, deployment: Deployment) -> Deployment {
    Deployment {
        service: name.name.clone(),
        namespace: name.namespace.clone(),
        ..deployment
    }
}
