//! Shows events while a command works: a bar on a terminal, plain lines in CI, JSON lines for programs. All to stderr.
//!
//! # Invariants
//! - Totals, rate and time left are shown as soon as a phase is planned; plain lines come at most every few seconds.
//! - Nothing here changes what a command does; a slow terminal only misses updates.

use std::{
    collections::HashMap,
    io::{self, IsTerminal, Write},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::{report, ui};
use crate::event::{Event, Observer, Phase};

/// Says how progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Style {
    /// A bar on a terminal, plain lines elsewhere.
    #[default]
    Auto,
    /// Plain lines.
    Plain,
    /// One JSON object per event and line.
    Json,
    /// Nothing.
    None,
}

/// How often plain lines tell where a phase stands.
const PLAIN_INTERVAL: Duration = Duration::from_secs(5);

/// Makes the observer for a style.
pub fn observer(style: Style) -> Arc<dyn Observer> {
    match style {
        Style::None => Arc::new(crate::event::Silent),
        Style::Json => Arc::new(JsonLines),
        Style::Auto if io::stderr().is_terminal() && std::env::var_os("CI").is_none() => Arc::new(Bars::default()),
        Style::Auto | Style::Plain => Arc::new(Plain::default()),
    }
}

fn title(phase: Phase) -> &'static str {
    match phase {
        Phase::Charts => "charts",
        Phase::Resolve => "resolve",
        Phase::Plan => "plan",
        Phase::Pull => "pull",
        Phase::Verify => "verify",
        Phase::Push => "push",
    }
}

fn noun(phase: Phase) -> &'static str {
    match phase {
        Phase::Charts => "chart",
        Phase::Resolve | Phase::Plan => "image",
        Phase::Pull | Phase::Push => "blob",
        Phase::Verify => "entrie",
    }
}

fn done(phase: Phase) -> &'static str {
    if phase == Phase::Verify { "checked" } else { "moved" }
}

fn counted(phase: Phase, items: u64) -> String {
    if phase == Phase::Verify && items == 1 { "1 entry".to_owned() } else { ui::count(items as usize, noun(phase)) }
}

struct JsonLines;

impl Observer for JsonLines {
    fn on(&self, event: &Event) {
        if let Ok(line) = serde_json::to_string(event) {
            let _ = writeln!(io::stderr().lock(), "{line}");
        }
    }
}

/// Counts one phase.
struct Tally {
    items: u64,
    bytes: u64,
    done_items: u64,
    moved: u64,
    kept: u64,
    started: Instant,
    told: Instant,
}

impl Tally {
    fn new(items: u64, bytes: u64) -> Self {
        let now = Instant::now();
        Tally { items, bytes, done_items: 0, moved: 0, kept: 0, started: now, told: now }
    }

    fn rate(&self) -> u64 {
        let seconds = self.started.elapsed().as_secs_f64();
        if seconds > 0.0 { (self.moved as f64 / seconds) as u64 } else { 0 }
    }

    fn left(&self) -> Option<Duration> {
        let rate = self.rate();
        (rate > 0).then(|| Duration::from_secs(self.bytes.saturating_sub(self.moved + self.kept) / rate))
    }

    fn finished(&self) -> bool {
        self.done_items >= self.items && self.moved + self.kept >= self.bytes
    }
}

/// Plain lines for logs.
#[derive(Default)]
struct Plain {
    phases: Mutex<HashMap<Phase, Tally>>,
}

impl Observer for Plain {
    fn on(&self, event: &Event) {
        let mut phases = self.phases.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let tell = |line: String| {
            let _ = writeln!(io::stderr().lock(), "{line}");
        };
        match event {
            Event::Planned { phase, items, bytes } => {
                phases.insert(*phase, Tally::new(*items, *bytes));
                let volume = if *bytes > 0 { format!(", {}", ui::size(*bytes)) } else { String::new() };
                tell(format!("{}: {}{volume}", title(*phase), counted(*phase, *items)));
            }
            Event::Moved { phase, bytes } | Event::Kept { phase, bytes } => {
                let Some(tally) = phases.get_mut(phase) else { return };
                match event {
                    Event::Kept { .. } => tally.kept += bytes,
                    _ => tally.moved += bytes,
                }
                if tally.told.elapsed() >= PLAIN_INTERVAL {
                    tally.told = Instant::now();
                    let percent = (tally.moved + tally.kept) * 100 / tally.bytes.max(1);
                    let left = tally.left().map(|left| format!(", {} left", ui::duration(left))).unwrap_or_default();
                    tell(format!(
                        "{}: {percent} % of {}, {}/s{left}",
                        title(*phase),
                        ui::size(tally.bytes),
                        ui::size(tally.rate())
                    ));
                }
            }
            Event::Done { phase, .. } => {
                let Some(tally) = phases.get_mut(phase) else { return };
                tally.done_items += 1;
                if tally.finished() {
                    let kept = if tally.kept > 0 { format!(", {} kept", ui::size(tally.kept)) } else { String::new() };
                    let moved = if tally.bytes > 0 {
                        format!(", {} {}{kept}", ui::size(tally.moved), done(*phase))
                    } else {
                        String::new()
                    };
                    tell(format!(
                        "{}: done, {}{moved} in {}",
                        title(*phase),
                        counted(*phase, tally.done_items),
                        ui::duration(tally.started.elapsed())
                    ));
                    phases.remove(phase);
                }
            }
            other => {
                if let Some(line) = note(other) {
                    tell(line);
                }
            }
        }
    }
}

/// A bar with totals, rate and time left.
#[derive(Default)]
struct Bars {
    bars: Mutex<HashMap<Phase, (ProgressBar, Tally)>>,
}

fn bar(phase: Phase, items: u64, bytes: u64) -> ProgressBar {
    let by_bytes = bytes > 0;
    let bar = ProgressBar::with_draw_target(
        Some(if by_bytes { bytes } else { items }),
        ProgressDrawTarget::stderr_with_hz(10),
    );
    let template = if by_bytes {
        "{prefix:>8} [{bar:28}] {done:>8}/{total} {rate:>9} {left:>12} {msg}"
    } else {
        "{prefix:>8} [{bar:28}] {pos}/{len} {wide_msg}"
    };
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.set_style(
        style
            .progress_chars("=> ")
            .with_key("done", |state: &ProgressState, w: &mut dyn std::fmt::Write| {
                let _ = w.write_str(&ui::size(state.pos()));
            })
            .with_key("total", |state: &ProgressState, w: &mut dyn std::fmt::Write| {
                let _ = w.write_str(&ui::size(state.len().unwrap_or(0)));
            })
            .with_key("rate", |state: &ProgressState, w: &mut dyn std::fmt::Write| {
                let _ = write!(w, "{}/s", ui::size(state.per_sec() as u64));
            })
            .with_key("left", |state: &ProgressState, w: &mut dyn std::fmt::Write| {
                let _ = write!(w, "{} left", ui::duration(state.eta()));
            }),
    );
    bar.set_prefix(title(phase));
    bar
}

impl Observer for Bars {
    fn on(&self, event: &Event) {
        let mut bars = self.bars.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match event {
            Event::Planned { phase, items, bytes } => {
                bars.insert(*phase, (bar(*phase, *items, *bytes), Tally::new(*items, *bytes)));
            }
            Event::Moved { phase, bytes } | Event::Kept { phase, bytes } => {
                if let Some((bar, tally)) = bars.get_mut(phase) {
                    match event {
                        Event::Kept { .. } => tally.kept += bytes,
                        _ => tally.moved += bytes,
                    }
                    bar.inc(*bytes);
                }
            }
            Event::Done { phase, item, .. } => {
                let Some((bar, tally)) = bars.get_mut(phase) else { return };
                tally.done_items += 1;
                if tally.bytes == 0 {
                    bar.set_message(ui::clean(item));
                    bar.inc(1);
                } else {
                    bar.set_message(format!("{}/{}", tally.done_items, counted(*phase, tally.items)));
                }
                if tally.finished() {
                    bar.finish();
                    bars.remove(phase);
                }
            }
            other => {
                if let Some(line) = note(other) {
                    match bars.values().next() {
                        Some((bar, _)) => bar.println(line),
                        None => {
                            let _ = writeln!(io::stderr().lock(), "{line}");
                        }
                    }
                }
            }
        }
    }
}

fn note(event: &Event) -> Option<String> {
    match event {
        Event::Retrying { what, reason, attempt, wait_ms } => Some(format!(
            "retry {attempt}: {} ({}), again in {}",
            ui::clean(what),
            ui::clean(reason),
            ui::duration(Duration::from_millis(*wait_ms))
        )),
        Event::Refetching { digest } => Some(format!("wrong bytes for {digest}: fetching once more from the start")),
        Event::Noted(diagnostic) => Some(report::diagnostic(diagnostic)),
        _ => None,
    }
}
