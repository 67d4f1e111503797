//! Valid requests about dead letters, which every service has.

use rapport_proto::common::v1 as pb;

use super::scene::{Scene, Valid};

pub(super) async fn list(scene: &Scene) -> Valid {
    for _ in 0..3 {
        scene.dead_letter().await;
    }
    Valid::read(&pb::ListDeadLettersRequest { parent: scene.service().to_owned(), ..pb::ListDeadLettersRequest::default() })
}

pub(super) async fn replay(scene: &Scene) -> Valid {
    let names = vec![scene.dead_letter().await, scene.dead_letter().await];
    Valid::change(&pb::ReplayDeadLettersRequest { parent: scene.service().to_owned(), names }, 2)
}

pub(super) async fn discard(scene: &Scene) -> Valid {
    let names = vec![scene.dead_letter().await, scene.dead_letter().await];
    let reason = "Sent by mistake.".to_owned();
    Valid::change(&pb::DiscardDeadLettersRequest { parent: scene.service().to_owned(), names, reason }, 2)
}
