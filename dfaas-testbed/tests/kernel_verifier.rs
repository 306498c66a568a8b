//! What the verifier of the running kernel had to do for each program. Alone in its process, for it takes away file
//! descriptors.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

use std::{io, path::Path};

use aya::{
    Ebpf, EbpfLoader, VerifierLogLevel,
    programs::{Program, ProgramError, SchedClassifier, SkLookup, Xdp},
};
use dfaas_common::log;
use rustix::{
    io::Errno,
    process::{Resource, Rlimit, getrlimit, setrlimit},
};

/// The level up to which programs log, by what their names end with in the table of instructions.
const LEVELS: [(&str, u8); 2] = [("", log::NOTHING), (":log", aya_log::Level::Trace as u8)];

#[test]
fn every_program_is_accepted_with_and_without_its_log() {
    for (ending, level) in LEVELS {
        let mut ebpf = programs(level);
        let mut names: Vec<String> = ebpf.programs().map(|(name, _)| name.to_owned()).collect();
        names.sort();
        assert_eq!(names, ["egress", "guard", "ingress", "listener"]);
        for name in names {
            let program = ebpf.program_mut(&name).unwrap();
            let processed = processed(program);
            println!("verifier: {name}{ending} processed {processed} instructions");
            load(program).unwrap();
        }
    }
}

fn programs(log_level: u8) -> Ebpf {
    let object = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .join("target/ebpf/bpfel-unknown-none/release/dfaas-ebpf");
    EbpfLoader::new()
        .verifier_log_level(VerifierLogLevel::STATS)
        .override_global(log::LEVEL, &log_level, true)
        .load_file(&object)
        .unwrap_or_else(|error| panic!("{}: {error}; cargo xtask build-ebpf", object.display()))
}

fn load(program: &mut Program) -> Result<(), ProgramError> {
    if let Ok(listener) = <&mut SkLookup>::try_from(&mut *program) {
        return listener.load();
    }
    if let Ok(guard) = <&mut Xdp>::try_from(&mut *program) {
        return guard.load();
    }
    <&mut SchedClassifier>::try_from(program)?.load()
}

/// aya keeps the verifier's log of failures only, and before 5.16 nothing else tells the number. So the load fails after
/// the verifier is done: the last thing that the kernel needs is a file descriptor, and there is none.
fn processed(program: &mut Program) -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let none = Rlimit {
        current: Some(0),
        ..limit
    };
    setrlimit(Resource::Nofile, none).unwrap();
    let loaded = load(program);
    setrlimit(Resource::Nofile, limit).unwrap();
    let Err(ProgramError::LoadError {
        io_error,
        verifier_log,
    }) = loaded
    else {
        panic!("without a file descriptor: {loaded:?}")
    };
    assert_eq!(
        io_error.raw_os_error(),
        Some(Errno::MFILE.raw_os_error()),
        "{io_error}\n{verifier_log}"
    );
    read(&verifier_log.to_string()).unwrap()
}

/// The number in `processed 7 insns (limit 1000000)`.
fn read(log: &str) -> io::Result<u64> {
    let line = log.lines().find_map(|line| line.strip_prefix("processed "));
    let number = line.and_then(|rest| rest.split(' ').next()?.parse().ok());
    number.ok_or_else(|| io::Error::other(format!("no number in {log:?}")))
}
