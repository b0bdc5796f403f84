//! What this process and its threads have used of the machine. Owns nothing: it asks the system.

use std::{fs, time::Duration};

use rustix::time::{ClockId, clock_gettime};

/// Processor time of all threads of the process so far, those that have ended included.
pub fn process_cpu() -> Duration {
    cpu(ClockId::ProcessCPUTime)
}

/// Processor time of the calling thread so far.
pub fn thread_cpu() -> Duration {
    cpu(ClockId::ThreadCPUTime)
}

fn cpu(clock: ClockId) -> Duration {
    // These clocks begin at zero and never go back.
    Duration::try_from(clock_gettime(clock)).unwrap_or_default()
}

/// The most bytes of memory that this process has had resident; `None` where the system does not tell (it is Linux that
/// does).
pub fn peak_resident_bytes() -> Option<u64> {
    high_water(&fs::read_to_string("/proc/self/status").ok()?)
}

/// `VmHWM` of proc(5), which is in KiB.
fn high_water(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn work_takes_processor_time_of_thread_and_process() {
        let (process, thread) = (process_cpu(), thread_cpu());
        let mut sum = 0_u64;
        while thread_cpu() == thread || process_cpu() == process {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert!(thread_cpu() > thread && process_cpu() > process);
    }

    #[test]
    fn the_peak_is_read_in_bytes() {
        let status = "Name:\tlapis\nVmPeak:\t  99999 kB\nVmHWM:\t   12345 kB\nVmRSS:\t   12000 kB\n";
        assert_eq!(high_water(status), Some(12_345 * 1024));
        assert_eq!(high_water("Name:\tlapis\n"), None);
        assert_eq!(high_water("VmHWM:\tmuch\n"), None);
        assert_eq!(high_water("VmHWM:\t18446744073709551615 kB\n"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_process_has_a_peak() {
        assert!(peak_resident_bytes().unwrap() > 0);
    }
}
