//! `txcat recategorize`: stored transactions categorized anew, with a look before and a way back.

mod folders;
mod moves;
mod preview;
mod show;
mod taxonomy;

use std::{io::IsTerminal as _, time::Instant};

use anyhow::bail;
use indicatif::{ProgressBar, ProgressStyle};

use super::{Settings, service::with_store};

/// Stored transactions categorized anew: preview, apply, undo.
///
/// `preview` asks the stage about every row of a scope and keeps what would change; nothing that apps see changes. `show`
/// tells what that comes to, row by row if wanted. `apply` brings it into force in small steps, `undo` puts everything
/// back as it was. What a person said (a correction, an imported label, an account rule) never changes, also where it is
/// said between these steps: such rows are skipped and shown.
///
/// A command that was killed is given again: `resume` for a preview, the same command for apply and undo. Rows that could
/// not be answered stay as they are; `resume` tries them again.
///
///   txcat recategorize preview --below 0.8 --reason "adapter of March"
///   txcat recategorize show 1 --changes 20
///   txcat recategorize apply 1
///   txcat recategorize undo 1
///
/// Rows that are in no database are read from folders of Parquet files, here or on S3, and answers go to another folder
/// (a build with the feature `cluster`). A cluster carries it out where a scheduler is named.
///
///   txcat recategorize --from 's3://rows/2026/*.parquet' --to s3://answers/2026
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment, arg_required_else_help = true)]
#[expect(clippy::doc_markdown, reason = "--help prints it as it is")]
pub struct Options {
    /// What to do with stored transactions.
    #[command(subcommand)]
    pub action: Option<Action>,
    /// Which folders, where no stored transactions are meant.
    #[command(flatten)]
    pub folders: folders::Folders,
}

/// What to do.
#[derive(Debug, clap::Subcommand)]
pub enum Action {
    /// Find out what would change.
    Preview(Box<preview::Preview>),
    /// Show a run: what would change or has changed, in numbers and row by row.
    Show(show::Show),
    /// List runs, newest first.
    List(show::List),
    /// Go on with a preview that stopped, and try rows again that failed.
    Resume(Box<preview::Resume>),
    /// Bring a previewed run into force.
    Apply(moves::Apply),
    /// Put back what a run changed.
    Undo(moves::Undo),
    /// Give up a run that was not applied.
    Cancel(moves::Cancel),
    /// Lead everything to another taxonomy.
    Taxonomy(taxonomy::Taxonomy),
}

/// Runs `txcat recategorize`.
///
/// # Errors
/// When the run can't be taken there, or the stage or the database can't be had.
pub async fn run(options: Options, settings: &Settings) -> anyhow::Result<()> {
    let action = match (options.action, options.folders.places()) {
        (None, Some((from, to))) => return options.folders.run(&from, &to, settings).await,
        (Some(action), None) => action,
        _ => bail!("say what to do: one of the commands, or --from and --to; see `txcat recategorize --help`"),
    };
    with_store(settings, async |store| match action {
        Action::Preview(preview) => preview.run(settings, store).await,
        Action::Show(show) => show.run(store).await,
        Action::List(list) => list.run(store).await,
        Action::Resume(resume) => resume.run(settings, store).await,
        Action::Apply(apply) => apply.run(store).await,
        Action::Undo(undo) => undo.run(store).await,
        Action::Cancel(cancel) => cancel.run(store).await,
        Action::Taxonomy(taxonomy) => taxonomy.run(settings, store).await,
    })
    .await
}

/// Rows on their way: a bar where somebody looks, and at the end what it took.
struct Moving {
    what: &'static str,
    bar: ProgressBar,
    begun: Instant,
}

impl Moving {
    fn begin(what: &'static str) -> Self {
        let bar = if std::io::stderr().is_terminal() { ProgressBar::new(0) } else { ProgressBar::hidden() };
        let style = "{msg} {human_pos}/{human_len} {wide_bar} {per_sec} {elapsed} {eta}";
        bar.set_style(ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_message(what);
        Self { what, bar, begun: Instant::now() }
    }

    fn to(&self) -> impl Fn(u64, u64) + Send + Sync + '_ {
        |done, all| {
            self.bar.set_length(all);
            self.bar.set_position(done);
        }
    }

    /// The end of what may have failed: where no row was come to, the error alone is told.
    fn end_of<T, E>(self, done: Result<T, E>) -> Result<T, E> {
        let rows = self.bar.position();
        if done.is_ok() || rows > 0 {
            self.end_after(rows);
        } else {
            self.bar.finish_and_clear();
        }
        done
    }

    /// The end where the bar counts something else than rows.
    fn end_after(self, rows: u64) {
        self.bar.finish_and_clear();
        eprintln!("{}: {rows} rows in {:.2} s", self.what, self.begun.elapsed().as_secs_f64());
    }
}
