//! The limits of a deployment, in Kubernetes' quantities.

use crate::wire::Pairs;

#[derive(Debug, PartialEq, thiserror::Error)]
pub enum LimitError {
    #[error("limits.memory is {0:?}; write bytes, as in 20Mi, 128M or 1Gi")]
    Memory(String),
    #[error("limits.cpu is {0:?}; write processors, as in 0.5 or 500m")]
    Cpu(String),
    #[error("limits.pids is {0:?}; write a number of processes")]
    Pids(String),
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Limits {
    /// In bytes.
    pub(crate) memory: Option<u64>,
    /// In thousandths of a processor.
    pub(crate) cpu_permille: Option<u64>,
    pub(crate) pids: Option<u64>,
}

impl Limits {
    pub(crate) fn read(limits: Option<&Pairs>) -> Result<Self, LimitError> {
        let text = |name| {
            let value = limits?.get(name).map(|value| value.trim());
            value.filter(|value| !value.is_empty())
        };
        let memory = |text: &str| quantity(text).filter(|&bytes| bytes >= 1.0);
        let cpu = |text: &str| quantity(text).filter(|&processors| processors >= 0.001);
        Ok(Self {
            memory: text("memory")
                .map(|text| memory(text).ok_or_else(|| LimitError::Memory(text.to_owned())))
                .transpose()?
                .map(|bytes| bytes as u64),
            cpu_permille: text("cpu")
                .map(|text| cpu(text).ok_or_else(|| LimitError::Cpu(text.to_owned())))
                .transpose()?
                .map(|processors| (processors * 1000.0).round() as u64),
            pids: text("pids")
                .map(|text| text.parse().map_err(|_| LimitError::Pids(text.to_owned())))
                .transpose()?,
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A number with a binary or decimal suffix, as Kubernetes' resource.Quantity.
fn quantity(text: &str) -> Option<f64> {
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let scale = match suffix {
        "" => 1.0,
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "Ki" => 1024.0,
        "Mi" => 1024.0 * 1024.0,
        "Gi" => 1024.0 * 1024.0 * 1024.0,
        "Ti" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        _ => return None,
    };
    Some(number.parse::<f64>().ok()? * scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read() {
        check("memory", "20Mi", Some(20 << 20));
        check("memory", "128M", Some(128_000_000));
        check("memory", "1.5Gi", Some(3 << 29));
        check("memory", "4096", Some(4096));
        check("cpu", "100m", Some(100));
        check("cpu", "0.5", Some(500));
        check("cpu", "2", Some(2000));
        check("pids", "64", Some(64));
        check("memory", "", None);
    }

    #[test]
    fn other_text_is_refused() {
        for (name, value) in [
            ("memory", "20Mx"),
            ("memory", "-1"),
            ("memory", "much"),
            ("memory", "0"),
            ("cpu", "0"),
            ("cpu", "fast"),
            ("pids", "1.5"),
        ] {
            let limits = Pairs::from([(name.to_owned(), value.to_owned())]);
            assert!(Limits::read(Some(&limits)).is_err(), "{name}={value}");
        }
    }

    #[track_caller]
    fn check(name: &str, value: &str, want: Option<u64>) {
        let limits = Limits::read(Some(&Pairs::from([(name.to_owned(), value.to_owned())]))).unwrap();
        let got = match name {
            "memory" => limits.memory,
            "cpu" => limits.cpu_permille,
            _ => limits.pids,
        };
        assert_eq!(got, want, "{name}={value}");
    }
}
