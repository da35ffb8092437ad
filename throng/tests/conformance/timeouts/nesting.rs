//! Limits within limits and shields, a thousand deep.

use std::time::Duration;

use throng::{Elapsed, Runtime, check, scope, shield, sleep, timeout, yield_now};

use super::SHORT;
use crate::common::watched;
use crate::trace::{FOREVER, Log, Oops, forever};

/// A thousand within each other: the outermost limit ends all, and is the only one that says so; or the innermost, and nobody else hears of it; or one in the middle.
#[test]
fn thousand_nested_limits() {
    const DEPTH: usize = 1_000;
    type Levels = Vec<bool>;
    /// Which of them said `Elapsed`, the outermost first.
    fn nest(depth: usize, short: usize, shielded: bool, said: &mut Levels) {
        if depth == DEPTH {
            let _ = forever_or_not(short);
            return;
        }
        let limit = if depth == short { SHORT } else { FOREVER };
        let result = timeout(limit, || {
            if shielded && depth + 1 == short {
                shield(|| nest(depth + 1, short, shielded, said))
            } else {
                nest(depth + 1, short, shielded, said)
            }
        });
        said.push(result.is_err());
    }
    fn forever_or_not(short: usize) -> Result<(), throng::Cancelled> {
        if short < DEPTH { forever() } else { Ok(()) }
    }
    watched("nested", || {
        let runtime = Runtime::builder().workers(2).stack_size(16 << 20).build().unwrap();
        for short in [0, 1, 500, DEPTH - 1, DEPTH] {
            for shielded in [false, true] {
                let said = runtime.run(|| {
                    let mut said = Vec::with_capacity(DEPTH);
                    nest(0, short, shielded, &mut said);
                    assert!(check().is_ok());
                    said.reverse();
                    said
                });
                let expected: Levels = (0..DEPTH).map(|depth| depth == short).collect();
                assert_eq!(said, expected, "the short one is {short}");
            }
        }
    });
}

/// The same with a scope and a shield at each level: the shields hold, and each level's own limit works.
#[test]
fn shield_and_deadline_nesting() {
    fn nest(depth: usize, log: &Log) {
        if depth == 0 {
            // All limits outside have been reached by then, and none of them gets in.
            sleep(SHORT * 4).unwrap();
            log.add("slept");
            return;
        }
        let result = timeout(SHORT, || {
            shield(|| {
                let _ = scope(|_| {
                    nest(depth - 1, log);
                    Ok::<_, Oops>(())
                });
            });
            yield_now()
        });
        assert_eq!(result, Err(throng_elapsed()));
    }
    fn throng_elapsed() -> Elapsed {
        timeout(Duration::ZERO, || ()).unwrap_err()
    }
    watched("nested", || {
        let runtime = Runtime::builder().workers(2).stack_size(32 << 20).build().unwrap();
        let log = Log::new();
        runtime.run(|| nest(1_000, &log));
        log.says(&["slept"]);
    });
}
