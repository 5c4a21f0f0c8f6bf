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
        let mut page = format!("# bundle {name}\n\n```text\n{}```\n", trimmed(&help));
        for inner in command.get_subcommands_mut().filter(|inner| inner.get_name() != "help") {
            let help = inner.render_long_help().to_string();
            page.push_str(&format!("\n## bundle {name} {}\n\n```text\n{}```\n", inner.get_name(), trimmed(&help)));
        }
        pages.push((format!("{name}.md"), page));
    }
    pages.insert(0, ("README.md".to_owned(), overview));
    pages
}

/// Ends every line of a help text where its last letter stands.
fn trimmed(help: &str) -> String {
    help.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}
