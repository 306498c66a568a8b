//! What fuzzing began with, and what it found, stays right.

use std::{fs, path::Path};

use dfaas_oracle::targets;

#[test]
fn seeds_are_read_alike() {
    for (name, target) in targets::ALL {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../fuzz/seeds")
            .join(name);
        let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let mut count = 0;
        for entry in entries {
            let path = entry.expect("a folder can be listed").path();
            target(&fs::read(&path).expect("a seed can be read"));
            count += 1;
        }
        assert!(count > 0, "{} is empty", folder.display());
    }
}
