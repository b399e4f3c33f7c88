//! What this process used of the machine.

/// The largest resident memory of this process so far, in bytes (`VmHWM` of Linux); `None` where the system has no
/// file that says so.
#[must_use]
pub fn peak_rss_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    #[test]
    #[cfg(target_os = "linux")]
    fn is_plausible() {
        let bytes = super::peak_rss_bytes().unwrap();
        assert!((1 << 18..1 << 40).contains(&bytes), "{bytes}");
    }
}
