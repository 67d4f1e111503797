//! The demo: one story about one customer on one machine, told over the public interface alone.
//!
//! Guarantees: everything it says is checked and counted, on the screen and in the report; whatever goes
//! wrong is told with what was being done and why it was refused, and the demo ends as failed. It needs
//! services that nothing was loaded into before. The same data tells the same story every time.
//!
//! Its chapters: set up ([`organisation`]), load ([`load`]), find ([`look`]), have each person once ([`once`], [`killed`]), import
//! ([`visitors`]), change ([`change`]), see what one may see ([`sight`]), look back ([`history`]), lock out ([`lock`]).

mod change;
mod clients;
mod history;
mod jobs;
mod killed;
mod load;
mod lock;
mod look;
mod once;
mod organisation;
mod report;
mod rows;
mod sight;
mod story;
mod visitors;

use std::io;
use std::path::PathBuf;

use rapport_sample::{Dataset, Size};

use clients::{Servers, Trouble};
use story::Story;

use crate::apart::Apart;

/// Where jobs and files of customers are.
const SERVICE: &str = "services/contacts";

/// Every generated story has the same customers; of this seed some are in `technolgy`.
const SEED: u64 = 6;

/// For somebody who sees the product for the first time.
const PREFACE: &str = "A made-up organisation starts to use Rapport. Its customers come in from files; its people find them, change them \
    and see those that are theirs to see; in the end somebody leaves and is locked out.\n\n\
    Two services run for it. Identity knows who works here and who may do what. Contacts keeps the customers: accounts, which are \
    mostly companies, and the people in them. Everything below is done through their public interface, as your own systems would \
    do it. Each line with a mark is a statement that was checked as it was told.";

/// Where the services are.
#[derive(Debug, Clone)]
pub(crate) struct Stack {
    /// Address of identity, such as `http://127.0.0.1:8081`.
    pub(crate) identity: String,
    /// Address of contacts.
    pub(crate) contacts: String,
    /// What opens the operator's methods.
    pub(crate) operator_credential: String,
}

/// What to tell and where to write it down.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// Folder with the customers; generated ones without it.
    pub(crate) data: Option<PathBuf>,
    /// Where the report goes.
    pub(crate) report: PathBuf,
    /// What becomes of the services after the story.
    pub(crate) after: After,
}

/// What becomes of the services after the story.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    /// They end with it.
    End,
    /// They stay until Ctrl-C.
    Stay,
    /// They run elsewhere, and know nothing of it.
    Elsewhere,
}

/// Tells the story; answers whether every statement held. `contacts` is the process of that service, if it may be killed.
///
/// # Errors
/// When the report cannot be written. Anything else that goes wrong is part of the story.
pub(crate) async fn run(stack: &Stack, options: Options, contacts: Option<&mut Apart>) -> io::Result<bool> {
    let mut story = Story::begin("Rapport: one customer's story");
    if let Err(trouble) = Box::pin(tell(stack, &options, &mut story, contacts)).await {
        story.broken(&trouble);
    }
    story.finish(&options.report)
}

async fn tell(stack: &Stack, options: &Options, story: &mut Story, contacts: Option<&mut Apart>) -> Result<(), Trouble> {
    let data = dataset(options)?;
    let prepared = rapport_sample::prepare(&data);
    let servers = Servers::connect(stack)?;
    story.chapter("What you are about to see", PREFACE);
    let mut organisation = Box::pin(organisation::set_up(story, &servers, stack)).await?;
    load::describe(story, options, &data, &prepared);
    let loaded = Box::pin(load::load(story, &servers, &mut organisation, prepared)).await?;
    Box::pin(look::look(story, &servers, &mut organisation, &loaded)).await?;
    let chosen = loaded.choose().ok_or_else(|| Trouble::new("choosing the person of the story", "no person of these files could be loaded"))?;
    Box::pin(once::find(story, &servers, &mut organisation, &loaded, &chosen, contacts)).await?;
    Box::pin(visitors::come_in(story, &servers, &mut organisation, &loaded)).await?;
    Box::pin(change::change(story, &servers, &mut organisation, &chosen)).await?;
    Box::pin(sight::sight(story, &servers, stack, &mut organisation, &loaded, &chosen)).await?;
    Box::pin(history::look_back(story, &servers, &mut organisation, &chosen)).await?;
    Box::pin(lock::lock_out(story, &servers, &mut organisation, &chosen)).await?;
    lock::leave(story, stack, options.after, &organisation, &chosen);
    Ok(())
}

fn dataset(options: &Options) -> Result<Dataset, Trouble> {
    match &options.data {
        Some(folder) => rapport_sample::read(folder).map_err(|error| Trouble::new("reading the customers", error.to_string())),
        None => Ok(rapport_sample::generate(SEED, Size::DEMO)),
    }
}
