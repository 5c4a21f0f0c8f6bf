//! How busy the machine is.

use std::{
    fs,
    time::{Duration, Instant},
};

/// Below this share of idle processor time the machine is busy: what it still idles then is waiting, not room.
const IDLE_PERCENT: u64 = 15;

/// The shortest time over which idleness is measured; Linux counts in hundredths of a second.
const WINDOW: Duration = Duration::from_millis(100);

/// Watches how much of the processors' time nobody uses.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    since: Instant,
    /// Idle and total processor time at `since`, in ticks.
    then: Option<(u64, u64)>,
    busy: bool,
}

impl Load {
    /// Starts watching; until the first measurement the machine counts as busy.
    pub fn new() -> Self {
        Load { since: Instant::now(), then: ticks(), busy: true }
    }

    /// Tells whether the machine was busy lately. Where the system does not tell, it never is.
    pub fn is_busy(&mut self) -> bool {
        let Some((idle, total)) = self.then else { return false };
        if self.since.elapsed() >= WINDOW {
            let now = ticks();
            if let Some((idle_now, total_now)) = now {
                let (idle, total) = (idle_now.saturating_sub(idle), total_now.saturating_sub(total));
                self.busy = idle * 100 < total * IDLE_PERCENT;
            }
            *self = Load { since: Instant::now(), then: now, busy: self.busy };
        }
        self.busy
    }
}

impl Default for Load {
    fn default() -> Self {
        Self::new()
    }
}

/// The first line of `/proc/stat`: user, nice, system, idle, iowait and others, summed over all processors (proc(5)).
fn ticks() -> Option<(u64, u64)> {
    use std::io::Read;
    // The first line alone: the rest grows with the number of processors and interrupts.
    let mut start = [0; 256];
    let n = fs::File::open("/proc/stat").ok()?.read(&mut start).ok()?;
    let line = str::from_utf8(&start[..n]).ok()?.lines().next()?;
    let numbers: Vec<u64> =
        line.strip_prefix("cpu ")?.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let idle = numbers.get(3)? + numbers.get(4)?;
    Some((idle, numbers.iter().take(8).sum()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn processor_time_passes() {
        let (idle, total) = ticks().unwrap();
        assert!(idle <= total);
        let mut load = Load::new();
        assert!(load.is_busy(), "nothing was measured yet");
        std::thread::sleep(WINDOW);
        load.is_busy();
        assert!(load.then.unwrap().1 > total);
    }
}
