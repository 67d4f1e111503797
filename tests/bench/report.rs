//! Figures and the lines that tell them.

use crate::load::{Measured, Run};
use crate::meter;
use crate::pgbench::Replay;

/// What a figure has to reach.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Goal {
    AtLeast(f64),
    AtMost(f64),
}

/// One figure. The goal is about `ratio`, where there is one, else about `ours`.
#[derive(Debug)]
pub(crate) struct Figure {
    pub(crate) name: &'static str,
    pub(crate) ours: f64,
    pub(crate) limit: Option<f64>,
    pub(crate) ratio: Option<f64>,
    pub(crate) goal: Goal,
    pub(crate) context: Vec<(&'static str, String)>,
}

impl Figure {
    /// A figure without anything to compare it with.
    pub(crate) fn alone(name: &'static str, ours: f64, goal: Goal) -> Self {
        Self { name, ours, limit: None, ratio: None, goal, context: Vec::new() }
    }

    /// Adds something to know.
    #[must_use]
    pub(crate) fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.context.push((name, value.to_string()));
        self
    }

    /// Adds how the calls went.
    #[must_use]
    pub(crate) fn with_run(self, run: &Run) -> Self {
        self.with("p50_us", run.quantile(0.5)).with("p99_us", run.quantile(0.99)).with("errors", run.errors)
    }

    fn is_met(&self) -> bool {
        let reached = self.ratio.unwrap_or(self.ours);
        match self.goal {
            Goal::AtLeast(least) => reached >= least,
            Goal::AtMost(most) => reached <= most,
        }
    }

    /// Prints the line of the figure.
    pub(crate) fn tell(&self) {
        let optional = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), short);
        let goal = match self.goal {
            Goal::AtLeast(least) => format!(">={least}"),
            Goal::AtMost(most) => format!("<={most}"),
        };
        let verdict = if self.is_met() { "met" } else { "missed" };
        let (ours, limit, ratio) = (short(self.ours), optional(self.limit), optional(self.ratio));
        let context: String = self.context.iter().map(|(name, value)| format!(" {name}={value}")).collect();
        say(&format!(
            "RESULT name={} ours={ours} limit={limit} ratio={ratio} goal={goal} verdict={verdict}{context} load1={}",
            self.name,
            meter::load()
        ));
    }
}

/// Both sides of a ratio, taken in turns.
#[derive(Debug, Default)]
pub(crate) struct Pairs {
    pairs: Vec<(f64, f64)>,
}

impl Pairs {
    pub(crate) fn push(&mut self, ours: f64, limit: f64) {
        self.pairs.push((ours, limit));
    }

    /// Ours, the median.
    pub(crate) fn ours(&self) -> f64 {
        median(self.pairs.iter().map(|pair| pair.0).collect())
    }

    /// The limit, the median.
    pub(crate) fn limit(&self) -> f64 {
        median(self.pairs.iter().map(|pair| pair.1).collect())
    }

    /// Ours ÷ limit, the median.
    pub(crate) fn ratio(&self) -> f64 {
        median(self.pairs.iter().map(|(ours, limit)| ours / limit).collect())
    }

    /// The figure of ours ÷ limit: medians, and how far the limit moved between the pairs.
    pub(crate) fn figure(&self, name: &'static str, goal: Goal) -> Figure {
        let of = |part: fn(&(f64, f64)) -> f64| self.pairs.iter().map(part).collect::<Vec<f64>>();
        let limits = of(|pair| pair.1);
        let limit = median(limits.clone());
        let (least, most) = limits.iter().fold((f64::MAX, 0.0_f64), |(least, most), limit| (least.min(*limit), most.max(*limit)));
        let figure = Figure { name, ours: self.ours(), limit: Some(limit), ratio: Some(self.ratio()), goal, context: Vec::new() };
        figure.with("pairs", self.pairs.len()).with("limit_moved", short((most - least) / limit))
    }
}

/// CPU microseconds that a call cost service and client, and its statement the database.
#[derive(Debug, Default)]
pub(crate) struct Costs {
    service: Vec<f64>,
    client: Vec<f64>,
    database: Vec<f64>,
}

impl Costs {
    pub(crate) fn push(&mut self, ours: &Measured, limit: &Replay) {
        self.service.push(ours.service);
        self.client.push(ours.client);
        self.database.push(limit.cpu);
    }

    /// The figure with the medians.
    pub(crate) fn tell(self, figure: Figure) -> Figure {
        let figure = figure.with("cpu_us", short(median(self.service))).with("client_cpu_us", short(median(self.client)));
        figure.with("database_cpu_us", short(median(self.database)))
    }
}

/// The middle value; 0 of none.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// Three digits that matter, or all before the point.
pub(crate) fn short(value: f64) -> String {
    if value >= 100.0 {
        format!("{value:.0}")
    } else if value >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}

#[expect(clippy::print_stdout, reason = "figures are what the program is for")]
pub(crate) fn say(text: &str) {
    println!("{text}");
}

/// Tells whoever waits what is going on.
#[expect(clippy::print_stderr, reason = "whoever waits wants to know for what")]
pub(crate) fn note(text: &str) {
    eprintln!("{text}");
}
