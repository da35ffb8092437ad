//! The binary from the outside: every workload on every system that has it, at sizes that take no time.

use std::thread;
use std::time::Duration;

use assert_cmd::Command;
use serde_json::Value;

const EVERYTHING: &[(&str, u64)] = &[
    ("spawn_join", 200),
    ("spawn_join_wg", 200),
    ("spawn_one", 200),
    ("yield", 2000),
    ("ping_pong", 200),
    ("ping_pong_apart", 200),
    ("chan_spsc", 1000),
    ("select2", 200),
    ("skynet", 100),
    ("skynet_join", 100),
    ("idle_mem", 100),
    ("timers", 20),
    ("trickle", 20),
    ("cancel_tree", 200),
    ("deep_tree", 200),
    ("compute_mix", 200),
];
const SMOL: &[&str] = &[
    "spawn_join",
    "spawn_one",
    "yield",
    "ping_pong",
    "ping_pong_apart",
    "chan_spsc",
    "skynet",
    "skynet_join",
    "timers",
    "trickle",
    "cancel_tree",
];
const RAYON: &[&str] = &["spawn_join", "spawn_one", "skynet_join"];
const THREADS: &[&str] = &["ping_pong", "ping_pong_apart", "chan_spsc"];

fn bench(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_throng-bench"));
    command.env_remove("WORKERS").args(args).timeout(Duration::from_secs(60));
    command
}

fn output(mut command: Command) -> String {
    let run = command.assert().success();
    String::from_utf8(run.get_output().stdout.clone()).expect("UTF-8")
}

/// Runs one workload and checks its line.
fn measure(system: &str, workload: &str, n: u64) {
    let printed = output(bench(&["--system", system, workload, &n.to_string()]));
    assert_eq!(printed.lines().count(), 1, "{printed}");
    let line: Value = serde_json::from_str(&printed).expect("JSON");
    assert_eq!(line["system"], system);
    assert_eq!(line["workload"], workload);
    assert_eq!(line["workers"], 2);
    assert_eq!(line["n"], n);
    assert!(line["wall_ns"].as_u64() > Some(0), "{line}");
    assert!(line["ns_per_op"].as_f64() > Some(0.0), "{line}");
    assert!(line["rss_peak_kb"].as_u64() > Some(0), "{line}");
    assert_eq!(line["bytes_per_task"].is_f64(), workload == "idle_mem", "{line}");
    assert_eq!(line["lag_ms"].is_f64(), workload == "timers", "{line}");
    assert_eq!(line["cpu_ms"].is_f64(), matches!(workload, "timers" | "trickle"), "{line}");
    assert_eq!(line["timer_p99_ms"].is_f64(), workload == "compute_mix", "{line}");
    assert_eq!(line["cancel_ns_per_op"].is_f64(), workload == "deep_tree", "{line}");
}

/// All workloads of a system at once: the slow ones sleep, they do not work.
fn measure_all(system: &str, has: impl Fn(&str) -> bool) {
    thread::scope(|s| {
        for &(workload, n) in EVERYTHING {
            if has(workload) {
                s.spawn(move || measure(system, workload, n));
            } else {
                let refused = bench(&["--system", system, workload]).assert().code(1);
                let said = String::from_utf8_lossy(&refused.get_output().stderr).into_owned();
                assert!(said.contains(&format!("{workload} is not available in {system}")), "{said}");
            }
        }
    });
}

#[test]
fn throng() {
    measure_all("throng", |_| true);
}

#[test]
fn throng_co() {
    measure_all("throng-co", |workload| workload != "deep_tree");
}

#[test]
fn tokio() {
    measure_all("tokio", |workload| workload != "deep_tree");
}

#[test]
fn smol() {
    measure_all("smol", |workload| SMOL.contains(&workload));
}

#[test]
fn rayon() {
    measure_all("rayon", |workload| RAYON.contains(&workload));
}

#[test]
fn threads() {
    measure_all("threads", |workload| THREADS.contains(&workload));
}

#[test]
fn workers_come_from_the_environment() {
    let mut one = bench(&["--system", "tokio", "yield", "100"]);
    one.env("WORKERS", "1");
    let line: Value = serde_json::from_str(&output(one)).expect("JSON");
    assert_eq!(line["workers"], 1);
}

#[test]
fn compare_prints_a_table() {
    let table = output(bench(&["compare", "--rounds", "3", "ping_pong=100", "idle_mem=100", "skynet=1000", "deep_tree=100"]));
    for part in [
        "| workload ",
        "| throng/throng-co ",
        "| throng/tokio ",
        "| throng/smol ",
        "| throng/threads ",
        "| ping_pong ",
        "| bytes/task ",
        "| cancel ns/op ",
        "of 3 rounds, 2 workers",
    ] {
        assert!(table.contains(part), "{part:?} not in\n{table}");
    }
    assert!(!table.contains("failed"), "{table}");
}

#[test]
fn compare_prints_json() {
    let printed = output(bench(&["compare", "--json", "--systems", "tokio,rayon,throng", "spawn_join=100"]));
    let found: Value = serde_json::from_str(&printed).expect("JSON");
    assert_eq!(found["rounds"], 3);
    let row = &found["rows"][0];
    for system in ["throng", "tokio", "rayon"] {
        assert_eq!(row["systems"][system]["samples"].as_array().map(Vec::len), Some(3), "{row}");
    }
    assert!(row["ratios"]["tokio"].as_f64() > Some(0.0), "{row}");
    assert_eq!(row["failed"], serde_json::json!({}));
}

/// Warm-up and work of `timers` take a second each.
#[test]
fn compare_goes_on_after_a_failure_and_says_so() {
    let run = bench(&["compare", "--timeout", "1", "--systems", "tokio", "timers=20", "yield=100"]).assert().code(1);
    let table = String::from_utf8_lossy(&run.get_output().stdout).into_owned();
    let said = String::from_utf8_lossy(&run.get_output().stderr).into_owned();
    assert!(table.contains("failed") && table.contains("| yield "), "{table}");
    assert!(said.contains("timers=20 on tokio: not done after 1 s"), "{said}");
}
