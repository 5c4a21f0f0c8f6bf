//! The command line: one file per subcommand, thin over the verbs.
//!
//! | file | owns |
//! |---|---|
//! | `<subcommand>.rs` | its flags, its output, its help |
//! | `ui.rs` | stdout: tables, JSON, sizes for people |
//! | `progress.rs` | stderr while working |
//! | `report.rs` | errors as text, hints, exit codes |
//! | `env.rs` | environment variables, clock, passphrases |
//!
//! # Failure
//! Every command ends with an exit code of `docs/architecture.md`; Ctrl-C ends with 130 and leaves a resumable state.

mod args;
mod completions;
mod create;
mod demo;
mod diff;
mod env;
mod export;
mod init;
mod input;
mod inspect;
mod issuer;
mod keygen;
mod load;
mod opened;
mod preflight;
mod progress;
pub mod reference;
mod report;
mod resolve;
mod rewrite;
mod schema;
mod serve;
mod template;
mod ui;
mod verify;
mod why;

use std::{process::ExitCode, sync::Arc};

use clap::{Parser, Subcommand};

use crate::{
    error::{Classify, Kind},
    event::Observer,
};

/// Air-gapped deployment bundler for Kubernetes: everything a deployment needs, in one signed archive.
#[derive(Debug, Parser)]
#[command(name = "bundle", version, max_term_width = 100, arg_required_else_help = true, propagate_version = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    /// How progress is shown on stderr.
    #[arg(long, global = true, value_enum, default_value_t, value_name = "STYLE", help_heading = "Global options")]
    progress: progress::Style,
    /// Show only errors.
    #[arg(long, short, global = true, help_heading = "Global options")]
    quiet: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    Init(init::Args),
    Resolve(resolve::Args),
    Create(create::Args),
    Verify(verify::Args),
    Inspect(inspect::Args),
    Why(why::Args),
    Diff(diff::Args),
    Load(load::Args),
    Preflight(preflight::Args),
    Serve(serve::Args),
    Rewrite(rewrite::Args),
    Export(export::Args),
    Issuer(issuer::Args),
    Template(template::Args),
    Keygen(keygen::Args),
    Demo(demo::Args),
    Schema(schema::Args),
    Completions(completions::Args),
}

/// What every command works with.
pub(crate) struct Context {
    observer: Arc<dyn Observer>,
}

/// Any error of a command; knows its kind.
pub(crate) type Failure = Box<dyn Classify>;

impl<E: Classify> From<E> for Failure {
    fn from(error: E) -> Self {
        Box::new(error)
    }
}

/// Writing to stdout failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot write to standard output: {0}")]
pub(crate) struct OutputError(#[from] std::io::Error);

impl Classify for OutputError {
    fn kind(&self) -> Kind {
        Kind::of_io(&self.0)
    }
}

/// The exit code of a process that Ctrl-C ended (128 + SIGINT), as shells expect it.
const INTERRUPTED: u8 = 130;

/// Parses the command line, runs the command, and returns the exit code.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let style = if cli.quiet { progress::Style::None } else { cli.progress };
    let context = Context { observer: progress::observer(style) };
    let as_json = cli.command.wants_json() || style == progress::Style::Json;
    let told = |result: Result<(), Failure>| match result {
        Ok(()) => 0,
        Err(error) => report::failure(error.as_ref(), as_json),
    };
    let command = match cli.command {
        // Nothing is fetched, and starting a runtime with its threads takes longer than rendering most charts.
        Command::Template(args) if args.is_local() => return ExitCode::from(told(args.run_here(&context))),
        command => command,
    };
    crate::net::install_crypto();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return ExitCode::from(report::failure(&OutputError(error), false)),
    };
    let serves = matches!(command, Command::Serve(_));
    let code = runtime.block_on(async {
        // A registry stops by itself, when the requests under way are answered.
        if serves {
            return told(run(command, &context).await);
        }
        tokio::select! {
            result = run(command, &context) => told(result),
            _ = tokio::signal::ctrl_c() => INTERRUPTED,
        }
    });
    // Blocking reads that nobody waits for any more must not hold the process.
    runtime.shutdown_background();
    ExitCode::from(code)
}

async fn run(command: Command, context: &Context) -> Result<(), Failure> {
    match command {
        Command::Init(args) => args.run(context).await,
        Command::Resolve(args) => args.run(context).await,
        Command::Create(args) => args.run(context).await,
        Command::Verify(args) => args.run(context).await,
        Command::Inspect(args) => args.run(context).await,
        Command::Why(args) => args.run(context).await,
        Command::Diff(args) => args.run(context).await,
        Command::Load(args) => args.run(context).await,
        Command::Serve(args) => args.run(context).await,
        Command::Rewrite(args) => args.run(context),
        Command::Export(args) => args.run(context).await,
        Command::Template(args) => args.run(context).await,
        Command::Preflight(args) => args.run(context).await,
        Command::Issuer(args) => args.run(context).await,
        Command::Keygen(args) => args.run(),
        Command::Demo(args) => args.run(context).await,
        Command::Schema(args) => args.run(),
        Command::Completions(args) => args.run(),
    }
}

impl Command {
    fn wants_json(&self) -> bool {
        let format = match self {
            Command::Init(args) => args.output.format,
            Command::Resolve(args) => args.output.format,
            Command::Create(args) => args.format(),
            Command::Verify(args) => args.output.format,
            Command::Inspect(args) => args.format(),
            Command::Why(args) => args.output.format,
            Command::Diff(args) => args.format(),
            Command::Load(args) => args.output.format,
            Command::Preflight(args) => args.output.format,
            Command::Serve(args) => args.output.format,
            Command::Export(args) => args.format(),
            Command::Issuer(args) => args.format(),
            Command::Keygen(args) => args.output.format,
            Command::Demo(_)
            | Command::Template(_)
            | Command::Rewrite(_)
            | Command::Schema(_)
            | Command::Completions(_) => ui::Format::Table,
        };
        format == ui::Format::Json
    }
}
