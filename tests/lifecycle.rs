//! create, start, state, kill, delete, run, list: what callers rely on between the commands.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{Test, spec};
use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::{Signal, kill};
use serde_json::{Value, json};
use std::fs;
use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A config whose program tells that it runs by making `/mnt/started`, then waits; SIGTERM ends it with code 7.
fn waiting() -> Value {
    let mut config =
        spec(&["sh", "-c", "trap 'exit 7' TERM; touch /mnt/started; while :; do sleep 0.05; done"]);
    config["root"]["readonly"] = json!(false);
    config
}

#[test]
fn a_container_is_created_then_running_then_stopped_then_gone() {
    let t = Test::new();
    let bundle = t.bundle("b", &waiting());
    let started = bundle.join("rootfs/mnt/started");

    let id = t.create(&bundle);
    assert_eq!(t.status(&id), "created");
    let pid = t.pid(&id);
    std::thread::sleep(Duration::from_millis(100));
    assert!(!started.exists(), "the program ran before start");

    t.verb("start", &id).ok();
    assert_eq!(t.status(&id), "running");
    assert_eq!(t.pid(&id), pid, "start changed the pid");
    while !started.exists() {
        std::thread::sleep(Duration::from_millis(5));
    }

    t.mote(["kill", &id, "TERM"]).run().ok();
    t.wait_status(&id, "stopped");
    assert_eq!(t.state(&id)["pid"], 0);

    t.verb("delete", &id).ok();
    t.assert_gone(&id);
    common::reap(pid);
}

#[test]
fn who_asks_for_a_container_that_is_being_made_waits_for_it() {
    let t = Test::new();
    let id = t.detached(&spec(&["sleep", "100"]));
    let directory = t.root.join(&id);
    let (state, aside) = (directory.join("state.json"), t.root.join(".aside"));
    // As it is while the process is at work already and its state is not yet written.
    let making = Flock::lock(fs::File::open(&directory).unwrap(), FlockArg::LockExclusive).unwrap();
    fs::rename(&state, &aside).unwrap();
    let mut asks = [t.mote(["state", &id]).spawn(), t.mote(["kill", &id, "CONT"]).spawn()];
    std::thread::sleep(Duration::from_millis(200));
    for ask in &mut asks {
        assert!(ask.is_running(), "an answer before there is one to give");
    }
    fs::rename(&aside, &state).unwrap();
    drop(making);
    asks.into_iter().for_each(|ask| drop(ask.wait().ok().to_owned()));
}

#[test]
fn verbs_that_work_print_nothing() {
    let t = Test::new();
    let bundle = t.bundle("b", &waiting());
    let id = t.id();
    let silent = |args: &[&str]| {
        let out = t.mote(args).run();
        assert_eq!((out.ok(), out.stderr.as_str()), ("", ""), "{out}");
    };
    silent(&["create", "--bundle", bundle.to_str().unwrap(), &id]);
    silent(&["start", &id]);
    silent(&["kill", &id, "9"]);
    t.wait_status(&id, "stopped");
    silent(&["delete", &id]);
}

#[test]
fn the_bundle_is_the_current_directory_by_default() {
    let t = Test::new();
    let bundle = t.bundle("b", &spec(&["echo", "here"]));
    let out = t.mote(["run", &t.id()]).cwd(&bundle).run();
    assert_eq!(out.ok(), "here\n");
}

#[test]
fn the_bundle_may_be_a_relative_path_and_state_shows_it_absolute() {
    let t = Test::new();
    let bundle = t.bundle("b", &spec(&["sleep", "100"]));
    let id = t.id();
    t.mote(["create", "-b", "b", &id]).run().ok();
    let state = t.state(&id);
    assert_eq!(state["bundle"], json!(bundle));
    assert_eq!(state["rootfs"], json!(bundle.join("rootfs")));
}

#[test]
fn run_exits_with_the_code_of_the_program() {
    let t = Test::new();
    for code in [0, 1, 2, 42, 127, 255] {
        let out = t.run(&spec(&["sh", "-c", &format!("exit {code}")]));
        assert_eq!(out.code(), code, "{out}");
        assert_eq!(out.stderr, "");
    }
    t.assert_nothing_left();
}

#[test]
fn run_exits_with_128_and_the_signal_that_killed_the_program() {
    let t = Test::new();
    // 40 is a real-time signal, which libraries that know only the names lose.
    for (signal, code) in [("TERM", 143), ("KILL", 137), ("SEGV", 139), ("USR1", 138), ("40", 168)] {
        // In a pid namespace of its own the program is pid 1, which ignores what it does not catch.
        let mut config = spec(&["sh", "-c", &format!("kill -{signal} $$; sleep 100")]);
        common::without_namespace(&mut config, "pid");
        let out = t.run(&config);
        assert_eq!(out.code(), code, "{signal}: {out}");
    }
    t.assert_nothing_left();
}

#[test]
fn run_exits_with_137_when_the_container_is_killed_from_outside() {
    let t = Test::new();
    let bundle = t.bundle("b", &spec(&["sleep", "100"]));
    let id = t.id();
    let run = t.mote(["run", "-b"]).arg(&bundle).arg(&id).spawn();
    let end = Instant::now() + Duration::from_secs(30);
    while !t.verb("state", &id).stdout.contains("\"running\"") {
        assert!(Instant::now() < end, "never running");
    }
    t.mote(["kill", &id, "KILL"]).run().ok();
    let out = run.wait();
    assert_eq!(out.code(), 137, "{out}");
    t.assert_gone(&id);
}

#[test]
fn run_forwards_signals_to_the_program() {
    let t = Test::new();
    let bundle = t.bundle("b", &waiting());
    let run = t.run_bundle(&bundle).spawn();
    let end = Instant::now() + Duration::from_secs(30);
    while !bundle.join("rootfs/mnt/started").exists() {
        assert!(Instant::now() < end, "never started");
        std::thread::sleep(Duration::from_millis(5));
    }
    kill(run.pid(), Signal::SIGTERM).unwrap();
    assert_eq!(run.wait().code(), 7);
    t.assert_nothing_left();
}

#[test]
fn run_passes_stdin_and_stdout_and_stderr_untouched() {
    let t = Test::new();
    let bytes: Vec<u8> = (0..1_000_000u32).map(|i| b'a' + u8::try_from(i / 7 % 23).unwrap()).collect();
    let bundle = t.bundle("b", &spec(&["sh", "-c", "cat; echo end >&2"]));
    let out = t.run_bundle(&bundle).stdin(bytes.clone()).run();
    assert!(out.ok().as_bytes() == bytes, "what came back differs");
    assert_eq!(out.stderr, "end\n");
}

#[test]
fn run_detached_returns_while_the_program_runs() {
    let t = Test::new();
    let id = t.detached(&spec(&["sleep", "100"]));
    assert_eq!(t.status(&id), "running");
    let pid = t.pid(&id);
    t.mote(["kill", &id, "KILL"]).run().ok();
    t.wait_status(&id, "stopped");
    t.verb("delete", &id).ok();
    t.assert_gone(&id);
    common::reap(pid);
}

#[test]
fn the_init_becomes_a_child_of_the_caller_s_subreaper() {
    let t = Test::new();
    let created = t.create(&t.bundle("b", &waiting()));
    let detached = t.detached(&waiting());
    for id in [created, detached] {
        let stat = fs::read_to_string(format!("/proc/{}/stat", t.pid(&id))).unwrap();
        let parent = stat.rsplit(") ").next().unwrap().split(' ').nth(1).unwrap();
        assert_eq!(parent, std::process::id().to_string(), "{stat}");
    }
}

#[test]
fn nothing_but_the_program_holds_stdout_open() {
    let t = Test::new();
    let bundle = t.bundle("b", &spec(&["sh", "-c", "echo said; exec sleep 100"]));
    let id = t.id();
    let mut create = Command::new(common::binary());
    create.arg("--root").arg(&t.root).args(["create", "-b"]).arg(&bundle).arg(&id);
    create.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = create.spawn().unwrap();
    drop(create);
    let mut pipe = child.stdout.take().unwrap();
    assert!(child.wait().unwrap().success());
    t.verb("start", &id).ok();
    let mut text = [0; 5];
    pipe.read_exact(&mut text).unwrap();
    assert_eq!(&text, b"said\n");

    t.mote(["kill", &id, "KILL"]).run().ok();
    let (done, end) = std::sync::mpsc::channel();
    std::thread::spawn(move || done.send(pipe.read(&mut [0; 1])));
    let rest =
        end.recv_timeout(Duration::from_secs(10)).expect("someone holds the pipe after the program's death");
    assert_eq!(rest.unwrap(), 0);
}

#[test]
fn the_pid_file_holds_the_digits_and_nothing_else() {
    let t = Test::new();
    let bundle = t.bundle("b", &spec(&["sleep", "100"]));
    for verb in [&["create"][..], &["run", "--detach"]] {
        let id = t.id();
        let dir = t.dir.join(format!("pids.{}", verb[0]));
        fs::create_dir(&dir).unwrap();
        t.mote(verb).arg("--pid-file").arg(dir.join("pid")).arg("-b").arg(&bundle).arg(&id).run().ok();
        assert_eq!(fs::read_to_string(dir.join("pid")).unwrap(), t.pid(&id).to_string());
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 1, "a temporary file is left");
    }
}

#[test]
fn a_pid_file_that_cannot_be_written_takes_the_container_back() {
    let t = Test::new();
    let bundle = t.bundle("b", &spec(&["sleep", "100"]));
    let id = t.id();
    let out = t.mote(["create", "--pid-file", "/nonexistent/dir/pid", "-b"]).arg(&bundle).arg(&id).run();
    out.fails_saying(&["/nonexistent/dir"]);
    t.assert_nothing_left();
}

#[test]
fn state_is_the_json_that_runc_writes_byte_for_byte() {
    let t = Test::new();
    let mut config = spec(&["sleep", "100"]);
    let check = |id: &str, bundle: &std::path::Path, annotations: &str, version: &str| {
        let out = t.verb("state", id);
        let state: Value = serde_json::from_str(out.ok()).unwrap();
        let created = state["created"].as_str().unwrap();
        assert_rfc3339(created);
        let pid = t.pid(id);
        let (dir, rootfs) = (bundle.display(), bundle.join("rootfs"));
        let expected = format!(
            "{{\n  \"ociVersion\": \"{version}\",\n  \"id\": \"{id}\",\n  \"pid\": {pid},\n  \"status\": \"created\",\n  \
             \"bundle\": \"{dir}\",\n  \"rootfs\": \"{}\",\n  \"created\": \"{created}\",\n{annotations}  \"owner\": \"\"\n}}",
            rootfs.display()
        );
        assert_eq!(out.stdout, expected);
    };
    let plain = t.bundle("plain", &config);
    let id = t.create(&plain);
    let version = t.state(&id)["ociVersion"].as_str().unwrap().to_owned();
    assert!(version.starts_with("1."), "{version}");
    check(&id, &plain, "", &version);

    config["annotations"] = json!({"org.example.b": "two", "a": "with \"quotes\" and \\"});
    let annotated = t.bundle("annotated", &config);
    let id = t.create(&annotated);
    let annotations = "  \"annotations\": {\n    \"a\": \"with \\\"quotes\\\" and \\\\\",\n    \"org.example.b\": \"two\"\n  },\n";
    check(&id, &annotated, annotations, &version);
}

fn assert_rfc3339(time: &str) {
    let shape: String = time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    let (seconds, rest) = shape.split_at_checked(19).unwrap_or((&shape, ""));
    assert_eq!(seconds, "0000-00-00T00:00:00", "{time}");
    assert!(
        rest.ends_with('Z') && rest.trim_start_matches('.').trim_end_matches('Z').chars().all(|c| c == '0'),
        "{time}"
    );
}

#[test]
fn the_creation_time_is_now() {
    let t = Test::new();
    let date = || t.command("date").args(["-u", "+%FT%T"]).run().ok().trim().to_owned();
    let before = date();
    let id = t.create(&t.bundle("b", &spec(&["sleep", "100"])));
    let after = date();
    let created = t.state(&id)["created"].as_str().unwrap()[..19].to_owned();
    assert!(before <= created && created <= after, "{before} <= {created} <= {after}");
}

#[test]
fn list_of_nothing_is_null_in_json_and_a_header_in_the_table() {
    let t = Test::new();
    assert_eq!(t.mote(["list", "--format", "json"]).run().ok(), "null\n");
    assert_eq!(t.mote(["list", "-f", "json"]).run().ok(), "null\n");
    let table = t.mote(["list"]).run().ok().to_owned();
    let header: Vec<&str> = table.split_whitespace().collect();
    assert_eq!(header, ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]);
    assert_eq!(t.mote(["list", "--quiet"]).run().ok(), "");
}

#[test]
fn list_shows_every_container() {
    let t = Test::new();
    let bundle = t.bundle("b", &spec(&["sleep", "100"]));
    let (first, second) = (t.create(&bundle), t.create(&bundle));
    t.verb("start", &second).ok();

    let json = t.mote(["list", "--format=json"]).run().ok().to_owned();
    assert_eq!(json.matches('\n').count(), 1, "one line: {json}");
    let all: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(all.as_array().unwrap().len(), 2, "{json}");
    for (entry, (id, status)) in
        all.as_array().unwrap().iter().zip([(&first, "created"), (&second, "running")])
    {
        assert_eq!((&entry["id"], &entry["status"]), (&json!(id), &json!(status)));
        assert_eq!((&entry["pid"], &entry["owner"]), (&json!(t.pid(id).as_raw()), &json!("root")));
        assert_eq!(entry["bundle"], json!(bundle));
    }
    let keys = [
        "\"ociVersion\":",
        "\"id\":",
        "\"pid\":",
        "\"status\":",
        "\"bundle\":",
        "\"rootfs\":",
        "\"created\":",
        "\"owner\":",
    ];
    let places: Vec<_> =
        keys.iter().map(|k| json.find(k).unwrap_or_else(|| panic!("no {k} in {json}"))).collect();
    assert!(places.is_sorted(), "keys out of order: {json}");

    let table = t.mote(["list"]).run().ok().to_owned();
    let rows: Vec<Vec<&str>> = table.lines().map(|l| l.split_whitespace().collect()).collect();
    assert_eq!(rows.len(), 3, "{table}");
    let pid = t.pid(&first).to_string();
    assert_eq!(rows[1][..4], [first.as_str(), &pid, "created", bundle.to_str().unwrap()]);
    assert_eq!(rows[2][5], "root");
    // Columns start at the same place in every line.
    let column = table.lines().next().unwrap().find("STATUS").unwrap();
    assert!(
        table
            .lines()
            .skip(1)
            .all(|l| l[column..].starts_with("created") || l[column..].starts_with("running")),
        "{table}"
    );

    let quiet = t.mote(["list", "-q"]).run().ok().to_owned();
    assert_eq!(quiet, format!("{first}\n{second}\n"));
}

#[test]
fn list_refuses_an_unknown_format() {
    let t = Test::new();
    t.create(&t.bundle("b", &spec(&["true"])));
    t.mote(["list", "--format", "xml"]).run().fails_and_mote_says(&["--format"]);
}

#[test]
fn verbs_on_an_unknown_id_say_that_it_does_not_exist() {
    let t = Test::new();
    for verb in ["state", "start", "kill", "delete"] {
        t.verb(verb, "nobody").fails_saying(&["does not exist"]);
    }
    t.mote(["delete", "--force", "nobody"]).run().ok();
    t.assert_nothing_left();
}

#[test]
fn a_stopped_container_is_not_killed_and_not_started_again() {
    let t = Test::new();
    let id = t.detached(&spec(&["true"]));
    t.wait_status(&id, "stopped");
    t.verb("kill", &id).fails_with_any(&["container not running", "no such process"]);
    t.mote(["kill", "--all", &id, "KILL"]).run().ok();
    t.verb("start", &id).fails_saying(&["cannot start a container that has stopped"]);
    t.verb("delete", &id).ok();
}

#[test]
fn a_running_container_is_neither_started_nor_deleted() {
    let t = Test::new();
    let id = t.detached(&spec(&["sleep", "100"]));
    t.verb("start", &id).fails_saying(&["cannot start an already running container"]);
    t.verb("delete", &id).fails_saying(&[&id]);
    assert_eq!(t.status(&id), "running");
    let pid = t.pid(&id);
    t.mote(["delete", "--force", &id]).run().ok();
    t.assert_gone(&id);
    common::reap(pid);
}

#[test]
fn delete_of_a_created_container_kills_it() {
    let t = Test::new();
    let id = t.create(&t.bundle("b", &spec(&["sleep", "100"])));
    let pid = t.pid(&id);
    t.verb("delete", &id).ok();
    t.assert_gone(&id);
    common::reap(pid);
    assert!(kill(pid, None).is_err(), "the init lives on");
}

#[test]
fn kill_of_a_created_container_stops_it() {
    let t = Test::new();
    let id = t.create(&t.bundle("b", &spec(&["sleep", "100"])));
    t.mote(["kill", &id, "KILL"]).run().ok();
    t.wait_status(&id, "stopped");
    t.verb("start", &id).fails_saying(&["cannot start a container that has stopped"]);
}

#[test]
fn an_id_in_use_is_refused_and_its_container_stays() {
    let t = Test::new();
    let bundle = t.bundle("b", &spec(&["sleep", "100"]));
    let id = t.create(&bundle);
    let before = t.state(&id);
    for verb in ["create", "run"] {
        let out = t.mote([verb, "-b"]).arg(&bundle).arg(&id).run();
        out.fails_saying(&["container with given ID already exists"]);
    }
    assert_eq!(t.state(&id), before);
    t.verb("start", &id).ok();
}

#[test]
fn a_zombie_init_is_shown_as_stopped_and_can_be_deleted() {
    let t = Test::new();
    let id = t.detached(&spec(&["sleep", "100"]));
    let pid = t.pid(&id);
    kill(pid, Signal::SIGKILL).unwrap();
    t.wait_status(&id, "stopped");
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("this test did not reap it");
    assert!(stat.contains(") Z "), "{stat}");
    assert_eq!(t.state(&id)["pid"], 0);
    t.verb("kill", &id).fails_with_any(&["container not running", "no such process"]);
    t.verb("delete", &id).ok();
    t.assert_gone(&id);
    common::reap(pid);
}

#[test]
fn kill_takes_signals_by_number_and_by_name() {
    let t = Test::new();
    let script = "for s in HUP USR1 USR2 INT; do trap \"echo $s >>/mnt/got\" $s; done; touch /mnt/ready; while :; do sleep 0.02; done";
    let mut config = spec(&["sh", "-c", script]);
    config["root"]["readonly"] = json!(false);
    let bundle = t.bundle("b", &config);
    let id = t.create(&bundle);
    t.verb("start", &id).ok();
    let got = bundle.join("rootfs/mnt/got");
    let wait = |what: &dyn Fn() -> bool| {
        let end = Instant::now() + Duration::from_secs(20);
        while !what() {
            assert!(Instant::now() < end, "waited in vain; got {:?}", fs::read_to_string(&got));
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    wait(&|| bundle.join("rootfs/mnt/ready").exists());
    for (n, (given, name)) in
        [("1", "HUP"), ("SIGUSR1", "USR1"), ("USR2", "USR2"), ("int", "INT")].iter().enumerate()
    {
        t.mote(["kill", &id, given]).run().ok();
        wait(&|| fs::read_to_string(&got).unwrap_or_default().lines().nth(n) == Some(name));
    }
    let bad = ["NOSUCH", "0x9", "-1", "4096", "", "9 ", "18446744073709551625"];
    // runc sends any number to the kernel and takes no name for SIGTERM.
    for bad in &bad[..if common::is_mote() { bad.len() } else { 2 }] {
        t.mote(["kill", "--", &id, bad]).run().fails();
    }
    assert_eq!(t.status(&id), "running");
}

#[test]
fn kill_sends_sigterm_by_default() {
    let t = Test::new();
    let bundle = t.bundle("b", &waiting());
    let run = t.run_bundle(&bundle).spawn();
    let end = Instant::now() + Duration::from_secs(30);
    while !bundle.join("rootfs/mnt/started").exists() {
        assert!(Instant::now() < end, "never started");
    }
    let id = serde_json::from_str::<Value>(t.mote(["list", "-f", "json"]).run().ok()).unwrap()[0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    t.verb("kill", &id).ok();
    assert_eq!(run.wait().code(), 7);
}

#[test]
fn delete_force_kills_every_process_of_the_container() {
    let t = Test::new();
    let id = t.detached(&spec(&["sh", "-c", "sleep 1000 & sleep 1000 & setsid sleep 1000 & wait"]));
    let pid = t.pid(&id);
    t.mote(["delete", "--force", &id]).run().ok();
    t.assert_nothing_left();
    common::reap(pid);
}

#[test]
fn config_is_read_at_create_only() {
    let t = Test::new();
    let mut config = spec(&["sh", "-c", "echo first"]);
    config["root"]["readonly"] = json!(false);
    let bundle = t.bundle("b", &config);
    config["process"]["args"] = json!(["sh", "-c", "touch /mnt/second"]);
    let id = t.create(&bundle);
    common::write_config(&bundle, &config);
    t.verb("start", &id).ok();
    t.wait_status(&id, "stopped");
    assert!(!bundle.join("rootfs/mnt/second").exists());
}

#[test]
fn the_bundle_may_be_gone_when_the_container_is_deleted() {
    let t = Test::new();
    let bundle = t.bundle("b", &spec(&["true"]));
    let id = t.create(&bundle);
    t.verb("start", &id).ok();
    t.wait_status(&id, "stopped");
    fs::remove_dir_all(&bundle).unwrap();
    t.verb("delete", &id).ok();
    t.assert_gone(&id);
}

#[test]
fn kill_and_delete_take_a_regular_expression_as_crun_does() {
    mote_only!("crun's option");
    let t = Test::new();
    let bundle = t.bundle("b", &spec(&["sleep", "100"]));
    let ids: Vec<String> = (0..3).map(|_| t.create(&bundle)).collect();
    let pids: Vec<_> = ids.iter().map(|id| t.pid(id)).collect();
    t.verb("start", &ids[0]).ok();
    let status = || ids.iter().map(|id| t.status(id)).collect::<Vec<_>>();
    // The third alone, then the first two, one of which is killed already: a warning.
    t.mote(["kill", "--regex", &format!("^{}$", ids[2].replace('.', "\\.")), "KILL"]).run().ok();
    t.wait_status(&ids[2], "stopped");
    assert_eq!(status(), ["running", "created", "stopped"]);
    let out = t.mote(["kill", "-r", "^mt.*[.][02]$", "9"]).run();
    out.ok();
    assert!(out.stderr.contains(&format!("warning: {}: container not running", ids[2])), "{out}");
    t.wait_status(&ids[0], "stopped");
    t.mote(["delete", "--regex", "nosuch"]).run().ok();
    assert_eq!(status(), ["stopped", "created", "stopped"]);
    t.mote(["delete", "-r", "[0-2]$"]).run().ok();
    for (id, pid) in ids.iter().zip(pids) {
        t.assert_gone(id);
        common::reap(pid);
    }
    t.mote(["kill", "--regex", "("]).run().fails_saying(&["--regex: a ( without its )"]);
}

#[test]
fn what_a_create_that_was_killed_left_half_made_is_told_and_removed() {
    mote_only!("the files are mote's");
    let t = Test::new();
    for (name, files) in [
        ("empty", &[][..]),
        ("unnamed", &[(".state.json", "{")]),
        ("socket", &[("start.sock", "")]),
        ("hooks", &[("config.json", "{}")]),
    ] {
        let id = t.id();
        let dir = t.root.join(&id);
        let make = || {
            fs::create_dir(&dir).unwrap();
            files.iter().for_each(|(file, text)| fs::write(dir.join(file), text).unwrap());
        };
        make();
        for verb in ["state", "start", "kill"] {
            t.verb(verb, &id).fails_saying(&["does not exist"]);
        }
        assert_eq!(t.mote(["list", "-f", "json"]).run().ok(), "null\n", "{name}");
        // The id is free again once somebody has deleted it.
        t.verb("delete", &id).fails_saying(&["does not exist"]);
        assert!(!dir.exists(), "{name}");
        make();
        t.mote(["delete", "--force", &id]).run().ok();
        assert!(!dir.exists(), "{name}");
    }
    // A state that cannot be read is told by its file, and removed by force alone.
    for text in ["", "{", "[]", "{\"id\": 5}", "{\"id\": \"../x\", \"pid\": 1}"] {
        let id = t.id();
        let dir = t.root.join(&id);
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("state.json"), text).unwrap();
        t.verb("state", &id).fails();
        t.verb("delete", &id).fails();
        assert!(dir.exists());
        t.mote(["delete", "--force", &id]).run().ok();
        assert!(!dir.exists());
    }
}

#[test]
fn a_full_disk_and_a_read_only_one_are_one_line_and_leave_nothing() {
    let t = Test::new();
    let bundle = t.bundle("b", &spec(&["sleep", "100"]));
    let state = t.dir.join("state");
    fs::create_dir(&state).unwrap();
    for (options, fill, words) in [
        // Root, the container's directory, no file.
        ("size=4k,nr_inodes=3", true, "no space left on device"),
        ("size=4k,nr_inodes=2", true, "no space left on device"),
        ("ro", false, "read-only file system"),
    ] {
        let fill = if fill {
            format!("dd if=/dev/zero of={0}/full bs=4k 2>/dev/null; rm -f {0}/x;", state.display())
        } else {
            String::new()
        };
        let code = format!("mount -t tmpfs -o {options} none {0} && {fill} true", state.display());
        let count = format!("ls -A {} | grep -v full", state.display());
        let id = t.id();
        let mote = t.bare().arg("--root").arg(&state).args(["create", "-b"]).arg(&bundle).arg(&id);
        let out = mote
            .under(["bash", "-c", &format!("{code}; \"$@\"; status=$?; {count}; exit $status"), "bash"])
            .under(["unshare", "-m"])
            .run();
        let line = out.fails().to_lowercase();
        assert!(line.contains(words), "{options}: {out}");
        if common::is_mote() {
            assert_eq!(out.stdout, "", "{options}: left behind: {out}");
        }
    }
}

#[test]
fn delete_and_start_twice_at_once_do_their_work_once() {
    mote_only!("runc 1.1 locks nothing");
    let t = Test::new();
    let bundle = t.bundle("b", &spec(&["sleep", "100"]));
    let id = t.create(&bundle);
    let pid = t.pid(&id);
    let starts: Vec<_> = (0..8).map(|_| t.mote(["start", &id]).spawn()).collect();
    let ends: Vec<_> = starts.into_iter().map(|start| start.wait()).collect();
    assert_eq!(ends.iter().filter(|out| out.code() == 0).count(), 1);
    for out in ends.iter().filter(|out| out.code() != 0) {
        out.fails_saying(&["cannot start an already running container"]);
    }
    t.mote(["kill", &id, "KILL"]).run().ok();
    t.wait_status(&id, "stopped");
    let deletes: Vec<_> = (0..8).map(|_| t.mote(["delete", &id]).spawn()).collect();
    let ends: Vec<_> = deletes.into_iter().map(|delete| delete.wait()).collect();
    assert_eq!(ends.iter().filter(|out| out.code() == 0).count(), 1);
    for out in ends.iter().filter(|out| out.code() != 0) {
        out.fails_saying(&["does not exist"]);
    }
    common::reap(pid);
}

#[test]
fn a_container_that_is_kept_is_there_after_its_run() {
    let t = Test::new();
    let bundle = t.bundle("b", &spec(&["sh", "-c", "exit 4"]));
    let id = t.id();
    let run = t.mote(["run", "--keep", "-b"]).arg(&bundle).arg(&id).run();
    assert_eq!(run.code(), 4);
    assert_eq!(t.status(&id), "stopped");
    t.verb("delete", &id).ok();
    t.assert_gone(&id);
}

#[test]
fn the_session_keyring_is_new_unless_the_caller_s_is_asked_for() {
    if !std::path::Path::new("/proc/keys").exists() {
        return common::skipped("this kernel has no /proc/keys");
    }
    let t = Test::new();
    let mut config = spec(&["cat", "/proc/keys"]);
    config["linux"]["maskedPaths"] = json!([]);
    // Nobody else is this user, who sees of root's keyrings those alone that are in the own session.
    config["process"]["user"] = json!({"uid": 54321, "gid": 54321});
    let bundle = t.bundle("b", &config);
    let run = |option: &[&str]| {
        let out = t.mote(["run"]).args(option).arg("-b").arg(&bundle).arg(t.id()).run();
        let keyrings = out.ok().lines().filter(|line| line.contains(" _ses"));
        keyrings.map(|line| line[..8].to_owned()).collect::<Vec<_>>()
    };
    let (first, second) = (run(&[]), run(&[]));
    assert!(!first.is_empty() && first != second, "the caller's: {first:?} {second:?}");
    let kept = run(&["--no-new-keyring"]);
    assert_eq!(kept, run(&["--no-new-keyring"]), "a new one each time");
    assert!(kept != first && kept != second);
}

#[test]
fn ps_lists_the_processes_of_a_container() {
    let t = Test::new();
    let id = t.detached(&spec(&["sh", "-c", "sleep 1004 & sleep 1005 & wait"]));
    let pid = t.pid(&id).as_raw();
    let pids = || -> Vec<i32> {
        let out = t.mote(["ps", "--format", "json", &id]).run();
        let text = out.ok();
        assert!(text.starts_with('[') && text.ends_with("]\n") && text.lines().count() == 1, "{text}");
        serde_json::from_str(text).unwrap()
    };
    let end = Instant::now() + Duration::from_secs(20);
    while pids().len() < 3 {
        assert!(Instant::now() < end, "{:?}", pids());
    }
    let all = pids();
    assert!(all.contains(&pid) && all.len() == 3, "{pid}: {all:?}");
    for pid in &all {
        assert!(fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap().contains(&id), "{pid}");
    }
    if common::is_mote() {
        let table = t.mote(["ps", &id]).run().ok().to_owned();
        let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!((rows.len(), &rows[0][..3]), (4, &["UID", "PID", "PPID"][..]), "{table}");
        assert!(table.contains("sleep 1004\n") && table.contains("sleep 1005\n"), "{table}");
        assert!(
            rows[1..].iter().all(|row| row[0] == "0" && all.contains(&row[1].parse().unwrap())),
            "{table}"
        );
        t.mote(["ps", "-f", "xml", &id]).run().fails_saying(&["--format"]);
        t.mote(["ps", &id, "-o", "comm"]).run().fails_saying(&["PID"]);
        assert_eq!(t.mote(["ps", &id, "--nonsense"]).run().code(), 1);
        assert_eq!(t.mote(["ps", &id, "--format", "json"]).run().ok().matches(',').count(), 2);
    }
    // By ps(1), as under runc; crun 1.8 has no such arguments.
    for options in [&["aux"][..], &["-eo", "pid,args"], &["-e", "-f"]] {
        let out = t.mote(["ps", id.as_str()]).args(options).run();
        let rows: Vec<&str> = out.ok().lines().collect();
        assert!(rows.len() == 4 && rows[0].contains("PID"), "{options:?}: {out}");
        assert_eq!(rows[1..].iter().filter(|row| row.contains("sleep 100")).count(), 3, "{out}");
    }
    t.mote(["kill", &id, "KILL"]).run().ok();
    t.wait_status(&id, "stopped");
    assert_eq!(t.mote(["ps", "-f", "json", &id]).run().ok(), "null\n");
    t.mote(["ps", "-f", "json", "nobody"]).run().fails_saying(&["does not exist"]);
}
