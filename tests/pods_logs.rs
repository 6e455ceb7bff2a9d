//! Logs of pods: what is kept, what is dropped and says so, and how they are read.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::pods::Supervisor;
use common::spec;
use serde_json::json;
use std::fs;
use std::time::{Duration, Instant};

/// A supervisor with one container, `web/a`, that runs a script.
fn running(script: &str, policy: &str) -> Supervisor {
    let pods = Supervisor::new();
    pods.bundle("shell", &spec(&["sh", "-c", script]));
    let container = json!({"name": "a", "image": "shell"});
    pods.pod(
        "web",
        json!({"restartPolicy": policy, "terminationGracePeriodSeconds": 0, "containers": [container]}),
    );
    pods.start();
    pods
}

fn logs(pods: &Supervisor, options: &[&str]) -> String {
    pods.mote(["logs", "web/a"]).args(options).run().ok().to_owned()
}

#[test]
fn a_log_is_read_from_a_time_on_with_times_and_by_its_runs() {
    let script = "echo one; echo two; echo three >&2; sleep 1.2; echo late; sleep 1000";
    let pods = running(script, "Always");
    pods.wait_log("web/a", " stdout F late\n");
    assert_eq!(logs(&pods, &[]), "one\ntwo\nthree\nlate\n");
    assert_eq!(logs(&pods, &["--since", "1d"]), "one\ntwo\nthree\nlate\n");
    let late = pods.log("web/a").lines().last().unwrap().split(' ').next().unwrap().to_owned();
    assert_eq!(logs(&pods, &["--since", &late]), "late\n");
    assert_eq!(logs(&pods, &["--since", &late[..19]]), "late\n");
    assert_eq!(logs(&pods, &["--since", "2999-01-01"]), "");
    assert_eq!(logs(&pods, &["--timestamps", "--tail", "1"]), format!("{late} late\n"));
    for (options, why) in [
        (&["--since", "yesterday"][..], "--since"),
        (&["--tail", "x"], "--tail"),
        (&["--previous"], "no run of it has ended yet"),
        (&["--previous", "--follow"], "--previous"),
    ] {
        pods.mote(["logs", "web/a"]).args(options).run().fails_saying(&[why]);
    }
    let first = pods.container("web/a")["pid"].as_i64().unwrap();
    let kill = |pid: i64| {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(pid).unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    };
    kill(first);
    pods.wait_for("web/a", &|row| {
        row["state"] == "running" && row["pid"].as_i64().is_some_and(|pid| pid != first)
    });
    let end = Instant::now() + Duration::from_secs(30);
    while logs(&pods, &[]).matches("three").count() < 2 {
        assert!(Instant::now() < end, "{}", logs(&pods, &[]));
        std::thread::sleep(Duration::from_millis(20));
    }
    // The run that was killed, and not what the present one has printed.
    assert_eq!(logs(&pods, &["-p"]), "one\ntwo\nthree\nlate\n");
    assert_eq!(logs(&pods, &["--previous", "--tail=1"]), "late\n");
    pods.stop();
}

/// What the kernel says of the supervisor's memory.
fn memory(pods: &Supervisor, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", pods.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn a_flood_of_100_megabytes_is_bounded_marked_and_does_not_move_the_supervisor() {
    // Lines of 1000 bytes.
    let line = "0123456789".repeat(100);
    let script =
        format!("echo begin; sleep 1; yes {} | head -c 100000000; sleep 5; echo end; sleep 1000", &line[1..]);
    let pods = running(&script, "Never");
    pods.wait_log("web/a", " stdout F begin\n");
    let before = memory(&pods, "RssAnon:");
    let log = pods.wait_log("web/a", " stdout F end\n");
    let marker = "lines dropped here: more than 4194304 bytes a second";
    let marked = log.lines().rev().nth(1).unwrap();
    assert!(marked.contains(" stderr F mote: ") && marked.ends_with(marker), "{marked}");
    assert!(
        memory(&pods, "RssAnon:") <= before + 16,
        "{before} kB before, {} after",
        memory(&pods, "RssAnon:")
    );
    let directory = pods.logs.join("web/a");
    let files: Vec<u64> =
        fs::read_dir(&directory).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).collect();
    assert!(files.len() == 2 && files.iter().all(|size| *size <= 262_144), "{files:?}");
    pods.stop();
}

#[test]
fn a_writer_that_is_killed_during_a_flood_loses_no_line() {
    // 8,000 lines in bursts: they fit in the files, and many are in the pipe when the writer dies.
    let script = "n=0; while [ $n -lt 8000 ]; do echo line $n; n=$((n+1)); [ $((n % 1000)) = 0 ] && sleep 0.5; done; \
                  echo end; sleep 1000";
    let pods = running(script, "Never");
    let writer = || -> Option<i32> {
        let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", pods.pid())).ok()?;
        let mut children = children.split_whitespace().filter_map(|pid| pid.parse::<i32>().ok());
        children.find(|pid| {
            fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "mote-logs\n")
        })
    };
    let mut killed = Vec::new();
    let end = Instant::now() + Duration::from_secs(60);
    while !pods.log("web/a").contains(" stdout F end\n") {
        assert!(Instant::now() < end, "{}", pods.said());
        if let Some(pid) = writer().filter(|pid| !killed.contains(pid)) {
            std::thread::sleep(Duration::from_millis(150 + 70 * killed.len() as u64 % 300));
            let _ =
                nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
            killed.push(pid);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(killed.len() >= 3, "{killed:?}");
    let text = logs(&pods, &[]);
    let mut lines: Vec<u32> =
        text.lines().filter_map(|line| line.strip_prefix("line ")?.parse().ok()).collect();
    lines.sort_unstable();
    let all = lines.len();
    lines.dedup();
    println!("{} writers killed, {} lines doubled", killed.len(), all - lines.len());
    assert_eq!(lines, (0..8000).collect::<Vec<_>>());
    pods.stop();
}

/// A `mote logs -f` that runs, and what it has printed.
struct Follower {
    running: common::Running,
}

impl Follower {
    fn new(pods: &Supervisor, options: &[&str]) -> Self {
        let running =
            pods.mote(["logs", "-f", "web/a"]).args(options).deadline(Duration::from_secs(60)).spawn();
        Self { running }
    }

    fn printed(&self) -> String {
        fs::read_to_string(&self.running.out).unwrap()
    }

    /// Waits for `text`; how long that took.
    #[track_caller]
    fn wait(&self, text: &str) -> Duration {
        let start = Instant::now();
        while !self.printed().contains(text) {
            assert!(start.elapsed() < Duration::from_secs(20), "no {text:?}: {}", self.printed());
            std::thread::sleep(Duration::from_micros(500));
        }
        start.elapsed()
    }

    fn end(self) {
        nix::sys::signal::kill(self.running.pid(), nix::sys::signal::Signal::SIGTERM).unwrap();
        let _ = self.running.wait();
    }
}

/// How often the process has gone to sleep of its own will, and how much processor time it has used in clock ticks.
fn sleeps_and_ticks(pid: nix::unistd::Pid) -> (u64, u64) {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let sleeps = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")).unwrap();
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let mut fields = stat.rsplit(") ").next().unwrap().split(' ').skip(11).map(|n| n.parse::<u64>().unwrap());
    (sleeps.trim().parse().unwrap(), fields.next().unwrap() + fields.next().unwrap())
}

#[test]
fn a_log_is_followed_at_once_and_without_looking_when_there_is_nothing() {
    // What is written to the fifo is printed.
    let pods = Supervisor::new();
    let bundle = pods.bundle("shell", &spec(&["sh", "-c", "while :; do cat /say; done"]));
    let fifo = bundle.join("rootfs/say");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    pods.pod(
        "web",
        json!({"terminationGracePeriodSeconds": 0, "containers": [{"name": "a", "image": "shell"}]}),
    );
    pods.start();
    pods.wait("web/a", "running");
    // Nothing has been printed: there is no log at all, and one that is there nevertheless.
    assert_eq!(logs(&pods, &[]), "");
    pods.mote(["logs", "-f", "web/b"]).run().fails_saying(&["web/b"]);
    let follower = Follower::new(&pods, &[]);
    let say = |text: &str| fs::write(&fifo, format!("{text}\n")).unwrap();
    say("first");
    follower.wait("first\n");
    let mut took: Vec<Duration> = (0..21)
        .map(|n| {
            std::thread::sleep(Duration::from_millis(20));
            let text = format!("line {n}");
            say(&text);
            follower.wait(&(text + "\n"))
        })
        .collect();
    took.sort();
    println!("a line is there after {:?} (median)", took[10]);
    assert!(took[10] < Duration::from_millis(50), "{took:?}");
    // Two seconds of nothing: it sleeps once, and nothing wakes it.
    std::thread::sleep(Duration::from_millis(200));
    let before = sleeps_and_ticks(follower.running.pid());
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(sleeps_and_ticks(follower.running.pid()), before);
    // The directory goes, as when somebody cleans up, and comes again with the next line.
    let directory = pods.logs.join("web");
    fs::rename(&directory, pods.logs.join("old")).unwrap();
    say("into a file that is open still");
    follower.wait("into a file that is open still\n");
    fs::remove_dir_all(pods.logs.join("old")).unwrap();
    say("into a new one");
    follower.wait("into a new one\n");
    follower.end();
    pods.stop();
}

#[test]
fn a_log_is_followed_over_rotations_to_the_line() {
    // About 1 MB in a file of 256 KiB and an older one, slowly enough for two busy cores.
    let script = "n=0; while [ $n -lt 10000 ]; do echo line number $n of many, all of which are to be seen; n=$((n+1)); \
                  [ $((n % 100)) = 0 ] && usleep 20000; done; echo end; sleep 1000";
    let pods = running(script, "Never");
    pods.wait_log("web/a", " stdout F line number 0 ");
    let follower = Follower::new(&pods, &[]);
    follower.wait("\nend\n");
    let text = follower.printed();
    let number = |line: &str| line.strip_prefix("line number ")?.split(' ').next()?.parse::<u32>().ok();
    let numbers: Vec<u32> = text.lines().filter_map(number).collect();
    assert_eq!(numbers, (0..10000).collect::<Vec<_>>());
    assert!(pods.logs.join("web/a/0.log.1").exists());
    follower.end();
    pods.stop();
}

#[test]
fn who_follows_ends_when_nobody_reads_any_more() {
    let pods = running("echo here; sleep 1000", "Never");
    pods.wait_log("web/a", " stdout F here\n");
    for command in
        [&["logs", "-f", "web/a"][..], &["events", "-f"], &["ps", "-w"], &["top", "--interval", "100ms"]]
    {
        // head(1) ends after the first line, and the next time there is something to print is far away, but for top.
        let script = "{ timeout -s KILL 20 \"$@\"; echo $? >&2; } | head -n 1";
        let out = pods.mote(command).under(["sh", "-c", script, "sh"]).run();
        assert!(out.stderr.trim_end().ends_with("141"), "{command:?}: {out}");
    }
    pods.stop();
}
