//! Signing in: a password hash and little else.

use std::time::{Duration, Instant};

use argon2::{Algorithm, Argon2, Params, Version};
use rapport_identity_api::v1::session_service_client::SessionServiceClient;

use crate::load::closed;
use crate::report::{Goal, Pairs, median, short};
use crate::stage::Stage;
use crate::world::{CALLER, PASSWORD, World, sign_in_request};
use crate::{Outcome, meter, trouble};

/// As identity hashes: memory in KiB, passes, lanes.
const COST: (u32, u32, u32) = (19_456, 2, 1);

/// Sign-ins against the same hashes on as many threads as there are cores.
pub(crate) async fn sign_in(stage: &Stage, _: &World) -> Outcome<()> {
    let cores = std::thread::available_parallelism()?.get();
    let callers = u64::try_from(cores * 2)?;
    let client = SessionServiceClient::new(stage.identity.channel().await?);
    let call = move |_| {
        let mut client = client.clone();
        async move { client.sign_in(sign_in_request(CALLER)).await.map(drop) }
    };
    let (mut pairs, mut cpus, mut last) = (Pairs::default(), Vec::new(), None);
    for _ in 0..stage.plan.pairs {
        let before = meter::cpu(stage.identity.pid()?)?;
        let run = closed(0..callers, stage.plan.length, call.clone()).await?;
        cpus.push((meter::cpu(stage.identity.pid()?)? - before) / run.calls());
        let length = stage.plan.length;
        let hashed = tokio::task::spawn_blocking(move || hashes(cores, length)).await??;
        pairs.push(run.rate(), hashed);
        last = Some(run);
    }
    let run = last.ok_or_else(|| trouble("nothing was measured"))?;
    let figure = pairs.figure("sign_in", Goal::AtLeast(0.9)).with("unit", "1/s").with("c", callers).with_run(&run);
    figure.with("cpu_us", short(median(cpus))).tell();
    Ok(())
}

/// Hashes of a second on `threads` threads.
fn hashes(threads: usize, length: Duration) -> Outcome<f64> {
    let begun = Instant::now();
    let workers: Vec<_> = (0..threads).map(|_| std::thread::spawn(move || hash_for(begun, length))).collect();
    let mut hashes = 0;
    for worker in workers {
        hashes += worker.join().map_err(|_| trouble("a hashing thread panicked"))??;
    }
    Ok(meter::count(hashes) / begun.elapsed().as_secs_f64())
}

fn hash_for(begun: Instant, length: Duration) -> Outcome<u64> {
    let (memory, passes, lanes) = COST;
    let refused = |error: argon2::Error| trouble(error.to_string());
    let params = Params::new(memory, passes, lanes, Some(32)).map_err(|error| trouble(error.to_string()))?;
    let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let (mut hashes, mut hash) = (0, [0; 32]);
    while begun.elapsed() < length {
        argon.hash_password_into(PASSWORD.as_bytes(), b"salt of 16 bytes", &mut hash).map_err(refused)?;
        hashes += 1;
    }
    Ok(hashes)
}
