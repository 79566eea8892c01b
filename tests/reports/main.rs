//! The JSON of reports: what is written in docs/report.schema.json and kept as golden files is what
//! the sinks write, and what was once written can still be read.
#![cfg(feature = "aggregator")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod schema;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use schema::Schema;
use serde_json::Value;
use wayside::aggregator::sink::{JsonLines, Rotation, Sink};
use wayside::aggregator::*;

const SCHEMA: &str = include_str!("../../docs/report.schema.json");
const GOLDEN: [(&str, &str); 4] = [
    ("heartbeat", include_str!("heartbeat.json")),
    ("attack", include_str!("attack.json")),
    ("own_attack", include_str!("own_attack.json")),
    ("finding", include_str!("finding.json")),
];

const WORKER: WorkerId = WorkerId(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);
const NOON: UnixMicros = UnixMicros(1_767_268_800_000_000);
const LATER: UnixMicros = UnixMicros(1_767_268_860_000_000);

fn report(name: &str) -> Report {
    match name {
        "heartbeat" => Report::Heartbeat(heartbeat()),
        "attack" => Report::Attack(notice(AttackBody::Attack(Box::new(attack())))),
        "own_attack" => Report::Attack(notice(AttackBody::Own {
            kind: "door_forced".to_owned(),
            json: r#"{"door":3,"room":"cellar"}"#.to_owned(),
        })),
        "finding" => Report::Finding(Finding {
            id: "f-7".to_owned(),
            application: "shop".to_owned(),
            detector: "attack_wave".to_owned(),
            key: "203.0.113.7".to_owned(),
            at: NOON,
            text: "15 attacks within 60 s".to_owned(),
        }),
        other => panic!("no sample {other}"),
    }
}

fn notice(body: AttackBody) -> AttackNotice {
    AttackNotice {
        id: format!("{WORKER}-9"),
        application: "shop".to_owned(),
        worker: WORKER,
        number: 9,
        at: NOON,
        body,
    }
}

fn attack() -> Attack {
    Attack {
        operation: "sqlite3.execute".to_owned(),
        source: "query".to_owned(),
        path: ".user.name".to_owned(),
        payload: "1' OR 1=1 \"ü\"".to_owned(),
        blocked: true,
        request: Some(AttackRequest {
            method: "GET".to_owned(),
            url: "/users/1?name=1".to_owned(),
            route: "/users/:id".to_owned(),
            ip: "203.0.113.7".to_owned(),
            user_agent: "curl/8.5".to_owned(),
        }),
        user: Some("alice".to_owned()),
        stack: vec!["users.rs:12".to_owned()],
        metadata: vec![("table".to_owned(), "users".to_owned())],
        ..Attack::new("sql_injection")
    }
}

fn heartbeat() -> Heartbeat {
    let series = Series::new(
        "http.requests",
        &[("route", "/users/:id"), ("method", "GET")],
    );
    let totals = |counted, observed, hits, attacks| Totals {
        counted,
        observed,
        hits,
        attacks,
    };
    let ledger = Ledger {
        recorded: totals(12, 3, 2, 4),
        applied: totals(12, 3, 2, 2),
        dropped: BTreeMap::from([(DropReason::QueueFull, totals(0, 0, 0, 1))]),
        pending: totals(0, 0, 0, 1),
    };
    assert!(ledger.is_balanced());
    Heartbeat {
        id: "h-1".to_owned(),
        application: "shop".to_owned(),
        from: NOON,
        to: LATER,
        counters: vec![Count {
            series: series.clone(),
            value: 12,
        }],
        gauges: vec![Level {
            series: Series::new("queue.length", &[]),
            sum: 7.5,
            min: -1.0,
            max: 8.5,
            workers: 2,
        }],
        histograms: vec![Spread {
            series,
            count: 3,
            p50: 31,
            p90: 101,
            p99: 101,
            p999: 101,
            max: 101,
            buckets: Buckets(vec![(30, 1), (31, 1), (82, 1)]),
        }],
        inventories: vec![Listing {
            inventory: "routes".to_owned(),
            key: "GET /users/:id".to_owned(),
            hits: 2,
            first: NOON,
            last: LATER,
        }],
        workers: vec![WorkerReport {
            worker: WORKER,
            process: 4711,
            connected: true,
            config: Some(3),
            config_refused: Some((2, "missing field `rules`".to_owned())),
            ledger: ledger.clone(),
        }],
        ledger,
    }
}

#[test]
fn reports_are_written_as_in_the_golden_files() {
    for (name, golden) in GOLDEN {
        let text = serde_json::to_string_pretty(&report(name)).unwrap();
        assert_eq!(text.trim(), golden.trim(), "{name}");
    }
}

#[test]
fn the_golden_files_can_be_read() {
    for (name, golden) in GOLDEN {
        let read: Report = serde_json::from_str(golden).unwrap();
        assert_eq!(read, report(name), "{name}");
    }
}

#[test]
fn the_golden_files_fit_the_schema_and_show_all_of_it() {
    let schema = Schema::parse(SCHEMA);
    let mut shown = BTreeSet::new();
    for (name, golden) in GOLDEN {
        let value: Value = serde_json::from_str(golden).unwrap();
        assert_eq!(schema.faults(&value), Vec::<String>::new(), "{name}");
        collect_names(&value, &mut shown);
    }
    let hidden: Vec<_> = schema
        .property_names()
        .into_iter()
        .filter(|name| !shown.contains(name))
        .collect();
    assert_eq!(
        hidden,
        Vec::<String>::new(),
        "the schema knows more than is written"
    );
}

fn collect_names(value: &Value, names: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                names.insert(name.clone());
                collect_names(value, names);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect_names(item, names)),
        _ => {}
    }
}

#[test]
fn the_schema_refuses_what_is_not_a_report() {
    let schema = Schema::parse(SCHEMA);
    for (name, golden) in GOLDEN {
        let sound: Value = serde_json::from_str(golden).unwrap();
        for field in sound.as_object().unwrap().keys() {
            let mut broken = sound.clone();
            broken.as_object_mut().unwrap().remove(field);
            assert!(!schema.faults(&broken).is_empty(), "{name} without {field}");
            let mut broken = sound.clone();
            broken[field] = Value::Bool(true);
            assert!(
                !schema.faults(&broken).is_empty(),
                "{name} with another {field}"
            );
        }
    }
}

#[test]
fn numbers_at_their_bounds_fit_the_schema() {
    let schema = Schema::parse(SCHEMA);
    let mut beat = heartbeat();
    beat.counters[0].value = u64::MAX;
    beat.gauges[0].sum = f64::NAN;
    beat.gauges[0].max = f64::INFINITY;
    beat.workers[0].worker = WorkerId(u128::MAX);
    beat.workers[0].config = None;
    beat.workers[0].config_refused = None;
    let value = serde_json::to_value(Report::Heartbeat(beat)).unwrap();
    assert_eq!(schema.faults(&value), Vec::<String>::new());
}

#[test]
fn a_value_that_is_no_json_is_given_as_text() {
    let (kind, json) = ("odd".to_owned(), "{not json".to_owned());
    let body = AttackBody::Own { kind, json };
    let value = serde_json::to_value(Report::Attack(notice(body))).unwrap();
    assert_eq!(value["body"]["own"]["value"], "{not json");
}

#[test]
fn each_report_becomes_one_line_of_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("reports.jsonl");
    // What a crash has left.
    fs::write(&path, "{\"type\":\"heart").unwrap();
    let mut sink = JsonLines::file(&path, Rotation::default()).unwrap();
    for (name, _) in GOLDEN {
        sink.deliver(&report(name)).unwrap();
    }
    let text = fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = text.lines().skip(1).collect();
    for ((name, _), line) in GOLDEN.into_iter().zip(&lines) {
        let read: Report = serde_json::from_str(line).unwrap();
        assert_eq!(read, report(name));
    }
    assert_eq!(lines.len(), GOLDEN.len());
}

#[test]
fn a_bucket_is_where_the_page_says() {
    // The first value of a bucket, from its index, as docs/reports.md has it.
    let start = |index: u64| match index / 32 {
        0 => index,
        power => (32 + index % 32) << (power - 1),
    };
    for index in [0_u16, 31, 32, 63, 64, 95, 96, 1000] {
        let mut merged = Distribution::default();
        assert!(merged.merge(&Buckets(vec![(index, 1)])));
        let last = start(u64::from(index) + 1) - 1;
        assert_eq!(merged.quantile(1.0), Some(last), "{index}");
    }
}
