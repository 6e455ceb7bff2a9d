//! The loop that PID 1 stays in: wait, look, act. One thread, one epoll; it wakes only when there is something to do.

use std::os::fd::AsFd as _;

use mote::error::words;
use mote::{error, warn};
use nix::errno::Errno;
use nix::sys::epoll::EpollEvent;
use nix::sys::signal::SigSet;
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::time::{TimeSpec, TimeValLike as _};
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use crate::poll::Token;
use crate::power::{self, Kind};
use crate::supervise::NEVER;
use crate::world::World;
use crate::{clock, control, live, logs, reap};

/// What the loop waits for besides the world's own descriptors.
#[derive(Debug)]
pub struct Sources {
    signals: SignalFd,
    timer: TimerFd,
    /// What the timer is set to.
    armed_ms: u64,
}

impl Sources {
    /// Opens them. All signals must be blocked already.
    pub fn open(world: &World) -> Result<Self, Errno> {
        let signals = SignalFd::with_flags(&SigSet::all(), SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        let timer =
            TimerFd::new(ClockId::CLOCK_BOOTTIME, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)?;
        world.poll.add(signals.as_fd(), Token::Signal)?;
        world.poll.add(timer.as_fd(), Token::Timer)?;
        Ok(Self { signals, timer, armed_ms: NEVER })
    }

    /// Has the timer run out at `at_ms`; one that is past runs out at once.
    fn arm(&mut self, at_ms: u64) {
        if at_ms == self.armed_ms {
            return;
        }
        let set = if at_ms == NEVER {
            self.timer.unset()
        } else {
            let at = TimeSpec::milliseconds(i64::try_from(at_ms.max(1)).unwrap_or(i64::MAX));
            self.timer.set(Expiration::OneShot(at), TimerSetTimeFlags::TFD_TIMER_ABSTIME)
        };
        match set {
            Ok(()) => self.armed_ms = at_ms,
            Err(errno) => warn!("timerfd: {}; what is due waits for the next event", words(errno)),
        }
    }
}

/// Never returns. Calls `booted` once, when the boot is over.
pub fn run(world: &mut World<'_>, mut sources: Sources, booted: impl FnOnce(&mut World<'_>)) -> ! {
    let mut booted = Some(booted);
    let mut events = [EpollEvent::empty(); 16];
    let mut children = false; // that have ended and may not have been reaped
    loop {
        let now_ms = clock::now_ms();
        world.tick(now_ms);
        logs::tick(world, now_ms);
        control::tick(world, now_ms);
        live::tick(world, now_ms);
        power::step(world, now_ms);
        world.watchdog.tick(now_ms);
        if world.is_booted(now_ms)
            && let Some(booted) = booted.take()
        {
            booted(world);
        }
        sources.arm(world.deadline_ms());
        let ready = match world.poll.wait(&mut events, children) {
            Ok(ready) => ready,
            Err(Errno::EINTR) => 0,
            Err(errno) => {
                // Nothing that PID 1 does makes this happen. Staying, slowly, beats a kernel panic.
                error!("epoll: {}", words(errno));
                std::thread::sleep(std::time::Duration::from_secs(1));
                children = true;
                0
            }
        };
        let now_ms = clock::now_ms();
        for event in events.iter().take(ready) {
            match Token::decode(event.data()) {
                Some(Token::Signal) => children |= signals(world, &sources, now_ms),
                Some(Token::Timer) => {
                    // One read makes it wait again, whatever it says.
                    let _ = sources.timer.wait();
                    sources.armed_ms = NEVER;
                }
                Some(Token::Report(i)) => world.report(i, now_ms),
                Some(Token::Writer) => logs::pump(world),
                Some(Token::Listener) => control::accept(world, now_ms),
                Some(Token::Client(i)) => control::serve(world, i, now_ms),
                Some(Token::Manifests) => live::noticed(world, now_ms),
                Some(Token::Rows) => live::receive(world, now_ms),
                Some(Token::Viewer(k)) => logs::view_ended(world, k),
                None => {}
            }
        }
        children = children && reap::some(world, now_ms);
    }
}

/// Reads the signals that have come; whether one was of a child.
fn signals(world: &mut World, sources: &Sources, now_ms: u64) -> bool {
    let mut children = false;
    while let Ok(Some(signal)) = sources.signals.read_signal() {
        let number = signal.ssi_signo.cast_signed();
        if number == libc::SIGCHLD {
            children = true;
        } else if let Some(kind) = Kind::of(number, world.paths.device) {
            match kind {
                Kind::Leave if !world.power.is_up() => power::hasten(world, now_ms),
                _ => power::request(world, kind, now_ms),
            }
        } else {
            warn!("signal {number} from pid {}: means nothing here", signal.ssi_pid);
        }
    }
    children
}
