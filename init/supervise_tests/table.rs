//! Kubernetes' published semantics, row by row: what is claimed, a manifest in short ([`Sim::new`]), and a script.
//!
//! A script is a list of `time event >action ... check=value ...` with times in seconds. Each action that is to be asked of the
//! kernel stands at its time and in its order; an action that is missing, late, early or too many fails the row. (The
//! removal of what an ended container leaves, `forget`, only counts in rows that name it.)
//!
//! Sources: kubernetes.io, "Pod Lifecycle", "Init Containers", "Sidecar Containers", "Configure Liveness, Readiness and Startup
//! Probes", "Container Lifecycle Hooks"; where those are silent, kubelet's sources: kuberuntime_manager.go
//! (computePodActions), kuberuntime_container.go (killContainer), prober/worker.go, kubelet_pods.go (getPhase).

use super::*;

type Row = (&'static str, &'static str, &'static str);

/// "Container restart policy": Always, OnFailure and Never; "Pod phase".
const POLICY: &[Row] = &[
    ("a pod is pending before it may run", "Always; main a", "0 phase=Pending a=waiting pod=unready"),
    (
        "a pod is pending while its container is being started",
        "Always; main a",
        "0 begin >start a phase=Pending a=starting",
    ),
    (
        "a pod runs when its container does",
        "Always; main a",
        "0 begin >start a; 1 up a phase=Running pod=ready",
    ),
    (
        "Always restarts after success",
        "Always; main a",
        "0 begin >start a; 0 up a; 9 exit a 0 >start a phase=Running",
    ),
    (
        "Always restarts after a failure",
        "Always; main a",
        "0 begin >start a; 0 up a; 9 exit a 1 >start a phase=Running",
    ),
    (
        "Always restarts after a signal",
        "Always; main a",
        "0 begin >start a; 0 up a; 9 signal a 9 >start a phase=Running",
    ),
    (
        "OnFailure leaves success at that",
        "OnFailure; main a",
        "0 begin >start a; 0 up a; 9 exit a 0 >forget a a=done phase=Succeeded",
    ),
    (
        "OnFailure restarts after a failure",
        "OnFailure; main a",
        "0 begin >start a; 0 up a; 9 exit a 1 >start a phase=Running",
    ),
    (
        "OnFailure restarts after a signal",
        "OnFailure; main a",
        "0 begin >start a; 0 up a; 9 signal a 15 >start a phase=Running",
    ),
    (
        "OnFailure succeeds on a later try",
        "OnFailure; main a",
        "0 begin >start a; 0 up a; 1 exit a 1 >start a; 1 up a; 2 exit a 0 phase=Succeeded; 999 a=done",
    ),
    (
        "Never leaves success at that",
        "Never; main a",
        "0 begin >start a; 0 up a; 9 exit a 0 phase=Succeeded; 999 a=done",
    ),
    (
        "Never leaves a failure at that",
        "Never; main a",
        "0 begin >start a; 0 up a; 9 exit a 1 >forget a phase=Failed; 999 a=done",
    ),
    (
        "Never leaves a signal at that",
        "Never; main a",
        "0 begin >start a; 0 up a; 9 signal a 11 phase=Failed; 999 a=done",
    ),
    (
        "an exit code of 255 is a failure",
        "OnFailure; main a",
        "0 begin >start a; 0 up a; 9 exit a 255 >start a",
    ),
    ("all containers begin together", "Always; main a; main b; main c", "0 begin >start a >start b >start c"),
    (
        "a pod is pending while one of its containers has not run",
        "Always; main a; main b",
        "0 begin >start a >start b; 1 up a phase=Pending; 2 up b phase=Running",
    ),
    (
        "containers restart one by one",
        "Always; main a; main b",
        "0 begin >start a >start b; 1 up a; 1 up b; 5 exit b 1 >start b a=up phase=Running",
    ),
    (
        "one container done, one running: Running",
        "Never; main a; main b",
        "0 begin >start a >start b; 1 up a; 1 up b; 2 exit a 0 phase=Running b=up",
    ),
    (
        "one container failed, one running: Running",
        "Never; main a; main b",
        "0 begin >start a >start b; 1 up a; 1 up b; 2 exit a 1 phase=Running b=up",
    ),
    (
        "all done, one with a failure: Failed",
        "Never; main a; main b",
        "0 begin >start a >start b; 1 up a; 1 up b; 2 exit a 1; 3 exit b 0 phase=Failed",
    ),
    (
        "all done with success: Succeeded",
        "Never; main a; main b",
        "0 begin >start a >start b; 1 up a; 1 up b; 2 exit a 0; 3 exit b 0 phase=Succeeded",
    ),
    (
        "OnFailure: one done, one between two tries: Running",
        "OnFailure; main a; main b",
        "0 begin >start a >start b; 0 up a; 0 up b; 1 exit a 0; 2 exit b 1 >start b; 2 up b; 3 exit b 1 b=backoff phase=Running; 4 >start b",
    ),
    (
        "a pod with a container that is done is not ready",
        "Never; main a; main b",
        "0 begin >start a >start b; 0 up a; 0 up b pod=ready; 1 exit a 0 pod=unready",
    ),
];

/// "How Pods handle problems with containers": the back-off delay.
const BACK_OFF: &[Row] = &[
    (
        "the first restart is immediate, the second waits",
        "Always; main a",
        "0 begin >start a; 0 up a; 5 exit a 1 >start a; 5 up a; 6 exit a 1 a=backoff; 7 >start a a=starting",
    ),
    (
        "the delay doubles",
        "Always; main a",
        "0 begin >start a; 0 up a; 0 exit a 1 >start a; 0 up a; 0 exit a 1; 1 >start a; 1 up a; 1 exit a 1; 3 >start a; 3 up a; 3 exit a 1; 7 >start a; 7 up a; 7 exit a 1; 15 >start a",
    ),
    (
        "the delay ends at its greatest",
        "Always max=3; main a",
        "0 begin >start a; 0 up a; 0 exit a 1 >start a; 0 up a; 0 exit a 1; 1 >start a; 1 up a; 1 exit a 1; 3 >start a; 3 up a; 3 exit a 1; 6 >start a; 6 up a; 6 exit a 1; 9 >start a",
    ),
    (
        "a long run makes the next restart immediate",
        "Always reset=600; main a",
        "0 begin >start a; 0 up a; 0 exit a 1 >start a; 0 up a; 600 exit a 1 >start a",
    ),
    (
        "a run a moment too short does not",
        "Always reset=600; main a",
        "0 begin >start a; 0 up a; 0 exit a 1 >start a; 0 up a; 599.999 exit a 1 a=backoff; 600.999 >start a",
    ),
    (
        "after a long run the delay starts over",
        "Always reset=10; main a",
        "0 begin >start a; 0 up a; 0 exit a 1 >start a; 0 up a; 0 exit a 1; 1 >start a; 1 up a; 1 exit a 1; 3 >start a; 3 up a; 13 exit a 1 >start a; 13 up a; 13 exit a 1; 14 >start a",
    ),
    (
        "time in back-off is no uptime",
        "Always initial=100 reset=10; main a",
        "0 begin >start a; 0 up a; 0 exit a 1 >start a; 0 up a; 0 exit a 1; 100 >start a; 100 up a; 101 exit a 1; 300 a=backoff; 301 >start a",
    ),
    (
        "time in a starter is no uptime",
        "Always reset=10; main a",
        "0 begin >start a; 20 up a; 20 exit a 1 >start a; 40 up a; 41 exit a 1 a=backoff; 42 >start a",
    ),
    (
        "the initial delay is tunable",
        "Always initial=0.05; main a",
        "0 begin >start a; 0 up a; 0 exit a 1 >start a; 0 up a; 0 exit a 1; 0.05 >start a; 0.05 up a; 0.05 exit a 1; 0.15 >start a",
    ),
    (
        "success under Always backs off like a failure",
        "Always; main a",
        "0 begin >start a; 0 up a; 1 exit a 0 >start a; 1 up a; 2 exit a 0 a=backoff; 3 >start a",
    ),
    (
        "a container that cannot be started is tried again under Always",
        "Always; main a",
        "0 begin >start a; 1 nostart a a=backoff phase=Pending; 2 >start a; 2 nostart a; 4 >start a",
    ),
    ("under OnFailure too", "OnFailure; main a", "0 begin >start a; 1 nostart a a=backoff; 2 >start a"),
    (
        "and under Never",
        "Never; main a",
        "0 begin >start a; 1 nostart a a=backoff phase=Pending; 2 >start a; 2 up a phase=Running",
    ),
    (
        "containers back off one by one",
        "Always; main a; main b",
        "0 begin >start a >start b; 0 up a; 0 up b; 1 exit a 1 >start a; 1 up a; 1 exit a 1; 1.5 exit b 1 >start b; 2 >start a",
    ),
    (
        "a starter that hangs is killed after a minute",
        "Always; main a",
        "0 begin >start a; 60 >killstarter a; 60 nostart a a=backoff; 61 >start a",
    ),
    (
        "what a killed starter has started counts",
        "Always; main a",
        "0 begin >start a; 60 >killstarter a; 60 up a a=up; 900 a=up",
    ),
];

/// "Init Containers": "Detailed behavior".
const INIT: &[Row] = &[
    (
        "init containers come before the others",
        "Always; init i; main a",
        "0 begin >start i; 0 up i a=waiting phase=Pending",
    ),
    (
        "the container begins when the init container has succeeded",
        "Always; init i; main a",
        "0 begin >start i; 0 up i; 5 exit i 0 >start a i=done; 6 up a phase=Running",
    ),
    (
        "init containers run one after the other",
        "Always; init i; init j; main a",
        "0 begin >start i; 0 up i j=waiting; 5 exit i 0 >start j a=waiting; 5 up j; 9 exit j 0 >start a",
    ),
    (
        "all containers begin after the last init container",
        "Always; init i; main a; main b",
        "0 begin >start i; 0 up i; 5 exit i 0 >start a >start b",
    ),
    (
        "an init container that fails is tried again under Always",
        "Always; init i; main a",
        "0 begin >start i; 0 up i; 1 exit i 1 >start i a=waiting phase=Pending; 1 up i; 2 exit i 0 >start a",
    ),
    (
        "and under OnFailure",
        "OnFailure; init i; main a",
        "0 begin >start i; 0 up i; 1 exit i 1 >start i phase=Pending; 1 up i; 2 exit i 0 >start a",
    ),
    (
        "under Never it fails the pod",
        "Never; init i; main a",
        "0 begin >start i; 0 up i; 1 exit i 1 phase=Failed a=done; 999 i=done",
    ),
    (
        "under Never the next init container does not run either",
        "Never; init i; init j; main a",
        "0 begin >start i; 0 up i; 1 exit i 2 phase=Failed j=done a=done",
    ),
    (
        "under Never the second one can fail the pod",
        "Never; init i; init j; main a",
        "0 begin >start i; 0 up i; 1 exit i 0 >start j; 1 up j; 2 signal j 9 phase=Failed a=done",
    ),
    (
        "under Never init containers that succeed let the pod run",
        "Never; init i; main a",
        "0 begin >start i; 0 up i; 1 exit i 0 >start a; 1 up a; 2 exit a 0 phase=Succeeded",
    ),
    (
        "Always does not restart an init container that succeeded",
        "Always; init i; main a",
        "0 begin >start i; 0 up i; 1 exit i 0 >start a; 1 up a; 999 i=done phase=Running",
    ),
    (
        "a restart of a container does not repeat the init containers",
        "Always; init i; main a",
        "0 begin >start i; 0 up i; 1 exit i 0 >start a; 1 up a; 2 exit a 1 >start a i=done i.runs=1",
    ),
    (
        "init containers back off as others do",
        "Always; init i; main a",
        "0 begin >start i; 0 up i; 0 exit i 1 >start i; 0 up i; 0 exit i 1 i=backoff; 1 >start i; 1 up i; 1 exit i 1; 3 >start i",
    ),
    (
        "an init container that cannot be started holds up the rest, under Never as well",
        "Never; init i; main a",
        "0 begin >start i; 0 nostart i phase=Pending; 1 >start i; 1 up i; 2 exit i 0 >start a",
    ),
    (
        "a pod with init containers is not ready before its containers are",
        "Always; init i; main a",
        "0 begin >start i; 0 up i pod=unready; 1 exit i 0 >start a pod=unready; 1 up a pod=ready",
    ),
    (
        "a pod that is stopped during init runs nothing more",
        "Always; init i; init j; main a",
        "0 begin >start i; 0 up i; 1 stop 30 >term i j=done a=done; 2 exit i 0 i=done; 99 a=done",
    ),
    (
        "a pod stopped while an init container backs off is done at once",
        "Always; init i; main a",
        "0 begin >start i; 0 up i; 0 exit i 1 >start i; 0 up i; 0 exit i 1; 0.5 stop 30 i=done a=done; 99 i=done",
    ),
];

/// "Sidecar Containers"; KEP 753.
const SIDECAR: &[Row] = &[
    (
        "a sidecar starts before the containers, which wait for it",
        "Always; sidecar s; main a",
        "0 begin >start s a=waiting phase=Pending; 1 up s >start a; 2 up a phase=Running pod=ready",
    ),
    (
        "sidecars start in order",
        "Always; sidecar s; sidecar t; main a",
        "0 begin >start s; 1 up s >start t; 2 up t >start a",
    ),
    (
        "a sidecar does not hold up init containers once started",
        "Always; sidecar s; init i; main a",
        "0 begin >start s; 1 up s >start i; 1 up i s=up; 2 exit i 0 >start a s=up",
    ),
    (
        "an init container before a sidecar comes first",
        "Always; init i; sidecar s; main a",
        "0 begin >start i; 0 up i s=waiting; 1 exit i 0 >start s; 1 up s >start a",
    ),
    (
        "the next one waits for a sidecar's startup probe",
        "Always; sidecar s startup:p5; main a",
        "0 begin >start s; 0 up s >run s.startup a=waiting phase=Pending; 0.5 bad s.startup; 5 >run s.startup; 5.5 ok s.startup >start a",
    ),
    (
        "and for its postStart hook",
        "Always; sidecar s post; main a",
        "0 begin >start s; 0 up s >run s.post a=waiting; 3 ok s.post >start a",
    ),
    (
        "but not for its readiness",
        "Always; sidecar s ready:p5; main a",
        "0 begin >start s; 0 up s >start a >run s.ready; 0 up a pod=unready; 0 ok s.ready pod=ready",
    ),
    (
        "a sidecar that is not ready makes the pod unready",
        "Always; sidecar s ready:p5,f1; main a",
        "0 begin >start s; 0 up s >start a >run s.ready; 0 up a; 0.5 ok s.ready pod=ready; 5 >run s.ready; 5.5 bad s.ready pod=unready a=up",
    ),
    (
        "a sidecar is restarted after success",
        "Always; sidecar s; main a",
        "0 begin >start s; 0 up s >start a; 0 up a; 5 exit s 0 >start s a=up phase=Running",
    ),
    (
        "a sidecar is restarted under Never",
        "Never; sidecar s; main a",
        "0 begin >start s; 0 up s >start a; 0 up a; 5 exit s 1 >start s a=up phase=Running",
    ),
    (
        "a sidecar is restarted under OnFailure after success",
        "OnFailure; sidecar s; main a",
        "0 begin >start s; 0 up s >start a; 0 up a; 5 exit s 0 >start s",
    ),
    (
        "a sidecar backs off as others do",
        "Never; sidecar s; main a",
        "0 begin >start s; 0 up s >start a; 0 up a; 1 exit s 1 >start s; 1 up s; 1 exit s 1 s=backoff a=up phase=Running; 2 >start s",
    ),
    (
        "a sidecar that dies before it has started holds up the rest",
        "Never; sidecar s startup:p5; main a",
        "0 begin >start s; 0 up s >run s.startup; 0.5 exit s 1 >end s.startup >start s a=waiting phase=Pending; 1 up s >run s.startup; 1.5 ok s.startup >start a",
    ),
    (
        "a sidecar that dies during a later init container does not hold it up",
        "Always; sidecar s; init i; main a",
        "0 begin >start s; 0 up s >start i; 0 up i; 1 exit s 1 >start s i=up; 2 exit i 0 >start a",
    ),
    (
        "when the containers are done a sidecar is ended, and its exit code does not count",
        "Never; sidecar s; main a",
        "0 begin >start s; 0 up s >start a; 0 up a; 5 exit a 0 >term s phase=Running; 6 signal s 15 s=done phase=Succeeded; 99 s=done",
    ),
    (
        "a failure of the container fails the pod whatever the sidecar says",
        "Never; sidecar s; main a",
        "0 begin >start s; 0 up s >start a; 0 up a; 5 exit a 3 >term s; 6 exit s 0 phase=Failed",
    ),
    (
        "a sidecar is not restarted when the pod is over",
        "OnFailure; sidecar s; main a",
        "0 begin >start s; 0 up s >start a; 0 up a; 5 exit a 0 >term s; 6 exit s 1 s=done; 99 s=done",
    ),
    (
        "a sidecar that backs off when the pod is over is done",
        "Never; sidecar s; main a",
        "0 begin >start s; 0 up s >start a; 0 up a; 1 exit s 1 >start s; 1 up s; 1 exit s 1; 1.5 exit a 0 s=done phase=Succeeded; 99 s=done",
    ),
    (
        "sidecars end in reverse order",
        "Never; sidecar s; sidecar t; main a",
        "0 begin >start s; 0 up s >start t; 0 up t >start a; 0 up a; 5 exit a 0 >term t s=stopping; 6 exit t 0 >term s; 7 exit s 0 phase=Succeeded",
    ),
    (
        "a sidecar that does not end in time is killed",
        "Never grace=10; sidecar s; main a",
        "0 begin >start s; 0 up s >start a; 0 up a; 5 exit a 0 >term s; 15 >kill s; 15 signal s 9 phase=Succeeded",
    ),
    (
        "a stop ends the containers first, then the sidecars in reverse order",
        "Always; sidecar s; sidecar t; main a; main b",
        "0 begin >start s; 0 up s >start t; 0 up t >start a >start b; 0 up a; 0 up b; 5 stop 30 >term b >term a; 6 exit a 0 t=stopping; 7 exit b 0 >term t; 8 exit t 0 >term s; 9 exit s 0 s=done",
    ),
    (
        "all of them within one grace period",
        "Always; sidecar s; main a",
        "0 begin >start s; 0 up s >start a; 0 up a; 5 stop 10 >term a; 12 exit a 0 >term s; 15 >kill s; 15 signal s 9",
    ),
    (
        "with two seconds for SIGTERM at least",
        "Always; sidecar s; main a",
        "0 begin >start s; 0 up s >start a; 0 up a; 5 stop 10 >term a; 14.5 exit a 0 >term s; 16.5 >kill s",
    ),
    (
        "a container that does not end in time takes the sidecars' turn",
        "Always; sidecar s; main a",
        "0 begin >start s; 0 up s >start a; 0 up a; 5 stop 10 >term a; 15 >term s >kill a; 17 >kill s",
    ),
    (
        "a sidecar's preStop hook runs at once, its SIGTERM waits for its turn",
        "Always; sidecar s pre; main a",
        "0 begin >start s; 0 up s >start a; 0 up a; 5 stop 30 >term a >run s.pre; 6 ok s.pre s=stopping; 7 exit a 0 >term s",
    ),
    (
        "a sidecar's turn waits for its preStop hook",
        "Always; sidecar s pre; main a",
        "0 begin >start s; 0 up s >start a; 0 up a; 5 stop 30 >term a >run s.pre; 6 exit a 0 s=stopping; 9 ok s.pre >term s",
    ),
    (
        "under Never an init container that fails ends the sidecars",
        "Never; sidecar s; init i; main a",
        "0 begin >start s; 0 up s >start i; 0 up i; 1 exit i 1 >term s a=done; 2 exit s 0 phase=Failed",
    ),
    (
        "during init a stop ends init container and sidecar together: only containers and sidecars are waited for",
        "Always; sidecar s; init i; main a",
        "0 begin >start s; 0 up s >start i; 0 up i; 5 stop 30 >term i >term s a=done; 6 exit s 0 s=done; 7 exit i 0 i=done; 99 a=done",
    ),
    (
        "during init sidecars still end in reverse order",
        "Always; sidecar s; sidecar t; init i; main a",
        "0 begin >start s; 0 up s >start t; 0 up t >start i; 0 up i; 5 stop 30 >term i >term t s=stopping; 6 exit i 0; 7 exit t 0 >term s; 8 exit s 0 s=done",
    ),
    (
        "a stop before a sidecar has started runs nothing more",
        "Always; sidecar s startup:p5; main a",
        "0 begin >start s; 0 up s >run s.startup; 1 stop 30 >end s.startup >term s a=done; 2 exit s 0 s=done; 99 a=done",
    ),
    (
        "a sidecar whose startup probe fails is restarted, and the rest goes on waiting",
        "Never; sidecar s startup:p5,f1; main a",
        "0 begin >start s; 0 up s >run s.startup; 0.5 bad s.startup >term s; 1 exit s 143 >start s a=waiting phase=Pending; 1 up s >run s.startup; 1.5 ok s.startup >start a",
    ),
    (
        "a sidecar that is restarted goes through its startup probe again, and the pod does not become pending for it",
        "Always; sidecar s startup:p5; main a",
        "0 begin >start s; 0 up s >run s.startup; 0.5 ok s.startup >start a; 0.5 up a pod=ready; 9 exit s 0 >start s; 9 up s >run s.startup a=up pod=unready phase=Running; 9.5 ok s.startup pod=ready",
    ),
    (
        "a sidecar that is restarted runs its postStart hook again",
        "Always; sidecar s post; main a",
        "0 begin >start s; 0 up s >run s.post; 1 ok s.post >start a; 1 up a; 9 exit s 0 >start s; 9 up s >run s.post a=up",
    ),
    (
        "a sidecar whose postStart hook fails is restarted before anything follows",
        "Always; sidecar s post; main a",
        "0 begin >start s; 0 up s >run s.post; 1 bad s.post >term s a=waiting; 2 exit s 0 >start s; 2 up s >run s.post; 3 ok s.post >start a",
    ),
    (
        "the containers begin though a sidecar that had started is between two runs",
        "Always; sidecar s; init i; main a",
        "0 begin >start s; 0 up s >start i; 0 up i; 1 exit s 1 >start s; 1 up s; 1 exit s 1 s=backoff; 1.5 exit i 0 >start a s=backoff; 2 >start s",
    ),
    (
        "a restart of a container leaves the sidecars alone",
        "OnFailure; sidecar s; main a",
        "0 begin >start s; 0 up s >start a; 0 up a; 5 exit a 1 >start a s=up s.runs=1 phase=Running",
    ),
    (
        "sidecars run on until the last container is done",
        "OnFailure; sidecar s; main a; main b",
        "0 begin >start s; 0 up s >start a >start b; 0 up a; 0 up b; 5 exit a 0 s=up phase=Running; 6 exit b 0 >term s; 7 exit s 0 phase=Succeeded",
    ),
    (
        "when the pod is over a sidecar's preStop hook runs before its SIGTERM",
        "Never; sidecar s pre; main a",
        "0 begin >start s; 0 up s >start a; 0 up a; 5 exit a 0 >run s.pre; 6 ok s.pre >term s; 7 exit s 9 phase=Succeeded",
    ),
    (
        "a sidecar that fails again and again fails no pod",
        "Never; sidecar s; main a",
        "0 begin >start s; 0 up s >start a; 0 up a; 1 exit s 1 >start s; 1 up s; 1 exit s 1; 2 >start s; 2 up s; 2 exit s 1 phase=Running; 3 exit a 0 s=done phase=Succeeded",
    ),
    (
        "a sidecar that cannot be started holds up the rest",
        "Never; sidecar s; main a",
        "0 begin >start s; 0 nostart s a=waiting phase=Pending; 1 >start s; 1 up s >start a",
    ),
    (
        "an init container after a sidecar does not run again when that is restarted",
        "Always; sidecar s; init i; main a",
        "0 begin >start s; 0 up s >start i; 0 up i; 1 exit i 0 >start a; 1 up a; 5 exit s 0 >start s; 5 up s i=done i.runs=1 a.runs=1",
    ),
    (
        "a sidecar's liveness probe restarts it, under Never too",
        "Never; sidecar s live:p5,f1; main a",
        "0 begin >start s; 0 up s >start a >run s.live; 0 up a; 0.5 bad s.live >term s; 2 exit s 0 >start s a=up",
    ),
];

/// "Configure Liveness, Readiness and Startup Probes"; "Container probes".
const PROBES: &[Row] = &[
    (
        "a container without probes is started and ready once it runs",
        "Always; main a",
        "0 begin >start a; 0 up a a.started=true a.ready=true",
    ),
    // readiness
    (
        "with a readiness probe it is not ready at first",
        "Always; main a ready:p5",
        "0 begin >start a; 0 up a >run a.ready a.ready=false a.started=true phase=Running pod=unready",
    ),
    (
        "one success makes it ready",
        "Always; main a ready:p5",
        "0 begin >start a; 0 up a >run a.ready; 0.5 ok a.ready a.ready=true pod=ready",
    ),
    (
        "the probe is repeated each period, counted from begin to begin",
        "Always; main a ready:p5",
        "0 begin >start a; 0 up a >run a.ready; 0.9 ok a.ready; 5 >run a.ready; 5.5 ok a.ready; 10 >run a.ready",
    ),
    (
        "the default period is ten seconds",
        "Always; main a ready",
        "0 begin >start a; 0 up a >run a.ready; 0.9 ok a.ready; 10 >run a.ready",
    ),
    (
        "the initial delay counts from the container's start",
        "Always; main a ready:d7,p5",
        "0 begin >start a; 3 up a; 10 >run a.ready; 10 ok a.ready; 15 >run a.ready",
    ),
    (
        "successThreshold successes in a row make it ready",
        "Always; main a ready:p5,s3",
        "0 begin >start a; 0 up a >run a.ready; 0 ok a.ready a.ready=false; 5 >run a.ready; 5 ok a.ready a.ready=false; 10 >run a.ready; 10 ok a.ready a.ready=true",
    ),
    (
        "a failure between them starts the count over",
        "Always; main a ready:p5,s2",
        "0 begin >start a; 0 up a >run a.ready; 0 ok a.ready; 5 >run a.ready; 5 bad a.ready; 10 >run a.ready; 10 ok a.ready a.ready=false; 15 >run a.ready; 15 ok a.ready a.ready=true",
    ),
    (
        "failureThreshold failures in a row make it unready",
        "Always; main a ready:p5,f2",
        "0 begin >start a; 0 up a >run a.ready; 0 ok a.ready; 5 >run a.ready; 5 bad a.ready a.ready=true; 10 >run a.ready; 10 bad a.ready a.ready=false",
    ),
    (
        "the default failureThreshold is three",
        "Always; main a ready:p5",
        "0 begin >start a; 0 up a >run a.ready; 0 ok a.ready; 5 >run a.ready; 5 bad a.ready; 10 >run a.ready; 10 bad a.ready a.ready=true; 15 >run a.ready; 15 bad a.ready a.ready=false",
    ),
    (
        "readiness never ends a container",
        "Always; main a ready:p1,f1",
        "0 begin >start a; 0 up a >run a.ready; 0 bad a.ready a=up; 1 >run a.ready; 1 bad a.ready a=up; 2 >run a.ready; 2 ok a.ready a.ready=true",
    ),
    (
        "a run that takes too long has failed and is ended",
        "Always; main a ready:p5,f1",
        "0 begin >start a; 0 up a >run a.ready; 0 ok a.ready; 5 >run a.ready; 5.999 a.ready=true; 6 >end a.ready a.ready=false; 10 >run a.ready",
    ),
    (
        "a run longer than the period puts the next one off",
        "Always; main a ready:p2,t10",
        "0 begin >start a; 0 up a >run a.ready; 5 ok a.ready >run a.ready; 6 ok a.ready; 7 >run a.ready",
    ),
    (
        "a run that could not be made says nothing",
        "Always; main a ready:p5,f1",
        "0 begin >start a; 0 up a >run a.ready; 0 ok a.ready; 5 >run a.ready; 5 unknown a.ready a.ready=true; 10 >run a.ready",
    ),
    (
        "a restarted container is not ready before its probe says so",
        "Always; main a ready:p5",
        "0 begin >start a; 0 up a >run a.ready; 0 ok a.ready a.ready=true; 1 exit a 1 >start a a.ready=false; 1 up a >run a.ready a.ready=false; 1 ok a.ready a.ready=true",
    ),
    (
        "one container that is not ready makes the pod unready",
        "Always; main a; main b ready:p5",
        "0 begin >start a >start b; 0 up a; 0 up b >run b.ready a.ready=true pod=unready",
    ),
    // liveness
    (
        "liveness is believed good at first",
        "Always; main a live:p5",
        "0 begin >start a; 0 up a >run a.live a.ready=true; 0.9 ok a.live; 5 >run a.live",
    ),
    (
        "fewer failures than failureThreshold change nothing",
        "Always; main a live:p5,f3",
        "0 begin >start a; 0 up a >run a.live; 0 bad a.live; 5 >run a.live; 5 bad a.live a=up; 10 >run a.live; 10 ok a.live; 15 >run a.live; 15 bad a.live; 20 >run a.live; 20 bad a.live a=up; 25 >run a.live",
    ),
    (
        "as many end the container with its grace, and it is restarted",
        "Always grace=20; main a live:p5,f2",
        "0 begin >start a; 0 up a >run a.live; 0 bad a.live; 5 >run a.live; 5 bad a.live >term a a=stopping; 6 signal a 15 >start a phase=Running",
    ),
    (
        "SIGKILL follows when the grace is over",
        "Always grace=20; main a live:p5,f1",
        "0 begin >start a; 0 up a >run a.live; 0 bad a.live >term a; 20 >kill a; 20 signal a 9 >start a",
    ),
    (
        "the probe's own grace counts before the pod's",
        "Always grace=20; main a live:p5,f1,g3",
        "0 begin >start a; 0 up a >run a.live; 0 bad a.live >term a; 3 >kill a",
    ),
    (
        "a container ended by its liveness probe is restarted under OnFailure even after success",
        "OnFailure; main a live:p5,f1",
        "0 begin >start a; 0 up a >run a.live; 0 bad a.live >term a; 1 exit a 0 >start a",
    ),
    (
        "under Never it is not, and the pod has failed",
        "Never; main a live:p5,f1",
        "0 begin >start a; 0 up a >run a.live; 0 bad a.live >term a; 1 signal a 15 a=done phase=Failed; 99 a=done",
    ),
    (
        "failures count from zero in the next run",
        "Always; main a live:p5,f2",
        "0 begin >start a; 0 up a >run a.live; 0 bad a.live; 1 exit a 1 >start a; 1 up a >run a.live; 1 bad a.live a=up; 6 >run a.live",
    ),
    (
        "a liveness probe that hangs counts as failed",
        "Always; main a live:p5,t2,f1",
        "0 begin >start a; 0 up a >run a.live; 2 >end a.live >term a; 3 signal a 9 >start a",
    ),
    (
        "restarts by liveness back off",
        "Always; main a live:p5,f1",
        "0 begin >start a; 0 up a >run a.live; 0 bad a.live >term a; 0 exit a 1 >start a; 0 up a >run a.live; 0 bad a.live >term a; 0 exit a 1 a=backoff; 1 >start a",
    ),
    (
        "readiness and liveness are independent",
        "Always; main a live:p5,f1 ready:p5,f1",
        "0 begin >start a; 0 up a >run a.ready >run a.live; 0 bad a.ready a=up; 0 ok a.live a.ready=false; 5 >run a.ready >run a.live; 5 ok a.ready a.ready=true",
    ),
    (
        "a container being ended is not ready and not probed",
        "Always; main a live:p5,f1 ready:p5,f1",
        "0 begin >start a; 0 up a >run a.ready >run a.live; 0 ok a.ready; 0 bad a.live >term a a.ready=false; 20 a.ready=false; 30 >kill a",
    ),
    (
        "a probe under way is ended with its container",
        "Always; main a live:p9,t5",
        "0 begin >start a; 0 up a >run a.live; 1 exit a 1 >end a.live >start a",
    ),
    // startup
    (
        "liveness and readiness wait for the startup probe",
        "Always; main a startup:p5 live:p5 ready:p5",
        "0 begin >start a; 0 up a >run a.startup a.started=false a.ready=false; 0.5 bad a.startup; 5 >run a.startup; 5.5 ok a.startup a.started=true; 5.5 >run a.ready >run a.live",
    ),
    (
        "without a readiness probe the container is ready when it has started",
        "Always; main a startup:p5",
        "0 begin >start a; 0 up a >run a.startup a.ready=false; 0.5 ok a.startup a.ready=true a.started=true",
    ),
    (
        "the startup probe is not run again once it succeeded",
        "Always; main a startup:p5",
        "0 begin >start a; 0 up a >run a.startup; 0.5 ok a.startup; 999 a=up",
    ),
    (
        "failureThreshold times periodSeconds is what a container has to start",
        "Always grace=9; main a startup:p10,f3",
        "0 begin >start a; 0 up a >run a.startup; 0 bad a.startup; 10 >run a.startup; 10 bad a.startup; 20 >run a.startup; 20 bad a.startup >term a; 21 exit a 0 >start a",
    ),
    (
        "the startup probe's own grace counts",
        "Always; main a startup:p10,f1,g4",
        "0 begin >start a; 0 up a >run a.startup; 0 bad a.startup >term a; 4 >kill a",
    ),
    (
        "a failed startup probe restarts under OnFailure even after success",
        "OnFailure; main a startup:p10,f1",
        "0 begin >start a; 0 up a >run a.startup; 0 bad a.startup >term a; 1 exit a 0 >start a",
    ),
    (
        "but not under Never",
        "Never; main a startup:p10,f1",
        "0 begin >start a; 0 up a >run a.startup; 0 bad a.startup >term a; 1 exit a 1 phase=Failed; 99 a=done",
    ),
    (
        "the next run is probed by the startup probe again",
        "Always; main a startup:p5 live:p5",
        "0 begin >start a; 0 up a >run a.startup; 0 ok a.startup; 0 >run a.live; 0 ok a.live; 1 exit a 1 >start a a.started=false; 1 up a >run a.startup a.started=false",
    ),
    (
        "the startup probe has its initial delay",
        "Always; main a startup:d3,p5",
        "0 begin >start a; 0 up a; 3 >run a.startup",
    ),
    (
        "a liveness delay that is over when startup succeeds adds nothing",
        "Always; main a startup:p5 live:d2,p5",
        "0 begin >start a; 0 up a >run a.startup; 0.5 bad a.startup; 5 >run a.startup; 5.5 ok a.startup; 5.5 >run a.live",
    ),
    (
        "a liveness delay that is not over is waited for",
        "Always; main a startup:p5 live:d20,p5",
        "0 begin >start a; 0 up a >run a.startup; 0.5 ok a.startup; 20 >run a.live",
    ),
    (
        "a startup probe that hangs counts as failed",
        "Always; main a startup:p10,f1,t3",
        "0 begin >start a; 0 up a >run a.startup; 3 >end a.startup >term a",
    ),
];

/// "Container Lifecycle Hooks"; "Termination of Pods".
const LIFECYCLE: &[Row] = &[
    (
        "postStart runs right after the start",
        "Always; main a post",
        "0 begin >start a; 1 up a >run a.post a=up a.started=false pod=unready; 3 ok a.post a.started=true pod=ready",
    ),
    (
        "a postStart hook that fails ends the container, which is restarted by policy",
        "Always grace=9; main a post",
        "0 begin >start a; 0 up a >run a.post; 1 bad a.post >term a; 2 signal a 15 >start a; 2 up a >run a.post",
    ),
    (
        "under Never it stays ended",
        "Never; main a post",
        "0 begin >start a; 0 up a >run a.post; 1 bad a.post >term a; 2 signal a 15 phase=Failed; 99 a=done",
    ),
    (
        "under OnFailure the exit code decides",
        "OnFailure; main a post",
        "0 begin >start a; 0 up a >run a.post; 1 bad a.post >term a; 2 exit a 0 phase=Succeeded; 99 a=done",
    ),
    (
        "a postStart hook that could not be run counts as failed",
        "Always; main a post",
        "0 begin >start a; 0 up a >run a.post; 0 unknown a.post >term a",
    ),
    (
        "probes wait for postStart",
        "Always; main a post live:p5",
        "0 begin >start a; 0 up a >run a.post; 9 ok a.post; 9 >run a.live",
    ),
    (
        "initial delays count from the start all the same",
        "Always; main a post live:d5,p5",
        "0 begin >start a; 0 up a >run a.post; 2 ok a.post; 5 >run a.live",
    ),
    (
        "postStart runs again after each restart",
        "Always; main a post",
        "0 begin >start a; 0 up a >run a.post; 1 ok a.post; 2 exit a 1 >start a; 2 up a >run a.post",
    ),
    (
        "a container that ends during postStart takes the hook with it",
        "Always; main a post",
        "0 begin >start a; 0 up a >run a.post; 1 exit a 1 >end a.post >start a",
    ),
    (
        "postStart has no limit of its own",
        "Always; main a post",
        "0 begin >start a; 0 up a >run a.post; 3600 a=up; 3600 ok a.post a.started=true",
    ),
    (
        "preStop comes before SIGTERM",
        "Always; main a pre",
        "0 begin >start a; 0 up a; 5 stop 30 >run a.pre a=stopping; 8 ok a.pre >term a; 9 exit a 0 >forget a a=done",
    ),
    (
        "a preStop hook that fails does not save the container",
        "Always; main a pre",
        "0 begin >start a; 0 up a; 5 stop 30 >run a.pre; 8 bad a.pre >term a",
    ),
    (
        "hook and SIGTERM share one grace period",
        "Always; main a pre",
        "0 begin >start a; 0 up a; 5 stop 30 >run a.pre; 30 ok a.pre >term a; 35 >kill a",
    ),
    (
        "a hook that takes all of it is ended; two seconds are left to the container",
        "Always; main a pre",
        "0 begin >start a; 0 up a; 5 stop 10 >run a.pre; 15 >end a.pre >term a; 17 >kill a",
    ),
    (
        "a hook that takes nearly all of it leaves two seconds as well",
        "Always; main a pre",
        "0 begin >start a; 0 up a; 5 stop 10 >run a.pre; 14.5 ok a.pre >term a; 16.5 >kill a",
    ),
    (
        "a container that ends during preStop takes the hook with it",
        "Always; main a pre",
        "0 begin >start a; 0 up a; 5 stop 30 >run a.pre; 6 exit a 0 >end a.pre a=done; 99 a=done",
    ),
    (
        "preStop also comes before an end by liveness",
        "Always; main a pre live:p5,f1",
        "0 begin >start a; 0 up a >run a.live; 0 bad a.live >run a.pre; 2 ok a.pre >term a; 3 exit a 0 >start a",
    ),
    (
        "within the probe's grace",
        "Always; main a pre live:p5,f1,g5",
        "0 begin >start a; 0 up a >run a.live; 0 bad a.live >run a.pre; 5 >end a.pre >term a; 7 >kill a",
    ),
    (
        "preStop is not run for a container that ended by itself",
        "Always; main a pre",
        "0 begin >start a; 0 up a; 5 exit a 1 >start a",
    ),
    (
        "without grace there is no hook",
        "Always; main a pre",
        "0 begin >start a; 0 up a; 5 stop 0 >term a; 5 >kill a",
    ),
    (
        "SIGTERM goes to all containers at once",
        "Always; main a; main b",
        "0 begin >start a >start b; 0 up a; 0 up b; 5 stop 30 >term b >term a",
    ),
    (
        "SIGKILL goes to what is left after the grace",
        "Always; main a; main b",
        "0 begin >start a >start b; 0 up a; 0 up b; 5 stop 30 >term b >term a; 6 exit a 0; 35 >kill b; 35 signal b 9 b=done",
    ),
    (
        "without grace SIGKILL follows at once",
        "Always; main a",
        "0 begin >start a; 0 up a; 5 stop 0 >term a; 5 >kill a",
    ),
    (
        "SIGKILL is sent once",
        "Always; main a",
        "0 begin >start a; 0 up a; 5 stop 1 >term a; 6 >kill a; 999 a=stopping",
    ),
    (
        "a stopped container is not restarted",
        "Always; main a",
        "0 begin >start a; 0 up a; 5 stop 30 >term a; 6 exit a 1 a=done; 999 a=done",
    ),
    (
        "a container that backs off is not restarted either",
        "Always; main a",
        "0 begin >start a; 0 up a; 0 exit a 1 >start a; 0 up a; 0 exit a 1; 0.5 stop 30 a=done; 999 a=done",
    ),
    (
        "a starter at work is killed, and what it has started is ended",
        "Always; main a",
        "0 begin >start a; 1 stop 30 >killstarter a; 1 up a >term a; 31 >kill a",
    ),
    (
        "a starter that was killed in time leaves nothing",
        "Always; main a",
        "0 begin >start a; 1 stop 30 >killstarter a; 1 nostart a >forget a a=done",
    ),
    (
        "a pod that has not begun is done at once",
        "Always; main a; main b",
        "0 stop 30 a=done b=done; 1 begin; 99 a=done",
    ),
    (
        "a second stop with less grace hastens the first",
        "Always; main a",
        "0 begin >start a; 0 up a; 5 stop 30 >term a; 6 stop 2; 8 >kill a",
    ),
    (
        "a second stop with more grace changes nothing",
        "Always; main a",
        "0 begin >start a; 0 up a; 5 stop 10 >term a; 6 stop 60; 15 >kill a",
    ),
    (
        "a stop during an end by liveness keeps the container down",
        "Always; main a live:p5,f1",
        "0 begin >start a; 0 up a >run a.live; 0 bad a.live >term a; 1 stop 30; 2 exit a 1 a=done; 99 a=done",
    ),
    (
        "a stop during postStart ends the hook",
        "Always; main a post",
        "0 begin >start a; 0 up a >run a.post; 1 stop 30 >end a.post >term a",
    ),
    (
        "a stop ends the probe under way",
        "Always; main a live:p5,t3",
        "0 begin >start a; 0 up a >run a.live; 1 stop 30 >end a.live >term a; 20 a=stopping",
    ),
    (
        "a pod that ends by itself needs no stop",
        "Never; main a; main b",
        "0 begin >start a >start b; 0 up a; 0 up b; 1 exit a 0; 2 exit b 0 phase=Succeeded; 3 stop 30; 99 phase=Succeeded",
    ),
];

/// mote's own: `mote/critical`.
const CRITICAL: &[Row] = &[
    (
        "a critical container restarts the device at its limit",
        "Always critical=3; main a",
        "0 begin >start a; 0 up a; 0 exit a 1 >start a; 0 up a; 0 exit a 1; 1 >start a; 1 up a; 1 exit a 1 >critical a; 3 >start a",
    ),
    (
        "a long run in between starts the count over",
        "Always critical=2 reset=10; main a",
        "0 begin >start a; 0 up a; 0 exit a 1 >start a; 0 up a; 10 exit a 1 >start a; 10 up a; 10 exit a 1 >critical a; 11 >start a",
    ),
    (
        "that it could not be started counts",
        "Always critical=2; main a",
        "0 begin >start a; 0 nostart a; 1 >start a; 1 nostart a >critical a",
    ),
    (
        "a failure for good is enough",
        "Never critical=5; main a",
        "0 begin >start a; 0 up a; 1 exit a 1 >critical a phase=Failed",
    ),
    (
        "success for good is no failure",
        "Never critical=1; main a",
        "0 begin >start a; 0 up a; 1 exit a 0 phase=Succeeded",
    ),
    (
        "success under Always is one: it should run",
        "Always critical=1; main a",
        "0 begin >start a; 0 up a; 1 exit a 0 >critical a >start a",
    ),
    (
        "an end that was asked for is none",
        "Always critical=1; main a",
        "0 begin >start a; 0 up a; 1 stop 30 >term a; 2 signal a 15 a=done",
    ),
    (
        "an end by liveness is one",
        "Always critical=1; main a live:p5,f1",
        "0 begin >start a; 0 up a >run a.live; 0 bad a.live >term a; 1 exit a 0 >critical a >start a",
    ),
    (
        "without a limit nothing restarts the device",
        "Always; main a",
        "0 begin >start a; 0 up a; 0 exit a 1 >start a; 0 up a; 0 exit a 1; 1 >start a; 1 up a; 1 exit a 1; 3 >start a; 3 up a; 3 exit a 1; 7 >start a",
    ),
];

/// Runs one row.
fn run(&(claim, manifest, script): &Row) {
    let mut sim = Sim::new(manifest);
    let mut wanted = Vec::new();
    for item in script.split(';') {
        let mut words = item.split_whitespace().peekable();
        let at = ms(words.next().unwrap_or_else(|| unreachable!("{claim}: no time")));
        let is_event = |word: &&str| !word.starts_with('>') && !word.contains('=');
        let mut event = Vec::new();
        while let Some(word) = words.next_if(is_event) {
            event.push(word);
        }
        sim.advance(at);
        sim.act(&event);
        sim.advance(at);
        while let Some(word) = words.next() {
            match (word.strip_prefix('>'), word.split_once('=')) {
                (Some(verb), _) => wanted.push((at, format!("{verb} {}", words.next().expect(claim)))),
                (None, Some((what, value))) => {
                    assert_eq!(sim.look(what), value, "{claim}: {what} at {at} ms, after {:?}", sim.log);
                }
                (None, None) => unreachable!("{claim}: {word}"),
            }
        }
    }
    if !script.contains(">forget") {
        sim.log.retain(|(_, action)| !action.starts_with("forget"));
    }
    assert_eq!(sim.log, wanted, "{claim}");
}

#[test]
fn supervision_is_as_kubernetes_publishes_it() {
    let tables = [POLICY, BACK_OFF, INIT, SIDECAR, PROBES, LIFECYCLE, CRITICAL];
    let rows = || tables.iter().copied().flatten();
    assert!(rows().count() >= 120, "{}", rows().count());
    let mut claims: Vec<_> = rows().map(|(claim, manifest, _)| (claim, manifest)).collect();
    claims.sort();
    claims.dedup();
    assert_eq!(claims.len(), rows().count(), "a row stands twice");
    let broken: Vec<_> = rows().filter(|row| std::panic::catch_unwind(|| run(row)).is_err()).collect();
    assert!(broken.is_empty(), "{} rows: {broken:#?}", broken.len());
}
