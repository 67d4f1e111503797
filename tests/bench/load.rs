//! Load: a closed loop of callers who each wait for the answer, and an open one that keeps to a timetable.
//!
//! Guarantees: an open loop measures from the moment a call was due, so that a server that falls behind does
//! not hide it; a run with more than one refusal in a thousand calls is no figure.

use std::ops::Range;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tonic::Status;

use crate::{Outcome, meter, trouble};

const WARM: Duration = Duration::from_millis(500);

/// Times of calls.
#[derive(Debug, Default)]
pub(crate) struct Run {
    /// Microseconds of each call that succeeded, shortest first.
    latencies: Vec<u64>,
    pub(crate) errors: usize,
    length: Duration,
}

impl Run {
    fn of(mut latencies: Vec<u64>, refusals: &[Status], length: Duration) -> Outcome<Self> {
        if let (true, Some(refusal)) = (refusals.len() * 1000 > latencies.len(), refusals.first()) {
            return Err(trouble(format!("{} of {} calls failed; the first: {refusal:?}", refusals.len(), refusals.len() + latencies.len())));
        }
        if latencies.is_empty() {
            return Err(trouble("no call was answered in time"));
        }
        latencies.sort_unstable();
        Ok(Self { latencies, errors: refusals.len(), length })
    }

    /// Calls that succeeded.
    pub(crate) fn calls(&self) -> f64 {
        meter::count(self.latencies.len().try_into().unwrap_or_default())
    }

    /// Calls of a second.
    pub(crate) fn rate(&self) -> f64 {
        self.calls() / self.length.as_secs_f64()
    }

    /// Microseconds below which this share of the calls stayed.
    pub(crate) fn quantile(&self, share: f64) -> u64 {
        quantile(&self.latencies, share)
    }
}

/// The value below which `share` of the sorted `values` lie.
pub(crate) fn quantile(values: &[u64], share: f64) -> u64 {
    // In thousandths, because a position in a list is no fraction.
    let mut thousandths = 0;
    while meter::count(thousandths) < share * 1000.0 {
        thousandths += 1;
    }
    let position = values.len() * usize::try_from(thousandths).unwrap_or_default() / 1000;
    values.get(position).or(values.last()).copied().unwrap_or_default()
}

/// `callers` callers who call again as soon as they are answered, each with other random numbers.
pub(crate) async fn closed<C, A>(callers: Range<u64>, length: Duration, call: C) -> Outcome<Run>
where
    C: Fn(u64) -> A + Clone + Send + 'static,
    A: Future<Output = Result<(), Status>> + Send,
{
    let begun = Instant::now();
    let mut set = JoinSet::new();
    for caller in callers {
        let call = call.clone();
        set.spawn(async move {
            let (mut random, mut latencies, mut refusals) = (Random::of(caller), Vec::new(), Vec::new());
            while begun.elapsed() < length {
                let sent = Instant::now();
                match call(random.next()).await {
                    Ok(()) => latencies.push(micros(sent.elapsed())),
                    Err(refusal) => refusals.push(refusal),
                }
            }
            (latencies, refusals)
        });
    }
    let (mut latencies, mut refusals) = (Vec::new(), Vec::new());
    while let Some(done) = set.join_next().await {
        let (own, refused) = done?;
        latencies.extend(own);
        refusals.extend(refused);
    }
    Run::of(latencies, &refusals, begun.elapsed())
}

/// Calls of a closed loop, and what each cost in CPU microseconds.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) run: Run,
    /// In the process that was called.
    pub(crate) service: f64,
    /// In this program.
    pub(crate) client: f64,
}

/// A closed loop that calls `process`, after half a second of the same that does not count.
pub(crate) async fn measured<C, A>(process: u32, callers: u64, length: Duration, call: C) -> Outcome<Measured>
where
    C: Fn(u64) -> A + Clone + Send + 'static,
    A: Future<Output = Result<(), Status>> + Send,
{
    // By others: what was created once is not created again.
    closed(callers..2 * callers, WARM, call.clone()).await?;
    let (service, client) = (meter::cpu(process)?, meter::own_cpu()?);
    let run = closed(0..callers, length, call).await?;
    let (service, client) = (meter::cpu(process)? - service, meter::own_cpu()? - client);
    Ok(Measured { service: service / run.calls(), client: client / run.calls(), run })
}

/// `rate` calls a second, sent when they are due whatever became of those before.
pub(crate) async fn open<C, A>(rate: f64, length: Duration, call: C) -> Outcome<Run>
where
    C: Fn(u64) -> A + Send + 'static,
    A: Future<Output = Result<(), Status>> + Send + 'static,
{
    let runtime = tokio::runtime::Handle::current();
    // The runtime's timer knows milliseconds only, hence a thread.
    let pacing = tokio::task::spawn_blocking(move || {
        let (mut random, mut set) = (Random::of(1), JoinSet::new());
        let (begun, step) = (Instant::now(), Duration::from_secs_f64(1.0 / rate));
        let mut due = begun;
        while due < begun + length {
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            let (answer, was_due) = (call(random.next()), due);
            set.spawn_on(async move { (answer.await, was_due.elapsed()) }, &runtime);
            due += step;
        }
        set
    });
    let (mut latencies, mut refusals) = (Vec::new(), Vec::new());
    let mut set = pacing.await?;
    while let Some(done) = set.join_next().await {
        match done? {
            (Ok(()), latency) => latencies.push(micros(latency)),
            (Err(refusal), _) => refusals.push(refusal),
        }
    }
    Run::of(latencies, &refusals, length)
}

/// A number as letters: names that few share, as in life.
pub(crate) fn letters(number: u64) -> String {
    let mut rest = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 36;
    let mut word = String::new();
    for _ in 0..6 {
        word.push(char::from(b'a' + u8::try_from(rest % 26).unwrap_or_default()));
        rest /= 26;
    }
    word
}

/// Whole microseconds.
pub(crate) fn micros(time: Duration) -> u64 {
    time.as_micros().try_into().unwrap_or(u64::MAX)
}

/// Random numbers, the same in every run.
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn of(seed: u64) -> Self {
        Self((seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}
