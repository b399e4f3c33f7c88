//! The machine this runs on, as a report names it.

/// Sets how many threads the kernels use.
pub(crate) fn set_threads(threads: usize) {
    tensor::set_threads(threads);
}

/// The processor's name, where the system tells it.
pub(crate) fn processor() -> String {
    let told = std::fs::read_to_string("/proc/cpuinfo")
        .ok()
        .and_then(|text| {
            let line = text.lines().find(|line| line.starts_with("model name"))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        });
    told.unwrap_or_else(|| std::env::consts::ARCH.to_owned())
}

/// Hardware threads.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Total memory in bytes, where the system tells it.
pub(crate) fn memory_bytes() -> Option<u64> {
    memory_line("MemTotal:")
}

/// Memory in bytes that can be had without pushing others out, where the system tells it.
pub(crate) fn free_bytes() -> Option<u64> {
    memory_line("MemAvailable:")
}

fn memory_line(name: &str) -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}

/// One line: processor, threads, memory, system.
pub(crate) fn summary() -> String {
    let memory = memory_bytes()
        .map(|bytes| format!(", {}", crate::quantity::bytes(bytes as f64)))
        .unwrap_or_default();
    format!(
        "{}, {} threads{memory}, {} {}",
        processor(),
        cores(),
        std::env::consts::OS,
        std::env::consts::ARCH
    )
}
