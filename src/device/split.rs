//! How many layers of a model each of several devices holds.

use super::{Device, DeviceKind, Facts};
use crate::gguf::Gguf;

/// Bytes a second that are assumed where no profile knows the card: what the slowest cards of the profiles have, and
/// what a processor's memory has.
const CARD: u64 = 80_000_000_000;
const INTEGRATED: u64 = 40_000_000_000;

/// The part of a device's free memory that weights may take; the KV cache and the buffers of a computation need room too.
const SHARE_FOR_WEIGHTS: f64 = 0.8;

/// Layers for each device, and why: consecutive, in the order of the devices. In proportion to the bandwidth of their
/// memory, as a layer's time is that of reading it, and no more than fits. Each device that was asked for gets at least
/// one, as long as there are enough. The first layers stay with the CPU where all devices together have no room.
pub(super) fn layers(devices: &[(&Device, &Facts)], layers: &[u64]) -> (Vec<u32>, String) {
    let bandwidth = |d: &Device, f: &Facts| {
        f.memory_bandwidth.unwrap_or(match d.kind {
            DeviceKind::IntegratedGpu => INTEGRATED,
            _ => CARD,
        })
    };
    let places: Vec<Place> = devices
        .iter()
        .map(|(d, f)| Place {
            speed: bandwidth(d, f) as f64,
            // a driver that does not say how much there is has to refuse by itself
            room: if d.memory_total == 0 { f64::INFINITY } else { d.memory_free as f64 * SHARE_FOR_WEIGHTS },
        })
        .collect();
    let room: f64 = places.iter().map(|p| p.room).sum();
    let mut needed: f64 = layers.iter().map(|b| *b as f64).sum();
    let mut first = 0;
    while needed > room && first < layers.len() {
        needed -= layers[first] as f64;
        first += 1;
    }
    let counts = if places.is_empty() { vec![] } else { count(&places, &layers[first..]) };
    let reason = match (first, devices.len()) {
        (0, 1) => "all of the model fits into its memory".to_owned(),
        (0, _) => "in proportion to the bandwidth of the memories, as far as they have room".to_owned(),
        (first, _) => format!(
            "weights may take four fifths of the free memory of a GPU: the first {first} layers have no room, and the CPU \
             computes them"
        ),
    };
    (counts, reason)
}

/// Bytes of each layer, the last one being the output.
pub(super) fn layer_bytes(gguf: &Gguf) -> Vec<u64> {
    let blocks = usize::try_from(gguf.block_count().unwrap_or(0)).unwrap_or(0);
    let mut bytes = vec![0; blocks + 1];
    for tensor in gguf.tensors() {
        let name = tensor.name.as_str();
        let block = name.strip_prefix("blk.").and_then(|rest| rest.split('.').next()?.parse::<usize>().ok());
        let place = match block {
            Some(block) if block < blocks => block,
            // where there is no output of its own, the embedding is copied to the device for it
            None if name.starts_with("output") || name == "token_embd.weight" => blocks,
            _ => continue,
        };
        bytes[place] += tensor.size_bytes;
    }
    if gguf.tensor("output.weight").is_some() {
        bytes[blocks] -= gguf.tensor("token_embd.weight").map_or(0, |t| t.size_bytes);
    }
    bytes
}

#[derive(Clone, Copy)]
struct Place {
    speed: f64,
    room: f64,
}

fn count(places: &[Place], layers: &[u64]) -> Vec<u32> {
    let total: f64 = layers.iter().map(|b| *b as f64).sum();
    // in proportion to the speed; what does not fit is shared among the others, in the same way
    let mut shares = vec![0.0; places.len()];
    let mut open: Vec<usize> = (0..places.len()).collect();
    let mut left = total;
    while !open.is_empty() {
        let speed: f64 = open.iter().map(|i| places[*i].speed).sum();
        let full: Vec<usize> =
            open.iter().copied().filter(|i| left * places[*i].speed / speed > places[*i].room).collect();
        if full.is_empty() {
            for i in open {
                shares[i] = left * places[i].speed / speed;
            }
            break;
        }
        for i in &full {
            shares[*i] = places[*i].room;
        }
        left -= full.iter().map(|i| places[*i].room).sum::<f64>();
        open.retain(|i| !full.contains(i));
    }
    // a layer belongs to the device in whose share its middle lies
    let mut counts = vec![0; places.len()];
    let mut before = 0.0;
    for bytes in layers {
        let middle = before + *bytes as f64 / 2.0;
        let mut end = 0.0;
        let holder = shares.iter().position(|share| {
            end += share;
            middle < end
        });
        counts[holder.unwrap_or(places.len() - 1)] += 1;
        before += *bytes as f64;
    }
    if layers.len() >= places.len() {
        while let Some(empty) = counts.iter().position(|n| *n == 0) {
            let most = (0..counts.len()).max_by_key(|i| counts[*i]).expect("there are places");
            counts[most] -= 1;
            counts[empty] += 1;
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(speed: f64, room: f64) -> Place {
        Place { speed, room }
    }

    #[test]
    fn layers_follow_speed_and_end_with_the_memory() {
        let even = [10; 20];
        assert_eq!(count(&[place(3.0, 1e9), place(1.0, 1e9)], &even), [15, 5]);
        assert_eq!(count(&[place(3.0, 100.0), place(1.0, 1e9)], &even), [10, 10]);
        assert_eq!(count(&[place(3.0, 1e9), place(1.0, 20.0)], &even), [18, 2]);
        assert_eq!(count(&[place(1.0, 1e9); 3], &[10; 6]), [2, 2, 2]);
        // each that was asked for takes part
        assert_eq!(count(&[place(192.0, 1e9), place(1.0, 1e9)], &[10; 7]), [6, 1]);
        assert_eq!(count(&[place(1.0, 1e9), place(1.0, 1e9)], &[10]).iter().sum::<u32>(), 1);
        // a large output counts by its bytes
        assert_eq!(count(&[place(1.0, 1e9), place(1.0, 1e9)], &[10, 10, 10, 10, 40]), [4, 1]);
        // more than there is room for: the caller has checked the sum
        assert_eq!(count(&[place(1.0, 5.0), place(1.0, 5.0)], &even).iter().sum::<u32>(), 20);
    }
}
