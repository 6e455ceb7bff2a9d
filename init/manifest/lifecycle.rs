//! `lifecycle`: the hooks after a container's start and before its end.

use mote::error::Result;
use mote::object;

use super::probe::{self, ExecText, Handler, HttpText, Place};

/// The longest sleep, a day.
const SLEEP_MAX_S: i64 = 86_400;

object! {
    /// `lifecycle`
    pub struct LifecycleText<'a> { post_start: Option<HookText<'a>> = "postStart", pre_stop: Option<HookText<'a>> = "preStop" }
    /// A hook.
    pub struct HookText<'a> {
        exec: Option<ExecText<'a>> = "exec", http: Option<HttpText<'a>> = "httpGet", sleep: Option<SleepText> = "sleep",
    }
    /// `sleep`
    pub struct SleepText { seconds: i64 = "seconds" }
}

/// Checks a hook.
pub fn hook(text: &HookText<'_>, place: &Place<'_>) -> Result<Handler> {
    let handlers = [
        text.exec.as_ref().map(|exec| probe::command(exec, place)),
        text.http.as_ref().map(|http| probe::get(http, place)),
        text.sleep.as_ref().map(|sleep| {
            let fits = (0..=SLEEP_MAX_S).contains(&sleep.seconds).then(|| u32::try_from(sleep.seconds).ok());
            let wrong = || (place.at)(".sleep.seconds", "expected a whole number from 0 to 86400");
            Ok(Handler::Sleep { seconds: fits.flatten().ok_or_else(wrong)? })
        }),
    ];
    probe::one(handlers, place, "expected one of exec, httpGet and sleep")
}
