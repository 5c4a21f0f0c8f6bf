//! The command reference in `docs/cli/`, generated from the same definitions as `--help`.

use clap::CommandFactory;

/// Returns file name and Markdown text for every subcommand, and for the overview.
pub fn pages() -> Vec<(String, String)> {
    let mut root = super::Cli::command().term_width(100);
    root.build();
    let mut overview = String::from(
        "# Commands\n\nGenerated from `--help`; the tests fail when it is out of date.\n\n| command | does |\n|---|---|\n",
    );
    let mut pages = Vec::new();
    let mut subcommands: Vec<clap::Command> =
        root.get_subcommands().filter(|command| command.get_name() != "help").cloned().collect();
    for command in &mut subcommands {
        let name = command.get_name().to_owned();
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        overview.push_str(&format!("| [`bundle {name}`]({name}.md) | {about} |\n"));
        let help = command.render_long_help().to_string();
        let help: String = help.lines().map(|line| line.trim_end().to_owned() + "\n").collect();
        pages.push((format!("{name}.md"), format!("# bundle {name}\n\n```text\n{}```\n", help)));
    }
    pages.insert(0, ("README.md".to_owned(), overview));
    pages
}
