//! What submitters and workers say of tasks: what is taken holds all bounds, and is kept so that it is read back the same.
#![no_main]

use comity_core::task::{BATCH_MAX, LINES_MAX, PAYLOAD_MAX, TaskId, meets};
use comity_core::wire::mesh::task;
use libfuzzer_sys::fuzz_target;
use uuid::Uuid;

fuzz_target!(|body: &[u8]| {
    let claim = task::parse_claim(body);
    if let Ok(claim) = &claim {
        assert!((1..=BATCH_MAX).contains(&claim.wanted) && claim.load.is_finite());
        assert_eq!(claim.offer.check(), Ok(()));
    }
    for key in [None, Some("key")] {
        for task in task::parse_submit(body, "somebody", key).unwrap_or_default() {
            assert_eq!(task.check(), Ok(()));
            assert!(task.payload.len() <= PAYLOAD_MAX && task.idempotency_key.is_some() >= key.is_some());
            let kept = task::read_requirements(&task.requirements_text());
            assert_eq!(kept.as_ref(), Ok(&task.requirements));
            let _ = task.digest();
            if let Ok(claim) = &claim {
                let _ = meets(&task.requirements, &claim.offer.properties);
            }
        }
    }
    let _ = task::parse_renew(body);
    for done in task::parse_complete(body).unwrap_or_default() {
        assert_eq!(task::check_result(&done.result), Ok(()));
    }
    let _ = task::parse_fail(body);
    if let Ok(progress) = task::parse_progress(body, TaskId(Uuid::nil())) {
        assert!(progress.lines.len() <= LINES_MAX);
    }
});
