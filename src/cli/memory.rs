//! How much memory this process holds, as Linux tells it; nothing on other systems.
//!
//! `getrusage` would do for the peak, but its figure outlives `exec`: a child would report its
//! parent's peak as its own.

use std::fs;

/// Bytes held now.
pub(super) fn held() -> Option<u64> {
    status("VmRSS:")
}

/// Most bytes held since the start, or since [`forget_peak`].
pub(super) fn peak() -> Option<u64> {
    status("VmHWM:")
}

/// Lets the peak begin at what is held now; where the system refuses, it goes on from the start.
pub(super) fn forget_peak() {
    let _ = fs::write("/proc/self/clear_refs", "5");
}

fn status(field: &str) -> Option<u64> {
    let text = fs::read_to_string("/proc/self/status").ok()?;
    let kilobytes = text.lines().find_map(|line| line.strip_prefix(field))?.trim().strip_suffix(" kB")?;
    Some(kilobytes.parse::<u64>().ok()? * 1024)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_at_least_what_is_held() {
        let block = vec![1u8; 32 << 20];
        assert!(held().unwrap() > block.len() as u64);
        drop(block);
        assert!(peak().unwrap() > 32 << 20);
    }
}
