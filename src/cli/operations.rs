//! The account of `run --operations`: what was computed, and where.

use super::{failure::Failure, output};
use inferno::OperationCount;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

/// Writes it: a table on stderr, one line an operation and one column a device, or an event.
pub(crate) fn show(counts: &[OperationCount], as_json: bool) -> Result<(), Failure> {
    if as_json {
        return output::json(&json!({"event": "operations", "operations": counts}));
    }
    for line in table(counts) {
        output::note(&line);
    }
    Ok(())
}

fn table(counts: &[OperationCount]) -> Vec<String> {
    let devices: BTreeSet<&str> = counts.iter().map(|c| c.device.as_str()).collect();
    let mut rows: BTreeMap<&str, BTreeMap<&str, u64>> = BTreeMap::new();
    for count in counts {
        *rows.entry(&count.operation).or_default().entry(&count.device).or_default() += count.count;
    }
    let width = rows.keys().map(|name| name.len()).max().unwrap_or(0).max("operation".len());
    let line = |first: &str, cells: Vec<String>| {
        let cells: String = cells.iter().map(|cell| format!(" {cell:>10}")).collect();
        format!("{first:width$}{cells}")
    };
    let mut lines = vec![line("operation", devices.iter().map(|device| (*device).to_owned()).collect())];
    lines.extend(rows.iter().map(|(name, by_device)| {
        let cell = |device| by_device.get(device).map_or("-".to_owned(), u64::to_string);
        line(name, devices.iter().copied().map(cell).collect())
    }));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_device_has_a_column() {
        let session = |json: &str| -> Vec<OperationCount> {
            let values: Vec<serde_json::Value> = serde_json::from_str(json).unwrap();
            values.into_iter().map(|v| serde_json::from_value(v).unwrap()).collect()
        };
        let counts = session(
            r#"[{"operation": "ADD", "device": "MTL0", "count": 3}, {"operation": "GET_ROWS", "device": "CPU", "count": 1}]"#,
        );
        assert_eq!(
            table(&counts),
            [
                "operation        CPU       MTL0",
                "ADD                -          3",
                "GET_ROWS           1          -"
            ]
        );
    }
}
