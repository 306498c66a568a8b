//! What is said to HAProxy, and what its answers mean.

use super::{configuration::METERS, control::Reading, rows::Rows};

/// A command has to fit into a buffer of HAProxy (`tune.bufsize`, 16 384 bytes) with room to spare.
const PAYLOAD_BYTES: usize = 8_192;

/// The commands that put rows into a version of a map.
pub(super) fn add(map: u32, version: u32, rows: &Rows) -> Vec<String> {
    let mut payloads = vec![String::new()];
    for (key, value) in rows {
        let row = format!("{key} {value}\n");
        match payloads.last_mut() {
            Some(last) if last.len() + row.len() <= PAYLOAD_BYTES => last.push_str(&row),
            _ => payloads.push(row),
        }
    }
    let filled = payloads.into_iter().filter(|payload| !payload.is_empty());
    filled
        .map(|payload| format!("add map @{version} #{map} <<\n{payload}"))
        .collect()
}

/// The rows as the file of a map has them.
pub(super) fn file(rows: &Rows) -> String {
    rows.iter()
        .map(|(key, value)| format!("{key} {value}\n"))
        .collect()
}

/// The version that `prepare map` has made.
pub(super) fn prepared(answer: &str) -> Option<u32> {
    answer.trim().strip_prefix("New version created: ")?.parse().ok()
}

/// The number of the map whose file has this name, of those that `show map` lists.
pub(super) fn map_id(answer: &str, name: &str) -> Option<u32> {
    answer.lines().find_map(|line| {
        let (id, rest) = line.split_once(" (")?;
        let (file, _) = rest.split_once(')')?;
        (file.rsplit('/').next() == Some(name)).then(|| id.parse().ok())?
    })
}

/// What `show info` and `show table` say; nothing if the table is not there.
pub(super) fn reading(answer: &str) -> Option<Reading> {
    let field = |name: &str| {
        answer
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    };
    let table = format!("# table: {METERS},");
    answer.lines().find(|line| line.starts_with(&table))?;
    Some(Reading {
        pid: field("Pid")?.trim().parse().ok()?,
        version: field("Version")?.parse().ok()?,
        counts: answer.lines().filter_map(count).collect(),
    })
}

/// The key and the counter of a line such as `0x55d0: key=l/figlet use=0 exp=1799500 gpt0=5 gpc0=6`.
fn count(line: &str) -> Option<(String, u64)> {
    let words = || line.split_ascii_whitespace().skip(1);
    let value = |name: &str| words().find_map(|word| word.strip_prefix(name));
    Some((value("key=")?.to_owned(), value("gpc0=")?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::haproxy::version::Version;

    #[test]
    fn rows_travel_in_as_many_commands_as_they_need() {
        let row = |index: usize| (format!("{index:04}"), "x".repeat(1_000));
        let rows: Rows = (0..20).map(row).collect();
        let commands = add(3, 7, &rows);
        assert_eq!(commands.len(), 3);
        for command in &commands {
            assert!(command.starts_with("add map @7 #3 <<\n0") && command.len() < 16_384 - 1_024);
        }
        let sent: usize = commands.iter().map(|command| command.lines().count() - 1).sum();
        assert_eq!(sent, rows.len());
        assert_eq!(add(3, 7, &Rows::new()), [""; 0]);
    }

    #[test]
    fn a_map_is_found_by_the_name_of_its_file() {
        let answer = "# id (file) description\n\
            0 (/etc/other.map) pattern loaded from file '/etc/other.map' used by map\n\
            -1 (/run/x/policy.map) pattern loaded from file '/run/x/policy.map'. curr_ver=0\n\
            12 (/run/y/policy.map) pattern loaded\n";
        assert_eq!(map_id(answer, "policy.map"), Some(12));
        assert_eq!(map_id(answer, "nosuch.map"), None);
    }

    #[test]
    fn versions_are_read() {
        assert_eq!(prepared("New version created: 17\n\n"), Some(17));
        assert_eq!(prepared("Unknown map identifier.\n"), None);
    }

    #[test]
    fn readings_are_read() {
        let answer = "Name: HAProxy\nVersion: 2.6.12-1+deb12u4\nPid: 21851\n\n\
            # table: meters, type: string, size:102400, used:2\n\
            0x557a65b803a8: key=l/figlet use=0 exp=1799500 gpt0=231443853 gpc0=6\n\
            0x557a65b803a9: key=x/403 use=0 exp=1799500 shard=0 gpt0=0 gpc0=1\n";
        let reading = reading(answer).unwrap();
        assert_eq!((reading.pid, reading.version), (21851, Version(2, 6)));
        assert_eq!(
            reading.counts,
            [("l/figlet".to_owned(), 6), ("x/403".to_owned(), 1)]
        );
    }

    #[test]
    fn somebody_elses_haproxy_gives_no_reading() {
        assert_eq!(reading("Version: 2.6.12\nPid: 1\n\nNo such table\n"), None);
    }
}
