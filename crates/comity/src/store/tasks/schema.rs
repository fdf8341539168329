//! The tables of the queue, and the steps by which older ones become newer. Steps are only ever added.

/// Says through which steps a database has been.
pub(super) const TABLE: &str = "comity_task_schema";

/// One step for each version; the table [`TABLE`] says through which a database has been.
///
/// A `lane` is all tasks of one capability and the same requirements: whoever is able to do one of them is able to do
/// all; `made_by` is its first submitter, or nothing where that owns the queue. `content` and `result` are kept beside the tasks, whose rows change often. `start` of a line is how many bytes
/// its task's workers had said before it. `size` is that of a task's payload, and of its result when it has one. States
/// are the places in `State::ALL`. The index by lane has all that is counted, so that counting reads nothing else. The
/// index by state has a sum in it, and only lists and the count of what waits ask for it: else SQLite, which knows
/// nothing of how many tasks are in which state, would use it for sweeps.
pub(super) const STEPS: &[&str] = &[
    "CREATE TABLE comity_lane (seq {serial}, capability TEXT NOT NULL, requirements TEXT NOT NULL,
         UNIQUE (capability, requirements));
     CREATE TABLE comity_task (seq {serial}, id {blob} NOT NULL UNIQUE, lane {int} NOT NULL REFERENCES comity_lane (seq),
         kind TEXT NOT NULL, submitted_by TEXT NOT NULL, idempotency_key TEXT, digest {blob} NOT NULL,
         priority {int} NOT NULL, submitted {int} NOT NULL, size {int} NOT NULL, lease_ms {int} NOT NULL,
         attempts_max {int} NOT NULL, state {int} NOT NULL, attempts {int} NOT NULL, token {int} NOT NULL, worker TEXT,
         due {int} NOT NULL, deadline {int}, cancel_asked {int} NOT NULL, fraction {real} NOT NULL, cause TEXT,
         finished {int}, lines {int} NOT NULL, line_bytes {int} NOT NULL);
     CREATE UNIQUE INDEX comity_task_key ON comity_task (submitted_by, idempotency_key)
         WHERE idempotency_key IS NOT NULL;
     CREATE INDEX comity_task_ready ON comity_task (lane, priority DESC, seq) WHERE state = 0;
     CREATE INDEX comity_task_again ON comity_task (due) WHERE state = 0 AND attempts > 0;
     CREATE INDEX comity_task_held ON comity_task (due) WHERE state IN (1, 2);
     CREATE INDEX comity_task_ahead ON comity_task ((due - lease_ms)) WHERE state IN (1, 2);
     CREATE INDEX comity_task_deadline ON comity_task (deadline) WHERE state IN (0, 1, 2) AND deadline IS NOT NULL;
     CREATE INDEX comity_task_over ON comity_task (finished) WHERE state IN (3, 5, 6);
     CREATE INDEX comity_task_dead ON comity_task (seq) WHERE state = 4;
     CREATE INDEX comity_task_lane ON comity_task (lane, state, size);
     CREATE TABLE comity_content (task {int} PRIMARY KEY REFERENCES comity_task (seq) ON DELETE CASCADE,
         payload {blob} NOT NULL);
     CREATE TABLE comity_result (task {int} PRIMARY KEY REFERENCES comity_task (seq) ON DELETE CASCADE,
         result {blob} NOT NULL);
     CREATE TABLE comity_line (task {int} NOT NULL REFERENCES comity_task (seq) ON DELETE CASCADE, number {int} NOT NULL,
         at {int} NOT NULL, start {int} NOT NULL, text TEXT NOT NULL, PRIMARY KEY (task, number));",
    "CREATE INDEX comity_task_state ON comity_task ((state + 0), seq)",
    "UPDATE comity_task SET size = size + COALESCE((SELECT LENGTH(result) FROM comity_result
         WHERE comity_result.task = comity_task.seq), 0) WHERE state = 3",
    "ALTER TABLE comity_lane ADD COLUMN made_by TEXT",
];
