// What the kinds of a node are called.

export const NAMES = {
  task: "task",
  turn: "model",
  call: "tool",
  approval: "approval",
  result: "answer",
  event: "event",
  join: "join",
  letter: "dead letter",
  attempt: "attempt",
  life: "life",
  late: "late fact",
  decision: "decision",
  model: "model",
  memory: "memory"
};
