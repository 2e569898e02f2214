import { expect, it } from "vitest";
import { accepted, attempt, cancelled, completion, failure, line, node, picture, status } from "../testing/log";
import { tell } from "./tell";

it.each([
  [accepted(1), "info", "Accepted.", null],
  [attempt(1, "a", 1, "running"), "debug", "Begins.", "a"],
  [attempt(1, "a", 2, "running"), "debug", "Attempt 2 begins.", "a"],
  [attempt(1, "a", 1, "success"), "info", "Done in < 0.1 s.", "a"],
  [attempt(1, "a", 1, "skipped"), "debug", "Skipped.", "a"],
  [node(1, "a", "failed"), "error", "It broke.", "a"],
  [node(1, "a", "retrying"), "warning", "Failed. Trying again.", "a"],
  [line(1, "hello", "a"), "info", "hello", "a"],
  [picture(1), "debug", "Picture: picture.png", "a"],
  [completion(1), "info", "Completed in 3.0 s.", null],
  [failure(1), "error", "It broke.", null],
  [cancelled(1), "warning", "Cancelled: Enough.", null],
])("tells $type as a line", (event, level, message, nodeId) => {
  expect(tell(event)).toMatchObject({ seq: 1, at: 1_700_000_001_500, level, message, nodeId });
});

it.each([status(1, "running"), node(1, "a", "success"), attempt(1, "a", 1, "failed")])(
  "tells nothing twice",
  (event) => {
    expect(tell(event)).toBeNull();
  },
);
